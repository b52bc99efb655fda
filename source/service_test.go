package source_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

func TestServiceRoundTrip(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{})
	made := truth.Ask(t, "POST", url+"/", `{"id":"123","nom":"Dupont","prenom":"Jean","attrs":{"a":"1","b":"2"}}`, truth.JSONType)
	p := made.Profile(t)
	if made.Status != 201 || made.Header.Get("Location") != "/123" || p.FullName != "Jean Dupont" || p.UpdatedAt == 0 {
		t.Fatalf("create: %+v", made)
	}
	got := truth.Ask(t, "GET", url+"/123", "")
	if got.Status != 200 || got.Body != made.Body || got.Header.Get("ETag") != origin.ETag(p.UpdatedAt) || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("get: %+v", got)
	}
	for header, want := range map[string]int{origin.ETag(p.UpdatedAt): 304, `W/"1", W/` + origin.ETag(p.UpdatedAt): 304, "*": 304, `"1"`: 200} {
		if got := truth.Ask(t, "GET", url+"/123", "", "If-None-Match: "+header); got.Status != want {
			t.Errorf("If-None-Match %s: %d, want %d", header, got.Status, want)
		}
	}
	put := truth.Ask(t, "PUT", url+"/123", `{"id":"123","avatar":"/a.png","nom":null,"attrs":{"a":null,"c":"3"}}`)
	q := put.Profile(t)
	want := &profile.Profile{ID: "123", Prenom: "Jean", FullName: "Jean", Avatar: "/a.png", UpdatedAt: q.UpdatedAt,
		Attrs: map[string]string{"b": "2", "c": "3"}}
	if put.Status != 200 || !testkit.SameProfile(q, want) || q.UpdatedAt <= p.UpdatedAt || put.Header.Get("ETag") != origin.ETag(q.UpdatedAt) {
		t.Errorf("put: %+v", put)
	}
	del := truth.Ask(t, "DELETE", url+"/123", "")
	var gone origin.Deletion
	if err := json.Unmarshal([]byte(del.Body), &gone); err != nil || del.Status != 200 || gone.ID != "123" || gone.Version <= q.UpdatedAt {
		t.Errorf("delete: %+v, %v", del, err)
	}
	if got := truth.Ask(t, "GET", url+"/123", ""); got.Status != 404 {
		t.Errorf("after delete: %+v", got)
	}
}

func TestServiceConditions(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{})
	tag := func() string { return truth.Ask(t, "GET", url+"/1", "").Header.Get("ETag") }
	truth.Ask(t, "POST", url+"/", `{"id":"1"}`, truth.JSONType)
	for _, step := range []struct {
		method, ifMatch string
		want            int
	}{
		{"PUT", `"1"`, 412}, {"PUT", "W/" + tag(), 412}, {"PUT", `"abc"`, 412}, {"DELETE", `"1"`, 412},
		{"PUT", "abc", 400}, {"DELETE", `"1`, 400}, {"PUT", tag(), 200}, {"PUT", `"5", ` + tag(), 412},
		{"PUT", "*", 200}, {"DELETE", "*", 200}, {"DELETE", "*", 404},
	} {
		got := truth.Ask(t, step.method, url+"/1", `{"nom":"x"}`, "If-Match: "+step.ifMatch)
		if got.Status != step.want {
			t.Errorf("%s If-Match %s: %d %s, want %d", step.method, step.ifMatch, got.Status, got.Body, step.want)
		}
	}
}

// TestServiceRefusesABodyThatIsTooLong announces one byte more than there may be and sends none:
// the service closes without reading what it refuses, and a client that is still sending then may
// see that before it sees the answer.
func TestServiceRefusesABodyThatIsTooLong(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", source.MaxBody+1)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p source.Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != 413 || p.Status != 413 || p.Detail == "" ||
		resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s, %+v, %v; want the problem 413", resp.Status, p, err)
	}
}

