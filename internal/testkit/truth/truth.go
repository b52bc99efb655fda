// Package truth opens sources of truth for tests, and holds the suite that every store must pass.
package truth

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"context"
	"fmt"
	"sync"

	"io"
	"net/http"
	"strings"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// testClock is a clock that tests set.
type testClock struct{ ms atomic.Int64 }

func (c *testClock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// StoreMaker opens a store at place (the same place: the same data) whose versions come from now.
type StoreMaker func(t *testing.T, place string, now func() time.Time) source.Store

// MakeSQLite opens a SQLite store in the folder place.
func MakeSQLite(t *testing.T, place string, now func() time.Time) source.Store {
	t.Helper()
	s, err := sqlite.New(sqlite.Config{Path: filepath.Join(place, "origin.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// MustCreate adds a user.
func MustCreate(t *testing.T, s source.Store, p profile.Profile) source.Change {
	t.Helper()
	c, err := s.Create(t.Context(), &p)
	if err != nil {
		t.Fatalf("Create(%q): %v", p.ID, err)
	}
	return c
}

// MustUpdate changes a user.
func MustUpdate(t *testing.T, s source.Store, id string, u origin.Update) source.Change {
	t.Helper()
	c, err := s.Update(t.Context(), id, u)
	if err != nil {
		t.Fatalf("Update(%q): %v", id, err)
	}
	return c
}

// MustGet returns a user.
func MustGet(t *testing.T, s source.Store, id string) *profile.Profile {
	t.Helper()
	p, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get(%q): %v", id, err)
	}
	return p
}

// Recorder is an Announcer that keeps what came and fails as fail says.
type Recorder struct {
	Mu   sync.Mutex
	Got  map[string][]int64 // guarded by mu: versions by user
	busy map[string]bool    // guarded by mu: users being announced
	Bad  []string           // guarded by mu: broken promises of the relay
	fail func(c source.Change) error
}

// NewRecorder returns a Recorder whose Announce fails as fail says; nil never.
func NewRecorder(fail func(c source.Change) error) *Recorder {
	return &Recorder{Got: map[string][]int64{}, busy: map[string]bool{}, fail: fail}
}

// Announce implements source.Announcer.
func (r *Recorder) Announce(_ context.Context, c source.Change) error {
	r.Mu.Lock()
	if r.busy[c.ID] {
		r.Bad = append(r.Bad, fmt.Sprintf("%q twice at once", c.ID))
	}
	r.busy[c.ID] = true
	r.Mu.Unlock()
	var err error
	if r.fail != nil {
		err = r.fail(c)
	}
	r.Mu.Lock()
	defer r.Mu.Unlock()
	r.busy[c.ID] = false
	if err != nil {
		return err
	}
	if n := len(r.Got[c.ID]); n > 0 && r.Got[c.ID][n-1] >= c.Version {
		r.Bad = append(r.Bad, fmt.Sprintf("%q: %d after %d", c.ID, c.Version, r.Got[c.ID][n-1]))
	}
	r.Got[c.ID] = append(r.Got[c.ID], c.Version)
	return nil
}

// Check wants versions 1 to n of each user, in order.
func (r *Recorder) Check(t *testing.T, n int, users ...string) {
	t.Helper()
	r.Mu.Lock()
	defer r.Mu.Unlock()
	for _, bad := range r.Bad {
		t.Error(bad)
	}
	for _, id := range users {
		if len(r.Got[id]) != n {
			t.Errorf("user %q: %d changes announced, want %d", id, len(r.Got[id]), n)
		}
	}
}

// StartRelay starts a relay, which ends with the test.
func StartRelay(t *testing.T, cfg source.RelayConfig) *source.Relay {
	t.Helper()
	r, err := source.NewRelay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// StartService serves cfg.Store, a new SQLite store by default, on a free port.
func StartService(t *testing.T, cfg source.ServiceConfig) (*source.Service, string) {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = MakeSQLite(t, t.TempDir(), time.Now)
	}
	cfg.Listen = "127.0.0.1:0"
	s, err := source.NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, "http://" + s.Addr()
}

// Answer is one HTTP answer, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Ask sends one request; headers are "Name: value".
func Ask(t *testing.T, method, url, body string, headers ...string) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return Answer{resp.StatusCode, resp.Header, string(text)}
}

// JSONType is the header of a body in JSON.
const JSONType = "Content-Type: application/json"

// Profile decodes the body.
func (a Answer) Profile(t *testing.T) *profile.Profile {
	t.Helper()
	p, err := profile.DecodeJSON([]byte(a.Body))
	if err != nil {
		t.Fatalf("%d %s: %v", a.Status, a.Body, err)
	}
	return p
}

// ChangeIDs returns the users of changes, in their order.
func ChangeIDs(changes []source.Change) (ids []string) {
	for _, c := range changes {
		ids = append(ids, c.ID)
	}
	return ids
}

// ClaimAll returns all undone rows and leaves them undone.
func ClaimAll(t *testing.T, s source.Store) []source.Change {
	t.Helper()
	claim, err := s.Claim(t.Context(), source.Want{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Close()
	return claim.Changes()
}
