package origin

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
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

func TestServiceRoundTrip(t *testing.T) {
	_, url := startService(t, ServiceConfig{})
	made := ask(t, "POST", url+"/", `{"id":"123","nom":"Dupont","prenom":"Jean","attrs":{"a":"1","b":"2"}}`, jsonType)
	p := made.profile(t)
	if made.status != 201 || made.header.Get("Location") != "/123" || p.FullName != "Jean Dupont" || p.UpdatedAt == 0 {
		t.Fatalf("create: %+v", made)
	}
	got := ask(t, "GET", url+"/123", "")
	if got.status != 200 || got.body != made.body || got.header.Get("ETag") != etag(p.UpdatedAt) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("get: %+v", got)
	}
	for header, want := range map[string]int{etag(p.UpdatedAt): 304, `W/"1", W/` + etag(p.UpdatedAt): 304, "*": 304, `"1"`: 200} {
		if got := ask(t, "GET", url+"/123", "", "If-None-Match: "+header); got.status != want {
			t.Errorf("If-None-Match %s: %d, want %d", header, got.status, want)
		}
	}
	put := ask(t, "PUT", url+"/123", `{"id":"123","avatar":"/a.png","nom":null,"attrs":{"a":null,"c":"3"}}`)
	q := put.profile(t)
	want := &profile.Profile{ID: "123", Prenom: "Jean", FullName: "Jean", Avatar: "/a.png", UpdatedAt: q.UpdatedAt,
		Attrs: map[string]string{"b": "2", "c": "3"}}
	if put.status != 200 || !sameProfile(q, want) || q.UpdatedAt <= p.UpdatedAt || put.header.Get("ETag") != etag(q.UpdatedAt) {
		t.Errorf("put: %+v", put)
	}
	del := ask(t, "DELETE", url+"/123", "")
	var gone deleted
	if err := json.Unmarshal([]byte(del.body), &gone); err != nil || del.status != 200 || gone.ID != "123" || gone.Version <= q.UpdatedAt {
		t.Errorf("delete: %+v, %v", del, err)
	}
	if got := ask(t, "GET", url+"/123", ""); got.status != 404 {
		t.Errorf("after delete: %+v", got)
	}
}

func TestServiceConditions(t *testing.T) {
	_, url := startService(t, ServiceConfig{})
	tag := func() string { return ask(t, "GET", url+"/1", "").header.Get("ETag") }
	ask(t, "POST", url+"/", `{"id":"1"}`, jsonType)
	for _, step := range []struct {
		method, ifMatch string
		want            int
	}{
		{"PUT", `"1"`, 412}, {"PUT", "W/" + tag(), 412}, {"PUT", `"abc"`, 412}, {"DELETE", `"1"`, 412},
		{"PUT", "abc", 400}, {"DELETE", `"1`, 400}, {"PUT", tag(), 200}, {"PUT", `"5", ` + tag(), 412},
		{"PUT", "*", 200}, {"DELETE", "*", 200}, {"DELETE", "*", 404},
	} {
		got := ask(t, step.method, url+"/1", `{"nom":"x"}`, "If-Match: "+step.ifMatch)
		if got.status != step.want {
			t.Errorf("%s If-Match %s: %d %s, want %d", step.method, step.ifMatch, got.status, got.body, step.want)
		}
	}
}

