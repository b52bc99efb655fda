package source_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// TestNegativeValuesAreRefused: 0 is the default of a number, and a number below it no value.
func TestNegativeValuesAreRefused(t *testing.T) {
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	announce := truth.NewRecorder(nil)
	for want, err := range map[string]error{
		"Timeout -1s":    truth.Second(origin.NewClient(origin.ClientConfig{URL: "http://127.0.0.1:1", Timeout: -time.Second})),
		"MaxURL is -1":   truth.Second(origin.NewClient(origin.ClientConfig{URL: "http://127.0.0.1:1", MaxURL: -1})),
		"Batch -1":       truth.Second(source.NewRelay(source.RelayConfig{Outbox: s, Announcer: announce, Batch: -1})),
		"Keep -1s":       truth.Second(source.NewRelay(source.RelayConfig{Outbox: s, Announcer: announce, Keep: -time.Second})),
		"RelayWait -1s":  truth.Second(source.NewService(source.ServiceConfig{Store: s, RelayWait: -time.Second})),
		"Readers -1":     truth.Second(sqlite.New(sqlite.Config{Path: "x.db", Readers: -1})),
		"MaxConns is -1": truth.Second(postgres.New(postgres.Config{URL: "postgres://u@127.0.0.1:1/x", MaxConns: -1})),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
}
