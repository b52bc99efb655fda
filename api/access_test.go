package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func withTokens(c *Config) { c.Tokens = auth.Config{Secret: testSecret} }

// bearer returns the header of a token with a role.
func bearer(t testing.TB, role auth.Role, subject string) string {
	t.Helper()
	text, err := auth.SignToken(auth.Config{Secret: testSecret}, auth.Grant{Role: role, Subject: subject, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + text
}

// calls are a request for each route, with the role that it needs.
var calls = map[string]struct {
	need         auth.Role
	path, body   string
	status       int
	noNeedOfAuth bool
}{
	"GET /v1/users/:id":             {need: auth.RoleRead, path: "/v1/users/1", status: 200},
	"PUT /v1/users/:id":             {need: auth.RoleWrite, path: "/v1/users/1", body: whole, status: 204},
	"POST /v1/users/batch":          {need: auth.RoleRead, path: "/v1/users/batch", body: `{"ids":["1"]}`, status: 200},
	"POST /v1/users/:id/invalidate": {need: auth.RoleInvalidate, path: "/v1/users/1/invalidate", status: 204},
	"GET /v1/users/:id/why":         {need: auth.RoleAdmin, path: "/v1/users/1/why", status: 200},
	"GET /v1/users":                 {need: auth.RoleRead, path: "/v1/users?ids=1", status: 200},
	"GET /v1/stats":                 {need: auth.RoleRead, path: "/v1/stats", status: 200},
	"GET /v1/cluster":               {need: auth.RoleRead, path: "/v1/cluster", status: 200},
	"GET /v1/prewarm":               {need: auth.RoleRead, path: "/v1/prewarm", status: 200},
	"POST /v1/prewarm":              {need: auth.RoleAdmin, path: "/v1/prewarm", status: 202},
	"DELETE /v1/prewarm":            {need: auth.RoleAdmin, path: "/v1/prewarm", status: 202},
	"GET /v1/live":                  {need: auth.RoleRead, path: "/v1/live?count=1", status: 200},
	"GET /v1/lookups":               {need: auth.RoleRead, path: "/v1/lookups", status: 200},
	"GET /v1/dead":                  {need: auth.RoleAdmin, path: "/v1/dead", status: 200},
	"POST /v1/demo":                 {need: auth.RoleAdmin, path: "/v1/demo", body: `{"fault":"redis","on":true}`, status: 404},
	"GET /ui":                       {path: "/ui", status: 200, noNeedOfAuth: true},
	"GET /ui/:file":                 {path: "/ui/app.js", status: 200, noNeedOfAuth: true},
	"GET /health":                   {need: auth.RoleRead, path: "/health", status: 200},
	"GET /livez":                    {path: "/livez", status: 200, noNeedOfAuth: true},
	"GET /readyz":                   {path: "/readyz", status: 200, noNeedOfAuth: true},
	"GET /metrics":                  {need: auth.RoleRead, path: "/metrics", status: 200},
	"GET /openapi.json":             {need: auth.RoleRead, path: "/openapi.json", status: 200},
	"GET /openapi.html":             {need: auth.RoleRead, path: "/openapi.html", status: 200},

	"GET /v1/functions":                 {need: auth.RoleAdmin, path: "/v1/functions", status: 200},
	"GET /v1/functions/:name":           {need: auth.RoleAdmin, path: "/v1/functions/none", status: 404},
	"GET /v1/functions/:name/module":    {need: auth.RoleAdmin, path: "/v1/functions/none/module", status: 404},
	"PUT /v1/functions/:name":           {need: auth.RoleAdmin, path: "/v1/functions/none", status: 422},
	"POST /v1/functions/:name/diff":     {need: auth.RoleAdmin, path: "/v1/functions/none/diff", status: 415},
	"POST /v1/functions/:name/rollback": {need: auth.RoleAdmin, path: "/v1/functions/none/rollback", status: 404},
	"DELETE /v1/functions/:name":        {need: auth.RoleAdmin, path: "/v1/functions/none", status: 404},
}

func TestEveryRouteWithEveryRole(t *testing.T) {
	s := serve(t, newFake("1"), withTokens, running(t, true))
	seen := 0
	for _, r := range s.app.GetRoutes(true) {
		if r.Method == http.MethodHead { // comes with each GET
			continue
		}
		seen++
		call, known := calls[r.Method+" "+r.Path]
		if !known {
			t.Errorf("%s %s: no test knows which role it needs", r.Method, r.Path)
			continue
		}
		for role := auth.RoleNone; role <= auth.RoleAdmin; role++ {
			want := call.status
			if role < call.need {
				want = 403
			}
			if got := send(t, s, r.Method, call.path, call.body, bearer(t, role, "")); got.StatusCode != want {
				t.Errorf("%s %s as %s: %d %s, want %d", r.Method, call.path, role, got.StatusCode, got.body, want)
			} else if scope := fmt.Sprintf("scope=%q", call.need); want == 403 && !strings.Contains(got.Header.Get("WWW-Authenticate"), scope) {
				t.Errorf("%s %s: WWW-Authenticate %q, want %s", r.Method, call.path, got.Header.Get("WWW-Authenticate"), scope)
			}
		}
		want := map[bool]int{true: call.status, false: 401}[call.noNeedOfAuth]
		for _, headers := range [][]string{nil, {"Authorization: Bearer x"}} {
			if got := send(t, s, r.Method, call.path, call.body, headers...); got.StatusCode != want {
				t.Errorf("%s %s, %q: %d %s, want %d", r.Method, call.path, headers, got.StatusCode, got.body, want)
			} else if want == 401 {
				problemJSON(t, got)
			}
		}
	}
	if seen != len(calls) {
		t.Errorf("%d routes, and the test knows of %d", seen, len(calls))
	}
}

func TestOpenPathsNeedNoToken(t *testing.T) {
	s := serve(t, newFake("1"), withTokens, func(c *Config) { c.Access.Open = []string{"/metrics", "/health"} })
	for path, want := range map[string]int{"/metrics": 200, "/health": 200, "/v1/stats": 401, "/Metrics": 404, "/metrics/": 404, "/v1/users/1": 401} {
		if r := send(t, s, "GET", path, ""); r.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", path, r.StatusCode, r.body, want)
		}
	}
	for _, path := range []string{"/nothing", "/v1/users/:id", "metrics"} {
		if _, err := New(Config{Node: newFake(), Tokens: auth.Config{Secret: testSecret}, Access: auth.Access{Open: []string{path}}}); !errors.Is(err, ErrConfig) {
			t.Errorf("open path %q: %v", path, err)
		}
	}
}

func TestWithoutASecretTheNodeListensOnItsMachineOnly(t *testing.T) {
	for listen, secret := range map[string]string{"0.0.0.0:0": testSecret, "[::]:0": testSecret, ":0": testSecret, "127.0.0.1:0": "", "[::1]:0": "", "localhost:0": ""} {
		if _, err := New(Config{Node: newFake(), Listen: listen, Tokens: auth.Config{Secret: secret}}); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0", "10.0.0.7:8003", "example.com:0"} {
		if _, err := New(Config{Node: newFake(), Listen: listen}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "JWT_SECRET") {
			t.Errorf("%s without a secret: %v", listen, err)
		}
	}
}

// A page may have a browser send a form, or nothing, to this machine. Only what a form cannot send
// changes anything.
func TestFormsChangeNothing(t *testing.T) {
	f := newFake("1")
	s := serve(t, f)
	for kind, want := range map[string]int{"text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415,
		"": 415, "application/json": 204, "application/JSON; charset=utf-8": 204, "application/msgpack": 204} {
		if r := send(t, s, "POST", "/v1/users/1/invalidate", "", "Content-Type: "+kind); r.StatusCode != want {
			t.Errorf("%q: %d %s, want %d", kind, r.StatusCode, r.body, want)
		}
	}
	if len(f.invalidated) != 3 {
		t.Errorf("invalidated %d times, want 3", len(f.invalidated))
	}
	if r := send(t, s, "POST", "/v1/prewarm", "", "Content-Type: text/plain"); r.StatusCode != 415 || len(f.begun) != 0 {
		t.Errorf("a prewarm by a form: %d, begun %d", r.StatusCode, len(f.begun))
	}
	tokens := serve(t, f, withTokens)
	if r := send(t, tokens, "POST", "/v1/users/1/invalidate", "", "Content-Type: text/plain", bearer(t, auth.RoleInvalidate, "")); r.StatusCode != 204 {
		t.Errorf("with a token: %d %s", r.StatusCode, r.body)
	}
}

func TestForeignHostsAreRefused(t *testing.T) {
	s := serve(t, newFake("1"), func(c *Config) { c.Access.Hosts = []string{"node1"} })
	ask := func(s *Server, host string) int {
		c := dial(t, s)
		fmt.Fprintf(c, "GET /v1/users/1 HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		return receive(t, c, "GET").StatusCode
	}
	for host, want := range map[string]int{"localhost": 200, "LOCALHOST:8003": 200, "127.0.0.1": 200, "127.0.0.1:8003": 200, "[::1]:8003": 200,
		"10.0.0.7:8003": 200, "node1:8003": 200, "evil.example": 421, "evil.example:8003": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421} {
		if got := ask(s, host); got != want {
			t.Errorf("%s: %d, want %d", host, got, want)
		}
	}
	if got := ask(serve(t, newFake("1"), withTokens), "any.example"); got != 401 {
		t.Errorf("another name, where tokens are needed: %d, want 401", got)
	}
}

func TestOnlyNamedSitesMayAskFromABrowser(t *testing.T) {
	s := serve(t, newFake("1"), withTokens, func(c *Config) { c.Access.Origins = []string{"https://chat.example"} })
	preflight := func(s *Server, site string) response {
		return send(t, s, "OPTIONS", "/v1/users/1", "", "Origin: "+site, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization")
	}
	if r := preflight(s, "https://chat.example"); r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "https://chat.example" ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "PUT") || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Authorization") ||
		r.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("the named site: %d %v", r.StatusCode, r.Header)
	}
	r := send(t, s, "GET", "/v1/users/1", "", "Origin: https://chat.example", bearer(t, auth.RoleRead, ""))
	if r.StatusCode != 200 || r.Header.Get("Access-Control-Allow-Origin") != "https://chat.example" || !strings.Contains(r.Header.Get("Vary"), "Accept") {
		t.Errorf("a lookup of the named site: %d %v", r.StatusCode, r.Header)
	}
	for _, site := range []string{"https://evil.example", "null", "https://chat.example.evil.example", "http://chat.example", "https://CHAT.example"} {
		if r := preflight(s, site); r.StatusCode != 405 || r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", site, r.StatusCode, r.Header)
		}
	}
	if r := preflight(serve(t, newFake("1")), "https://chat.example"); r.StatusCode != 405 || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("no site is named: %d %v", r.StatusCode, r.Header)
	}
}