// TestServiceRefusesABodyThatIsTooLong announces one byte more than there may be and sends none: the service closes without
// reading what it refuses, and a client that is still sending then may see that before it sees the answer.
func TestServiceRefusesABodyThatIsTooLong(t *testing.T) {
	_, url := startService(t, ServiceConfig{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", MaxBody+1)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != 413 || p.Status != 413 || p.Detail == "" ||
		resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s, %+v, %v; want the problem 413", resp.Status, p, err)
	}
}

func TestServiceProblems(t *testing.T) {
	_, url := startService(t, ServiceConfig{})
	ask(t, "POST", url+"/", `{"id":"1"}`, jsonType)
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
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
		{"PUT", "/1", `{"nom":"x","updatedAt":5}`, 400, []string{"If-Match"}},
		{"PUT", "/1", `{"name":"x","nom":1,"prenom":"` + long + `","sexe":"a\u0000","attrs":{"k":1,"":"x"}}`, 400, []string{
			`{"field":"name","detail":"unknown; the fields are nom, prenom,`, `{"field":"nom","detail":"want a JSON string or null"}`,
			`{"field":"prenom","detail":"300 bytes; at most 256"}`, `"field":"sexe"`, `"field":"attrs.k"`, `attrs.`}},
		{"PUT", "/1", `{"attrs":{"` + strings.Repeat("k", MaxKey+1) + `":"v"}}`, 400, []string{"1-128 bytes"}},
		{"PUT", "/1", `{"attrs":null}`, 400, []string{"removes a key"}},
		{"PUT", "/1", `{"attrs":{"k":"` + strings.Repeat("v", 5000) + `"}}`, 400, []string{"4096"}},
		{"PUT", "/1", bigAttrs(16), 413, []string{"65536"}},
		{"POST", "/", `{"nom":"x","id":"all","x":1}`, 400, []string{`"field":"id"`, "reserved", `"field":"x"`}},
		{"POST", "/", `{"nom":"x"}`, 400, []string{`{"field":"id","detail":"it is missing"}`}},
		{"POST", "/", `{"id":7}`, 400, []string{"want a JSON string"}},
		{"POST", "/", `{"id":"a/b"}`, 400, []string{`"field":"id"`}},
		{"POST", "/", `{"id":"1"}`, 409, []string{"user exists"}},
		{"GET", "/batch", "", 400, []string{"no ids"}},
		{"GET", "/batch?id=1", "", 400, []string{"unknown query parameter"}},
		{"GET", "/batch?ids=" + strings.Repeat("1,", 500) + "1", "", 413, []string{"more than 500"}},
		{"GET", "/batch?ids=" + strings.Repeat("1", MaxHeader), "", 431, nil},
		{"POST", "/batch", `{"ids":[]}`, 400, []string{"no ids"}},
		{"POST", "/batch", `{"ids":[1]}`, 400, []string{"as strings"}},
		{"POST", "/batch", `{"id":["1"]}`, 400, []string{"as strings"}},
		{"POST", "/batch", `{"ids":["` + strings.Repeat(`1","`, 500) + `"]}`, 413, []string{"more than 500"}},
		{"GET", "/all?limit=0", "", 400, []string{"want 1-1000"}},
		{"GET", "/all?limit=x", "", 400, []string{"want 1-1000"}},
		{"GET", "/all?after=%00", "", 400, []string{"after: "}},
		{"GET", "/all?page=1", "", 400, []string{"after and limit"}},
	} {
		got := ask(t, tt.method, url+tt.path, tt.body, jsonType)
		name := fmt.Sprintf("%s %.40s %.60s", tt.method, tt.path, tt.body)
		if got.status != tt.status || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tt.status)
			continue
		}
		var p Problem
		if err := json.Unmarshal([]byte(got.body), &p); err != nil || p.Status != tt.status || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: %s, %v", name, got.body, err)
		}
		for _, says := range tt.says {
			if !strings.Contains(got.body, says) {
				t.Errorf("%s: %s\n\tdoes not say %s", name, got.body, says)
			}
		}
	}
	var many strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&many, `,"field%d":0`, i)
	}
	got := ask(t, "PUT", url+"/1", `{"`+strings.Repeat("k", 10_000)+`":0`+many.String()+"}")
	if n := strings.Count(got.body, `"field"`); got.status != 400 || n != MaxFieldErrors || len(got.body) > 16<<10 {
		t.Errorf("8000 broken fields: %d, %d named in %d bytes", got.status, n, len(got.body))
	}
	var zipped bytes.Buffer
	bomb := gzip.NewWriter(&zipped)
	_, _ = bomb.Write(bytes.Repeat([]byte(" "), 32<<20))
	_ = bomb.Close()
	if got := ask(t, "PUT", url+"/1", zipped.String(), "Content-Encoding: gzip"); got.status != 400 {
		t.Errorf("a compressed body of %d bytes: %+v", zipped.Len(), got)
	}
	if got := ask(t, "POST", url+"/", `{"id":"9"}`, "Content-Type: text/plain"); got.status != 415 {
		t.Errorf("create as text/plain: %+v", got)
	}
}

