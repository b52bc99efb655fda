package origin

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

	"github.com/chatapp-ngomna/edgecache/profile"
)

// testClock is a clock that tests set.
type testClock struct{ ms atomic.Int64 }

func (c *testClock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// storeMaker opens a store at place (the same place: the same data) whose versions come from now.
type storeMaker func(t *testing.T, place string, now func() time.Time) Store

func makeSQLite(t *testing.T, place string, now func() time.Time) Store {
	t.Helper()
	s, err := NewSQLite(SQLiteConfig{Path: filepath.Join(place, "origin.db"), Now: now})
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

func mustCreate(t *testing.T, s Store, p profile.Profile) Change {
	t.Helper()
	c, err := s.Create(t.Context(), &p)
	if err != nil {
		t.Fatalf("Create(%q): %v", p.ID, err)
	}
	return c
}

func mustUpdate(t *testing.T, s Store, id string, u Update) Change {
	t.Helper()
	c, err := s.Update(t.Context(), id, u)
	if err != nil {
		t.Fatalf("Update(%q): %v", id, err)
	}
	return c
}

func mustGet(t *testing.T, s Store, id string) *profile.Profile {
	t.Helper()
	p, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get(%q): %v", id, err)
	}
	return p
}

// recorder is an Announcer that keeps what came and fails as fail says.
type recorder struct {
	mu   sync.Mutex
	got  map[string][]int64 // guarded by mu: versions by user
	busy map[string]bool    // guarded by mu: users being announced
	bad  []string           // guarded by mu: broken promises of the relay
	fail func(c Change) error
}

func newRecorder(fail func(c Change) error) *recorder {
	return &recorder{got: map[string][]int64{}, busy: map[string]bool{}, fail: fail}
}

func (r *recorder) Announce(_ context.Context, c Change) error {
	r.mu.Lock()
	if r.busy[c.ID] {
		r.bad = append(r.bad, fmt.Sprintf("%q twice at once", c.ID))
	}
	r.busy[c.ID] = true
	r.mu.Unlock()
	var err error
	if r.fail != nil {
		err = r.fail(c)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[c.ID] = false
	if err != nil {
		return err
	}
	if n := len(r.got[c.ID]); n > 0 && r.got[c.ID][n-1] >= c.Version {
		r.bad = append(r.bad, fmt.Sprintf("%q: %d after %d", c.ID, c.Version, r.got[c.ID][n-1]))
	}
	r.got[c.ID] = append(r.got[c.ID], c.Version)
	return nil
}

// check wants versions 1 to n of each user, in order.
func (r *recorder) check(t *testing.T, n int, users ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, bad := range r.bad {
		t.Error(bad)
	}
	for _, id := range users {
		if len(r.got[id]) != n {
			t.Errorf("user %q: %d changes announced, want %d", id, len(r.got[id]), n)
		}
	}
}

func startRelay(t *testing.T, cfg RelayConfig) *Relay {
	t.Helper()
	r, err := NewRelay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// startService serves cfg.Store, a new SQLite store by default, on a free port.
func startService(t *testing.T, cfg ServiceConfig) (*Service, string) {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = makeSQLite(t, t.TempDir(), time.Now)
	}
	cfg.Listen = "127.0.0.1:0"
	s, err := NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, "http://" + s.Addr()
}

// answer is one HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends one request; headers are "Name: value".
func ask(t *testing.T, method, url, body string, headers ...string) answer {
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
	return answer{resp.StatusCode, resp.Header, string(text)}
}

const jsonType = "Content-Type: application/json"

func (a answer) profile(t *testing.T) *profile.Profile {
	t.Helper()
	p, err := profile.DecodeJSON([]byte(a.body))
	if err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return p
}

func changeIDs(changes []Change) (ids []string) {
	for _, c := range changes {
		ids = append(ids, c.ID)
	}
	return ids
}

// claimAll returns all undone rows and leaves them undone.
func claimAll(t *testing.T, s Store) []Change {
	t.Helper()
	claim, err := s.Claim(t.Context(), Want{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Close()
	return claim.Changes()
}