func TestAnswersHaveSecurityHeaders(t *testing.T) {
	s := serve(t, newFake("1"))
	for path, policy := range map[string]string{"/v1/users/1": "", "/metrics": "default-src 'none'; frame-ancestors", "/v1/users/2": "default-src 'none'; frame-ancestors",
		"/nothing": "default-src 'none'; frame-ancestors", "/openapi.html": "script-src 'sha256-"} {
		r := send(t, s, "GET", path, "")
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" ||
			!strings.Contains(r.Header.Get("Content-Security-Policy"), policy) || r.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
}

func TestRequestsOfOneClientAreLimited(t *testing.T) {
	s := serve(t, newFake("1"), withTokens, func(c *Config) { c.Access.Rate, c.Access.Burst = 0.01, 3 })
	ask := func(headers ...string) response { return send(t, s, "GET", "/v1/users/1", "", headers...) }
	a, b := bearer(t, auth.RoleRead, "a"), bearer(t, auth.RoleRead, "b")
	statuses := func(n int, headers ...string) (got []int) {
		for range n {
			got = append(got, ask(headers...).StatusCode)
		}
		return got
	}
	// The first request with a token counts for the address, which does not know it yet.
	if got := fmt.Sprint(statuses(5, a)); got != "[200 200 200 200 429]" {
		t.Errorf("client a: %s", got)
	}
	if got := fmt.Sprint(statuses(5, b)); got != "[200 200 200 200 429]" {
		t.Errorf("client b: %s", got)
	}
	if got := fmt.Sprint(statuses(2)); got != "[401 429]" {
		t.Errorf("without a token: %s", got)
	}
	for _, forged := range []string{"X-Forwarded-For: 10.9.9.9", "X-Real-IP: 10.9.9.9", "Forwarded: for=10.9.9.9"} {
		if r := ask(forged); r.StatusCode != 429 {
			t.Errorf("%s: %d, want 429", forged, r.StatusCode)
		}
	}
	r := ask(a)
	if problemJSON(t, r); r.Header.Get("Retry-After") != "100" || !strings.Contains(r.body, "more than 0.01 requests a second") {
		t.Errorf("429: %v %s", r.Header, r.body)
	}
	for _, path := range []string{"/livez", "/readyz", "/health", "/metrics"} {
		for range 10 {
			if r := send(t, s, "GET", path, "", a); r.StatusCode != 200 {
				t.Fatalf("%s is limited: %d", path, r.StatusCode)
			}
		}
	}
	if r := send(t, s, "GET", "/metrics", "", a); !strings.Contains(r.body, `edgecache_http_limited_total{limit="requests"} 7`) {
		t.Errorf("metrics lack the refused requests: %s", line(r.body, "limited_total"))
	}
}

func line(text, part string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) && !strings.HasPrefix(l, "#") {
			return l
		}
	}
	return "no line with " + part
}