// bigAttrs is an update with n attributes of the longest kind.
func bigAttrs(n int) string {
	attrs := map[string]string{}
	for i := range n {
		attrs[fmt.Sprint(i)] = strings.Repeat("v", MaxValue)
	}
	text, _ := json.Marshal(map[string]any{"attrs": attrs})
	return string(text)
}

func TestStatusOf(t *testing.T) {
	for err, want := range map[error]int{
		profile.ErrInvalidID: 400, profile.ErrMalformed: 400, profile.ErrNotFound: 404, profile.ErrTooLarge: 413,
		profile.ErrUnavailable: 503, ErrExists: 409, ErrVersion: 412, ErrClosed: 503, ErrInternal: 500,
		context.DeadlineExceeded: 503, errors.New("x"): 500,
	} {
		if got := StatusOf(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if got := StatusOf(FieldErrors{{Field: "nom", Detail: "bad"}}); got != 400 {
		t.Errorf("field errors: %d", got)
	}
}

func TestServiceBatch(t *testing.T) {
	s := makeSQLite(t, t.TempDir(), time.Now)
	_, url := startService(t, ServiceConfig{Store: s})
	ids := make([]string, MaxBatch)
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
	for name, got := range map[string]answer{"GET": ask(t, "GET", inURL, ""), "POST": ask(t, "POST", url+"/batch", string(list))} {
		var b struct {
			Users   map[string]profile.Profile
			Missing []string
			Errors  map[string]string
		}
		if err := json.Unmarshal([]byte(got.body), &b); err != nil || got.status != 200 {
			t.Fatalf("%s: %d, %v", name, got.status, err)
		}
		if len(b.Users) != 490 || b.Users[ids[7]].Nom != "n"+ids[7] || !slices.Equal(b.Missing, ids[490:]) || len(b.Errors) != 0 {
			t.Errorf("%s: %d users, missing %v, errors %v", name, len(b.Users), b.Missing, b.Errors)
		}
	}
	got := ask(t, "GET", url+"/batch?ids=nobody,a%20b,nobody,,"+ids[0], "")
	want := `"missing":["nobody"],"errors":{"":"invalid id: it is empty`
	if got.status != 200 || !strings.Contains(got.body, want) || strings.Count(got.body, ids[0]) != 4 {
		t.Errorf("mixed batch: %s", got.body)
	}
}

func TestServiceAnswers202WhenTheRelayIsLate(t *testing.T) {
	s := makeSQLite(t, t.TempDir(), time.Now)
	up := make(chan struct{})
	relay := startRelay(t, RelayConfig{Outbox: s, Announcer: AnnouncerFunc(func(ctx context.Context, _ Change) error {
		select {
		case <-up:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}), Timeout: 50 * time.Millisecond})
	_, url := startService(t, ServiceConfig{Store: s, Relay: relay, RelayWait: 30 * time.Millisecond})
	made := ask(t, "POST", url+"/", `{"id":"1"}`, jsonType)
	put := ask(t, "PUT", url+"/1", `{"nom":"x"}`)
	if made.status != 202 || made.header.Get("Location") != "/1" || put.status != 202 || put.header.Get("ETag") != etag(put.profile(t).UpdatedAt) {
		t.Errorf("created %+v, changed %+v", made, put)
	}
	var h Health
	if got := ask(t, "GET", url+"/health", ""); json.Unmarshal([]byte(got.body), &h) != nil || h.Backlog != 2 || h.Users != 1 || h.Relay == nil {
		t.Errorf("health %s", got.body)
	}
	metrics := ask(t, "GET", url+"/metrics", "").body
	for _, want := range []string{"\nedgecache_outbox_changes 2\n", "\nedgecache_relay_announced_total 0\n", "\nedgecache_outbox_oldest_seconds "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %q:\n%s", want, metrics)
		}
	}
	close(up)
	eventually(t, 5*time.Second, "writes answer 200 again", func() bool {
		return ask(t, "PUT", url+"/1", `{"nom":"y"}`).status == 200
	})
	if del := ask(t, "DELETE", url+"/1", ""); del.status != 200 {
		t.Errorf("delete: %+v", del)
	}
}

func TestServiceRefusesAddresses(t *testing.T) {
	for listen, want := range map[string]string{
		":8001": "this machine only", "0.0.0.0:0": "this machine only", "[::]:0": "this machine only", "example.org:80": "this machine only",
		"8001": "HOST:PORT", "127.0.0.1:0": "", "[::1]:0": "", "localhost:0": "", "127.8.9.1:0": "", "[::ffff:10.0.0.1]:0": "this machine only",
	} {
		_, err := NewService(ServiceConfig{Listen: listen, Store: new(SQLite)})
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", listen, err, want)
		}
	}
	if _, err := NewService(ServiceConfig{}); err == nil {
		t.Error("a service without a store")
	}
}

func TestServiceLifeCycle(t *testing.T) {
	store := makeSQLite(t, t.TempDir(), time.Now)
	early, err := NewService(ServiceConfig{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(early.Close(), early.Close()); err != nil || early.Addr() != "" {
		t.Errorf("Close before Start: %v", err)
	}
	if err := early.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	s, url := startService(t, ServiceConfig{Store: store})
	if err := s.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("second Start: %v", err)
	}
	other, err := NewService(ServiceConfig{Store: store, Listen: s.Addr()})
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
	closedStore, err := NewService(ServiceConfig{Store: new(SQLite), Listen: "127.0.0.1:0"})
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
	Store
	asked, gate chan struct{}
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
	return slices.Repeat([]*profile.Profile{{ID: "1", Nom: strings.Repeat("x", 200)}}, PageUsers), nil
}

func TestServiceClose(t *testing.T) {
	begin := func(t *testing.T, limit time.Duration) (*Service, *gatedStore, chan answer) {
		store := &gatedStore{Store: makeSQLite(t, t.TempDir(), time.Now), asked: make(chan struct{}), gate: make(chan struct{})}
		s, url := startService(t, ServiceConfig{Store: store, ShutdownTimeout: limit})
		answers := make(chan answer, 1)
		go func() { answers <- ask(t, "GET", url+"/1", "") }()
		<-store.asked
		return s, store, answers
	}
	t.Run("a request in progress gets its answer", func(t *testing.T) {
		s, store, answers := begin(t, 10*time.Second)
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		eventually(t, 5*time.Second, "nobody new is served", func() bool {
			conn, err := net.Dial("tcp", s.Addr())
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		})
		close(store.gate)
		if got := <-answers; got.status != 200 {
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
		if got := <-answers; got.status != 503 || got.header.Get("Retry-After") != "1" {
			t.Errorf("answer %+v", got)
		}
	})
	t.Run("a client that does not read is cut off", func(t *testing.T) {
		store := &gatedStore{Store: makeSQLite(t, t.TempDir(), time.Now)}
		s, _ := startService(t, ServiceConfig{Store: store, ShutdownTimeout: 200 * time.Millisecond})
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprint(conn, "GET /all HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil { // the answer began, and nobody reads on
			t.Fatal(err)
		}
		if err := s.Close(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		eventually(t, 5*time.Second, "its connection is gone", func() bool {
			return s.Conns() == 0
		})
	})
}

func TestServiceIDsAreCopied(t *testing.T) {
	store := makeSQLite(t, t.TempDir(), time.Now)
	_, url := startService(t, ServiceConfig{Store: store})
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
	changes := claimAll(t, store)
	for _, c := range changes {
		if c.Profile.ID != c.ID || c.Profile.Nom != c.ID {
			t.Errorf("change of %q has %+v", c.ID, c.Profile)
		}
	}
	if n, err := store.Count(t.Context()); err != nil || n != 800 || len(changes) != 800 {
		t.Errorf("%d users, %d changes, %v", n, len(changes), err)
	}
}
