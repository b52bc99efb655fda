package source_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/source"
)

// leaving is a store whose database is there until it is away.
type leaving struct {
	source.Store
	away atomic.Bool
}

func (l *leaving) Backlog(ctx context.Context) (source.Backlog, error) {
	if l.away.Load() {
		return source.Backlog{}, errors.New("the database is away")
	}
	return l.Store.Backlog(ctx)
}

// TestMetricsWithoutADatabase asks for metrics while the database is away.
func TestMetricsWithoutADatabase(t *testing.T) {
	store := &leaving{Store: openStore(t)}
	_, url := truth.StartService(t, source.ServiceConfig{Store: store, Version: "v1.2.3"})
	truth.Ask(t, "GET", url+"/404", "")
	up := truth.Ask(t, "GET", url+"/metrics", "")
	store.away.Store(true)
	down := truth.Ask(t, "GET", url+"/metrics", "")
	for text, both := range map[string][2]bool{
		"\nedgecache_database_up 1\n": {true, false}, "\nedgecache_database_up 0\n": {false, true}, "\nedgecache_outbox_changes ": {true, false},
		"\nedgecache_relay_failures_total 0\n": {true, true}, "\ngo_goroutines ": {true, true}, `edgecache_build_info{goversion="go`: {true, true}, `version="v1.2.3"} 1`: {true, true},
		"\n" + `edgecache_http_requests_total{class="4xx",method="GET",route="/:id"} 1` + "\n": {true, true},
		"\n" + `edgecache_http_requests_total{class="2xx",method="GET",route="/all"} 0` + "\n": {true, true},
	} {
		if up.Status != 200 || down.Status != 200 || strings.Contains(up.Body, text) != both[0] || strings.Contains(down.Body, text) != both[1] {
			t.Errorf("%q: want it %v; with a database %d\n%s\nwithout %d\n%s", text, both, up.Status, up.Body, down.Status, down.Body)
		}
	}
}