// serviceProblems are requests that the service refuses.
var serviceProblems = []struct {
	method, path, body string
	status             int
	says               []string
}{
	{"GET", "/2", "", 404, []string{`user \"2\"`, "not found"}},
	{"GET", "/a%20b", "", 400, []string{"[A-Za-z0-9._:@-]"}},
	{"GET", "/%32", "", 404, []string{`user \"2\"`}},
	{"GET", "/a%2Fb", "", 400, []string{"[A-Za-z0-9._:@-]"}},
	{"GET", "/%00", "", 400, []string{"[A-Za-z0-9._:@-]"}},
	{"GET", "/%2531", "", 400, []string{"[A-Za-z0-9._:@-]"}},
	{"GET", "/re%61dyz", "", 400, []string{"reserved"}},
	{"GET", "/" + strings.Repeat("a", 129), "", 400, []string{"129 bytes; want 1-128"}},
	{"GET", "/readyz", "", 400, []string{"reserved"}},
	{"GET", "/1/", "", 404, nil},
	{"PUT", "/health", `{"nom":"x"}`, 400, []string{"reserved"}},
	{"PUT", "/batch", `{"nom":"x"}`, 400, []string{"reserved"}},
	{"DELETE", "/all", "", 400, []string{"reserved"}},
	{"PATCH", "/1", "{}", 405, nil},
	{"PUT", "/2", `{"nom":"x"}`, 404, []string{"not found"}},
	{"PUT", "/1", `{}`, 400, []string{"changes nothing", "fullName"}},
	{"PUT", "/1", `{"attrs":{}}`, 400, []string{"changes nothing"}},
	{"PUT", "/1", ``, 400, []string{"not a JSON object"}},
	{"PUT", "/1", `[1]`, 400, []string{"not a JSON object"}},
	{"PUT", "/1", `{"nom":"x"`, 400, []string{"JSON"}},
	{"PUT", "/1", `{"nom":"x"} {}`, 400, []string{"something follows"}},
	{"PUT", "/1", "{\"nom\":\"\xff\"}", 400, []string{"UTF-8"}},
	{"PUT", "/1", `{"nom":"x","nom":"y"}`, 400, []string{`{"field":"nom","detail":"it is given twice"}`}},
	{"PUT", "/1", `{"id":"2","nom":"x"}`, 400, []string{`"field":"id"`, "cannot be changed"}},
	{"PUT", "/1", `{"nom":"x","updatedAt":"yesterday"}`, 400, []string{"If-Match"}},
	{"PUT", "/1", `{"updatedAt":5}`, 400, []string{"changes nothing"}},
	{"PUT", "/1", `{"nom":"x","id":2}`, 400, []string{`\"2\" is not the user of the path`}},
	{"PUT", "/1", `{"nom":"x","id":1.5}`, 400, []string{"whole number"}},
	{"PUT", "/1", `{"nom":"x","id":true}`, 400, []string{"whole number"}},
	{"GET", "/batch?ids=1&shape=list", "", 400, []string{"want object or array"}},
	{"PUT", "/1", `{"name":"x","nom":1,"prenom":"` + strings.Repeat("x", 300) + `","sexe":"a\u0000","attrs":{"k":1,"":"x"}}`, 400, []string{
		`{"field":"name","detail":"unknown; the fields are nom, prenom,`, `{"field":"nom","detail":"want a JSON string or null"}`,
		`{"field":"prenom","detail":"300 bytes; at most 256"}`, `"field":"sexe"`, `"field":"attrs.k"`, `attrs.`}},
	{"PUT", "/1", `{"attrs":{"` + strings.Repeat("k", source.MaxKey+1) + `":"v"}}`, 400, []string{"1-128 bytes"}},
	{"PUT", "/1", `{"attrs":null}`, 400, []string{"removes a key"}},
	{"PUT", "/1", `{"attrs":{"k":"` + strings.Repeat("v", 5000) + `"}}`, 400, []string{"4096"}},
	{"PUT", "/1", bigAttrs(16), 413, []string{"65536"}},
	{"POST", "/", `{"nom":"x","id":"all","x":1}`, 400, []string{`"field":"id"`, "reserved", `"field":"x"`}},
	{"POST", "/", `{"nom":"x"}`, 400, []string{`{"field":"id","detail":"it is missing"}`}},
	{"POST", "/", `{"id":7.5}`, 400, []string{"whole number"}},
	{"POST", "/", `{"id":"a/b"}`, 400, []string{`"field":"id"`}},
	{"POST", "/", `{"id":"1"}`, 409, []string{"user exists"}},
	{"GET", "/batch", "", 400, []string{"no ids"}},
	{"GET", "/batch?id=1", "", 400, []string{"unknown query parameter"}},
	{"GET", "/batch?ids=" + strings.Repeat("1,", 500) + "1", "", 413, []string{"more than 500"}},
	{"GET", "/batch?ids=" + strings.Repeat("1", source.MaxHeader), "", 431, nil},
	{"POST", "/batch", `{"ids":[]}`, 400, []string{"no ids"}},
	{"POST", "/batch", `{"ids":[1]}`, 400, []string{"as strings"}},
	{"POST", "/batch", `{"id":["1"]}`, 400, []string{"as strings"}},
	{"POST", "/batch", `{"ids":["` + strings.Repeat(`1","`, 500) + `"]}`, 413, []string{"more than 500"}},
	{"GET", "/all?limit=0", "", 400, []string{"want 1-1000"}},
	{"GET", "/all?limit=x", "", 400, []string{"want 1-1000"}},
	{"GET", "/all?after=%00", "", 400, []string{"after: "}},
	{"GET", "/all?page=1", "", 400, []string{"after and limit"}},
}

