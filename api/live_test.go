package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/ui"
)

// watch opens /v1/live and returns its lines.
func watch(t *testing.T, s *Server) (*bufio.Scanner, func()) {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr().String() + "/v1/live")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return lines, func() { _ = resp.Body.Close() }
}

// snapshotOf reads the next event.
func snapshotOf(t *testing.T, lines *bufio.Scanner) (snap ui.Snapshot) {
	t.Helper()
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(text), &snap); err != nil {
				t.Fatal(err)
			}
			return snap
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return snap
}

// Viewers get one snapshot after the other, the same for all, for longer than an answer may take;
// lookups are timed until the last one has left.
func TestLiveIsSharedAndOutlastsTheWriteTimeout(t *testing.T) {
	f := newFake("1")
	s := serve(t, f, func(c *Config) { c.WriteTimeout = time.Second })
	first, leave := watch(t, s)
	begin := snapshotOf(t, first)
	if begin.Stats.Cache.L1Hits != 5 || begin.Cluster.Self != "a" || begin.Timed != 3 || begin.Latency["origin"].Lookups != 1 {
		t.Errorf("%+v", begin)
	}
	second, leaveToo := watch(t, s)
	if got := snapshotOf(t, second); got.At != begin.At {
		t.Errorf("the second viewer got the snapshot of %d, the first that of %d", got.At, begin.At)
	}
	var end ui.Snapshot
	for range 3 {
		end = snapshotOf(t, first)
	}
	if took := time.Duration(end.At-begin.At) * time.Millisecond; took < 2*time.Second {
		t.Errorf("three snapshots in %v", took)
	}
	if n := f.sampled.Load(); n != 1 {
		t.Errorf("%d have lookups timed, want 1 for two viewers", n)
	}
	leave()
	leaveToo()
	for end := time.Now().Add(20 * time.Second); f.sampled.Load() != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody looks, and lookups are timed")
		}
	}
}

func TestCloseEndsTheStream(t *testing.T) {
	s := serve(t, newFake("1"), func(c *Config) { c.DrainTimeout = 10 * time.Second })
	lines, leave := watch(t, s)
	defer leave()
	snapshotOf(t, lines)
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("Close waited %v for somebody who looks", took)
	}
}

func TestLookupsAreFiltered(t *testing.T) {
	s := serve(t, newFake("1"))
	ask := func(query string) string { return send(t, s, "GET", "/v1/lookups"+query, "").body }
	if got := ask(""); !strings.Contains(got, `{"lookups":[],"matched":0,"timed":0}`) {
		t.Errorf("while nobody looks: %s", got)
	}
	lines, leave := watch(t, s)
	defer leave()
	snapshotOf(t, lines)
	for query, want := range map[string]string{
		"":                                     `{"lookups":[{"at":1732406402000,"id":"9","tier":"absent","tookMs":2},{"at":1732406401000,"id":"12","tier":"origin","tookMs":60},{"at":1732406400000,"id":"1","tier":"L1","tookMs":0.0004}],"matched":3,"timed":3}`,
		"?filter=tier%3Dorigin%20ms%3E50":      `{"lookups":[{"at":1732406401000,"id":"12","tier":"origin","tookMs":60}],"matched":1,"timed":3}`,
		"?n=1&filter=id%3D1*":                  `{"lookups":[{"at":1732406401000,"id":"12","tier":"origin","tookMs":60}],"matched":2,"timed":3}`,
		"?filter=tier":                         `filter: \"tier\" has no comparison`,
		"?filter=tier%3DL3":                    `filter: \"L3\" is no tier`,
		"?n=0":                                 `n is \"0\"; want a number from 1 to 1000`,
		"?filter=" + strings.Repeat("x", 1000): `it has 1000 bytes`,
	} {
		if got := ask(query); !strings.Contains(got, want) {
			t.Errorf("%.60s: %s", query, got)
		}
	}
}

// What a page may do is what its own server allows, and nothing may stand in the page itself.
func TestDashboardIsServedWithItsPolicy(t *testing.T) {
	s := serve(t, newFake("1"), withTokens)
	for path, kind := range map[string]string{"/ui": "text/html; charset=utf-8", "/ui/app.js": "text/javascript; charset=utf-8", "/ui/icon.svg": "image/svg+xml"} {
		r := send(t, s, "GET", path, "")
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != kind || r.Header.Get("Content-Security-Policy") != ui.Policy {
			t.Errorf("%s: %d %v", path, r.StatusCode, r.Header)
		}
	}
	for _, path := range []string{"/ui/", "/ui/nothing.js", "/ui/..%2fui.go", "/ui/static/app.js"} {
		if r := send(t, s, "GET", path, ""); r.StatusCode != 404 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

func TestFaultsAreBroughtOnWhereThereIsADemo(t *testing.T) {
	demo := new(fakeDemo)
	s := serve(t, newFake("1"), func(c *Config) { c.Demo = demo })
	post := func(body string) response {
		return send(t, s, "POST", "/v1/demo", body, jsonType)
	}
	if r := post(`{"fault":"redis","on":true}`); r.StatusCode != 200 || !strings.Contains(r.body, `"on":true`) || !demo.on.Load() {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	lines, leave := watch(t, s)
	defer leave()
	if snap := snapshotOf(t, lines); snap.Demo == nil || !snap.Demo.Faults[0].On || !snap.Demo.Promises[0].Kept {
		t.Errorf("%+v", snap.Demo)
	}
	for body, want := range map[string]string{`{"fault":"tea","on":true}`: `\"tea\"; want redis`, `{"fault":"redis"}`: `\"on\" is missing`} {
		if r := post(body); r.StatusCode != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	if r := send(t, s, "POST", "/v1/demo", fmt.Sprintf(`{"fault":"redis","on":%t}`, false), jsonType, "Sec-Fetch-Site: cross-site"); r.StatusCode != 403 || !demo.on.Load() {
		t.Errorf("a page of another site: %d", r.StatusCode)
	}
}