func TestForwardedAddressesCountBehindTrustedProxiesAlone(t *testing.T) {
	s := serve(t, newFake("1"), func(c *Config) {
		c.Access.Rate, c.Access.Burst, c.Access.Proxies = 0.01, 1, []string{"127.0.0.0/8", "10.0.0.0/8"}
	})
	for _, step := range []struct {
		forwarded string
		want      int
	}{
		{"192.0.2.1", 200}, {"192.0.2.1", 429}, {"192.0.2.2", 200},
		{"192.0.2.9, 192.0.2.2", 429},            // what a client says of itself comes first
		{"192.0.2.3, 10.1.1.1", 200},             // through two proxies
		{"evil, 192.0.2.3, 10.1.1.1, 10.2", 200}, // no address: the peer
		{"x, 192.0.2.3,10.1.1.1", 429}, {"2001:db8::1", 200}, {"2001:db8::2", 429}, {"2001:db8:0:1::1", 200},
	} {
		if r := send(t, s, "GET", "/v1/users/1", "", "X-Forwarded-For: "+step.forwarded); r.StatusCode != step.want {
			t.Errorf("%q: %d, want %d", step.forwarded, r.StatusCode, step.want)
		}
	}
}

func TestBatchesOfOneClientAreLimited(t *testing.T) {
	f := &slowBatch{fakeNode: newFake("1"), entered: make(chan struct{}), done: make(chan struct{})}
	s := serve(t, f, withTokens, func(c *Config) { c.Access.Batches = 2 })
	a, b := bearer(t, auth.RoleRead, "a"), bearer(t, auth.RoleRead, "b")
	ask := func(header string) int {
		return send(t, s, "POST", "/v1/users/batch", `{"ids":["1"]}`, header).StatusCode
	}
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if got := ask(a); got != 200 {
				t.Errorf("a batch within the limit: %d", got)
			}
		})
		<-f.entered
	}
	if r := send(t, s, "GET", "/v1/users?ids=1", "", a); r.StatusCode != 429 || r.Header.Get("Retry-After") != "1" {
		t.Errorf("a third batch: %d %v", r.StatusCode, r.Header)
	}
	group.Go(func() {
		if got := ask(b); got != 200 {
			t.Errorf("another client's: %d", got)
		}
	})
	<-f.entered
	close(f.done)
	group.Wait()
	go func() { <-f.entered }()
	if got := ask(a); got != 200 {
		t.Errorf("when they are over: %d", got)
	}
}