func TestServiceProblems(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{})
	truth.Ask(t, "POST", url+"/", `{"id":"1"}`, truth.JSONType)
	for _, tt := range serviceProblems {
		got := truth.Ask(t, tt.method, url+tt.path, tt.body, truth.JSONType)
		name := fmt.Sprintf("%s %.40s %.60s", tt.method, tt.path, tt.body)
		if got.Status != tt.status || got.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", name, got.Status, got.Body, tt.status)
			continue
		}
		var p source.Problem
		if err := json.Unmarshal([]byte(got.Body), &p); err != nil || p.Status != tt.status || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: %s, %v", name, got.Body, err)
		}
		for _, says := range tt.says {
			if !strings.Contains(got.Body, says) {
				t.Errorf("%s: %s\n\tdoes not say %s", name, got.Body, says)
			}
		}
	}
	var many strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&many, `,"field%d":0`, i)
	}
	got := truth.Ask(t, "PUT", url+"/1", `{"`+strings.Repeat("k", 10_000)+`":0`+many.String()+"}")
	if n := strings.Count(got.Body, `"field"`); got.Status != 400 || n != source.MaxFieldErrors || len(got.Body) > 16<<10 {
		t.Errorf("8000 broken fields: %d, %d named in %d bytes", got.Status, n, len(got.Body))
	}
	var zipped bytes.Buffer
	bomb := gzip.NewWriter(&zipped)
	_, _ = bomb.Write(bytes.Repeat([]byte(" "), 32<<20))
	_ = bomb.Close()
	if got := truth.Ask(t, "PUT", url+"/1", zipped.String(), "Content-Encoding: gzip"); got.Status != 400 {
		t.Errorf("a compressed body of %d bytes: %+v", zipped.Len(), got)
	}
	if got := truth.Ask(t, "POST", url+"/", `{"id":"9"}`, "Content-Type: text/plain"); got.Status != 415 {
		t.Errorf("create as text/plain: %+v", got)
	}
}

// bigAttrs is an update with n attributes of the longest kind.
func bigAttrs(n int) string {
	attrs := map[string]string{}
	for i := range n {
		attrs[fmt.Sprint(i)] = strings.Repeat("v", source.MaxValue)
	}
	text, _ := json.Marshal(map[string]any{"attrs": attrs})
	return string(text)
}