// slowBatch answers batches when done is closed.
type slowBatch struct {
	*fakeNode
	entered, done chan struct{}
}

func (s *slowBatch) BatchGet(ctx context.Context, ids []string, want tier.Want) (tier.Batch, error) {
	s.entered <- struct{}{}
	<-s.done
	return s.fakeNode.BatchGet(ctx, ids, want)
}

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	s := serve(t, newFake("1"), func(c *Config) { c.Access.Conns = 2 })
	first, second := dial(t, s), dial(t, s)
	ask := func(c net.Conn) int {
		fmt.Fprint(c, "GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return receive(t, c, "GET").StatusCode
	}
	if a, b := ask(first), ask(second); a != 200 || b != 200 {
		t.Fatalf("within the limit: %d, %d", a, b)
	}
	if r := receive(t, dial(t, s), "GET"); r.StatusCode != 429 || r.Header.Get("Retry-After") == "" {
		t.Errorf("a third: %d %v", r.StatusCode, r.Header)
	}
	_ = first.Close()
	for end := time.Now().Add(5 * time.Second); ; {
		c := dial(t, s)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(c, "GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && resp.StatusCode == 200 {
			break
		}
		_ = c.Close()
		if time.Now().After(end) {
			t.Fatal("a closed connection still counts")
		}
	}
}

// The text of a 503 says what was waited for, and for how long.
func TestUnavailableSaysTheLimit(t *testing.T) {
	for says, err := range map[string]error{
		"did not answer within 1s (--origin-timeout)": &origin.Error{Op: "load", Limit: time.Second, Err: profile.ErrUnavailable},
		"answered 502 Bad Gateway":                    &origin.Error{Op: "load", Status: 502, Detail: "inside", Err: profile.ErrUnavailable},
		"asked again in 2s":                           &origin.Error{Op: "load", RetryAfter: 2 * time.Second, Err: profile.ErrUnavailable},
		"until the 2s of a load were over":            &look.Waited{For: "Redis took all the time", Limit: 2 * time.Second, Cause: context.DeadlineExceeded},
		"could not be reached in time":                profile.ErrUnavailable,
	} {
		f := newFake()
		f.errs["1"] = fmt.Errorf("tier: load: %w", err)
		r := send(t, serve(t, f), "GET", "/v1/users/1", "")
		if r.StatusCode != 503 || !strings.Contains(r.body, says) || strings.Contains(r.body, "inside") {
			t.Errorf("%v: %d %s", err, r.StatusCode, r.body)
		}
	}
}

// load asks until stop, and counts.
func load(client *http.Client, url string, stop <-chan struct{}, asked, failed *atomic.Int64) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		asked.Add(1)
		resp, err := client.Get(url + "/v1/users/1")
		if err != nil {
			failed.Add(1)
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			failed.Add(1)
		}
		_ = resp.Body.Close()
	}
}