func TestStatusOf(t *testing.T) {
	for err, want := range map[error]int{
		profile.ErrInvalidID: 400, profile.ErrMalformed: 400, profile.ErrNotFound: 404, profile.ErrTooLarge: 413,
		profile.ErrUnavailable: 503, origin.ErrExists: 409, origin.ErrVersion: 412, origin.ErrClosed: 503, origin.ErrInternal: 500,
		context.DeadlineExceeded: 503, errors.New("x"): 500,
	} {
		if got := source.StatusOf(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if got := source.StatusOf(origin.FieldErrors{{Field: "nom", Detail: "bad"}}); got != 400 {
		t.Errorf("field errors: %d", got)
	}
}

func TestServiceBatch(t *testing.T) {
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	_, url := truth.StartService(t, source.ServiceConfig{Store: s})
	ids := make([]string, origin.MaxBatch)
	for i := range ids {
		ids[i] = fmt.Sprintf("0b5e7a50-7a8e-4c1e-9c1b-%012d", i)
	}
	n, err := s.BulkLoad(t.Context(), func(yield func(*profile.Profile) bool) {
		for _, id := range ids[:490] {
			if !yield(&profile.Profile{ID: id, Nom: "n" + id}) {
				return
			}
		}
	})
	if err != nil || n != 490 {
		t.Fatal(n, err)
	}
	list, _ := json.Marshal(map[string]any{"ids": ids})
	inURL := url + "/batch?ids=" + strings.Join(ids, ",")
	if len(inURL) < 18_000 {
		t.Fatalf("the URL has %d bytes", len(inURL))
	}
	for name, got := range map[string]truth.Answer{"GET": truth.Ask(t, "GET", inURL, ""), "POST": truth.Ask(t, "POST", url+"/batch", string(list))} {
		var b struct {
			Users   map[string]profile.Profile
			Missing []string
			Errors  map[string]string
		}
		if err := json.Unmarshal([]byte(got.Body), &b); err != nil || got.Status != 200 {
			t.Fatalf("%s: %d, %v", name, got.Status, err)
		}
		if len(b.Users) != 490 || b.Users[ids[7]].Nom != "n"+ids[7] || !slices.Equal(b.Missing, ids[490:]) || len(b.Errors) != 0 {
			t.Errorf("%s: %d users, missing %v, errors %v", name, len(b.Users), b.Missing, b.Errors)
		}
	}
	got := truth.Ask(t, "GET", url+"/batch?ids=nobody,a%20b,nobody,,"+ids[0], "")
	want := `"missing":["nobody"],"errors":{"":"invalid id: it is empty`
	if got.Status != 200 || !strings.Contains(got.Body, want) || strings.Count(got.Body, ids[0]) != 4 {
		t.Errorf("mixed batch: %s", got.Body)
	}
}

func TestServiceAnswers202WhenTheRelayIsLate(t *testing.T) {
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	up := make(chan struct{})
	relay := truth.StartRelay(t, source.RelayConfig{Outbox: s, Announcer: source.AnnouncerFunc(func(ctx context.Context, _ source.Change) error {
		select {
		case <-up:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}), Timeout: 50 * time.Millisecond})
	_, url := truth.StartService(t, source.ServiceConfig{Store: s, Relay: relay, RelayWait: 30 * time.Millisecond})
	made := truth.Ask(t, "POST", url+"/", `{"id":"1"}`, truth.JSONType)
	put := truth.Ask(t, "PUT", url+"/1", `{"nom":"x"}`)
	if made.Status != 202 || made.Header.Get("Location") != "/1" || put.Status != 202 || put.Header.Get("ETag") != origin.ETag(put.Profile(t).UpdatedAt) {
		t.Errorf("created %+v, changed %+v", made, put)
	}
	var h origin.Health
	if got := truth.Ask(t, "GET", url+"/health", ""); json.Unmarshal([]byte(got.Body), &h) != nil || h.Backlog != 2 || h.Users != 1 || h.Relay == nil {
		t.Errorf("health %s", got.Body)
	}
	metrics := truth.Ask(t, "GET", url+"/metrics", "").Body
	for _, want := range []string{"\nedgecache_outbox_changes 2\n", "\nedgecache_relay_announced_total 0\n", "\nedgecache_outbox_oldest_seconds "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %q:\n%s", want, metrics)
		}
	}
	close(up)
	testkit.Eventually(t, 5*time.Second, "writes answer 200 again", func() bool {
		return truth.Ask(t, "PUT", url+"/1", `{"nom":"y"}`).Status == 200
	})
	if del := truth.Ask(t, "DELETE", url+"/1", ""); del.Status != 200 {
		t.Errorf("delete: %+v", del)
	}
}

func TestServiceRefusesAddresses(t *testing.T) {
	for listen, want := range map[string]string{
		":8001": "this machine only", "0.0.0.0:0": "this machine only", "[::]:0": "this machine only", "example.org:80": "this machine only",
		"8001": "HOST:PORT", "127.0.0.1:0": "", "[::1]:0": "", "localhost:0": "", "127.8.9.1:0": "", "[::ffff:10.0.0.1]:0": "this machine only",
	} {
		_, err := source.NewService(source.ServiceConfig{Listen: listen, Store: new(sqlite.Store)})
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", listen, err, want)
		}
	}
	if _, err := source.NewService(source.ServiceConfig{}); err == nil {
		t.Error("a service without a store")
	}
}

func TestServiceLifeCycle(t *testing.T) {
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	early, err := source.NewService(source.ServiceConfig{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(early.Close(), early.Close()); err != nil || early.Addr() != "" {
		t.Errorf("Close before Start: %v", err)
	}
	if err := early.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	s, url := truth.StartService(t, source.ServiceConfig{Store: store})
	if err := s.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("second Start: %v", err)
	}
	other, err := source.NewService(source.ServiceConfig{Store: store, Listen: s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(t.Context()); err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("Start on an address in use: %v", err)
	}
	idle := &http.Transport{}
	resp, err := idle.RoundTrip(mustRequest(t, url+"/health"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	began := time.Now()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v with one idle connection", took)
	}
	idle.CloseIdleConnections()
	closedStore, err := source.NewService(source.ServiceConfig{Store: new(sqlite.Store), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := closedStore.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "health is 503") {
		t.Errorf("Start over a store that does not answer: %v", err)
	}
	if err := closedStore.Close(); err != nil {
		t.Error(err)
	}
}

// gatedStore is a store whose Get waits for a gate, and whose pages never end.
type gatedStore struct {
	source.Store
	asked, gate chan struct{}
	pages       atomic.Int64 // how many were read
}

func (s *gatedStore) Get(ctx context.Context, id string) (*profile.Profile, error) {
	close(s.asked)
	select {
	case <-s.gate:
		return &profile.Profile{ID: id}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *gatedStore) Page(context.Context, string, int) ([]*profile.Profile, error) {
	s.pages.Add(1)
	return slices.Repeat([]*profile.Profile{{ID: "1", Nom: strings.Repeat("x", 200)}}, source.PageUsers), nil
}

func TestServiceClose(t *testing.T) {
	begin := func(t *testing.T, limit time.Duration) (*source.Service, *gatedStore, chan truth.Answer) {
		store := &gatedStore{Store: truth.MakeSQLite(t, t.TempDir(), time.Now), asked: make(chan struct{}), gate: make(chan struct{})}
		s, url := truth.StartService(t, source.ServiceConfig{Store: store, ShutdownTimeout: limit})
		answers := make(chan truth.Answer, 1)
		go func() { answers <- truth.Ask(t, "GET", url+"/1", "") }()
		<-store.asked
		return s, store, answers
	}
	t.Run("a request in progress gets its answer", func(t *testing.T) {
		s, store, answers := begin(t, 10*time.Second)
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		testkit.Eventually(t, 5*time.Second, "nobody new is served", func() bool {
			conn, err := net.Dial("tcp", s.Addr())
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		})
		close(store.gate)
		if got := <-answers; got.Status != 200 {
			t.Errorf("answer %+v", got)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	t.Run("a request that waits for the store too long is told so", func(t *testing.T) {
		s, _, answers := begin(t, 1200*time.Millisecond)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := <-answers; got.Status != 503 || got.Header.Get("Retry-After") != "1" {
			t.Errorf("answer %+v", got)
		}
	})
}

func TestServiceCutsOffAClientThatDoesNotRead(t *testing.T) {
	store := &gatedStore{Store: truth.MakeSQLite(t, t.TempDir(), time.Now)}
	s, _ := truth.StartService(t, source.ServiceConfig{Store: store, ShutdownTimeout: 200 * time.Millisecond})
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "GET /all HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// the answer began, and nobody reads on
	if _, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "the connection to take no more", func() bool {
		before := store.pages.Load()
		<-time.After(200 * time.Millisecond)
		return store.pages.Load() == before
	})
	if err := s.Close(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	testkit.Eventually(t, 5*time.Second, "its connection is gone", func() bool {
		return s.Conns() == 0
	})
}

func TestServiceIDsAreCopied(t *testing.T) {
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	_, url := truth.StartService(t, source.ServiceConfig{Store: store})
	tr := &http.Transport{MaxIdleConnsPerHost: 8}
	defer tr.CloseIdleConnections()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				id := fmt.Sprintf("w%d-%d-%s", w, i, strings.Repeat("x", i%60))
				req, _ := http.NewRequestWithContext(t.Context(), "POST", url+"/", strings.NewReader(`{"id":"`+id+`","nom":"`+id+`"}`))
				req.Header.Set("Content-Type", "application/json")
				resp, err := tr.RoundTrip(req)
				if err != nil || resp.StatusCode != 201 {
					t.Errorf("%s: %v, %v", id, resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	changes := truth.ClaimAll(t, store)
	for _, c := range changes {
		if c.Profile.ID != c.ID || c.Profile.Nom != c.ID {
			t.Errorf("change of %q has %+v", c.ID, c.Profile)
		}
	}
	if n, err := store.Count(t.Context()); err != nil || n != 800 || len(changes) != 800 {
		t.Errorf("%d users, %d changes, %v", n, len(changes), err)
	}
}
