package api

import (
	"bufio"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/openapi"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

func document(t *testing.T) *openapi.Doc {
	t.Helper()
	d, err := openapi.Parse(openAPIDocument)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	d, s := document(t), serve(t, newFake("1"), withTokens, running(t, true))
	if err := d.CheckExamples(true); err != nil {
		t.Error(err)
	}
	param := regexp.MustCompile(`:(\w+)`)
	var served []string
	for _, r := range s.app.GetRoutes(true) {
		if r.Method == http.MethodHead { // comes with each GET
			continue
		}
		route := r.Method + " " + param.ReplaceAllString(r.Path, "{$1}")
		served = append(served, route)
		if role := strings.TrimPrefix(calls[r.Method+" "+r.Path].need.String(), "none"); d.Role(route) != role {
			t.Errorf("%s: the role %q is written, %q is needed", route, d.Role(route), role)
		}
	}
	slices.Sort(served)
	if written := d.Routes(); !slices.Equal(served, written) {
		t.Errorf("served:  %v\nwritten: %v", served, written)
	}
	if r := send(t, s, "GET", "/openapi.json", "", bearer(t, auth.RoleRead, "")); r.body != string(openAPIDocument) || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("GET /openapi.json: %d %.80s", r.StatusCode, r.body)
	}
}

// exchange is a request whose answer the document must describe.
type exchange struct {
	route, target, body string
	headers             []string
	status              int
	node                Node
	config              func(*Config)
}

// exchanges reach each status of each operation that is reachable by a request.
// asked is who and what the exchanges ask.
type asked struct {
	known, unready     *fakeNode
	fail               func(err error) Node
	read, none         string
	limited, breakable func(*Config)
}

func newAsked(t *testing.T) asked {
	t.Helper()
	a := asked{known: newFake("1"), unready: newFake("1"), fail: func(err error) Node {
		f := newFake("1")
		f.fails, f.statusFails, f.errs["2"] = err, err, err
		return f
	}}
	a.unready.notReady = fmt.Errorf("not ready")
	a.read, a.none = bearer(t, auth.RoleRead, ""), bearer(t, auth.RoleNone, "")
	a.limited = func(c *Config) { withTokens(c); c.Access.Rate, c.Access.Burst = 0.001, 1 }
	a.breakable = func(c *Config) { c.Demo = new(fakeDemo) }
	return a
}

func exchanges(t *testing.T) []exchange {
	t.Helper()
	a := newAsked(t)
	known, fail, read, none := a.known, a.fail, a.read, a.none
	user, many, batch, inv := "/v1/users/{id}", "GET /v1/users", "POST /v1/users/batch", "POST /v1/users/{id}/invalidate"
	etag := send(t, serve(t, known), "GET", "/v1/users/1", "").Header.Get("ETag")
	long := "X: " + strings.Repeat("x", MaxHead)
	return append(a.besideUsers(), []exchange{
		{"GET " + user, "/v1/users/1?minVersion=5", "", []string{"Cache-Control: max-age=60"}, 200, known, nil},
		{"GET " + user, "/v1/users/1", "", []string{"Accept: application/msgpack"}, 200, known, nil},
		{"GET " + user, "/v1/users/1", "", []string{"If-None-Match: " + etag}, 304, known, nil},
		{"GET " + user, "/v1/users/a%20b", "", nil, 400, known, nil},
		{"GET " + user, "/v1/users/9", "", nil, 404, known, nil},
		{"GET " + user, "/v1/users/1", "", []string{"Accept: text/html"}, 406, known, nil},
		{"GET " + user, "/v1/users/2", "", nil, 502, fail(profile.ErrMalformed), nil},
		{"GET " + user, "/v1/users/2", "", nil, 503, fail(profile.ErrUnavailable), nil},
		{"GET " + user, "/v1/users/2", "", nil, 500, fail(fmt.Errorf("broken")), nil},
		{"GET " + user, "/v1/users/1", "", []string{long}, 431, known, nil},
		{"GET " + user, "/v1/users/1", "", nil, 401, known, withTokens},
		{"GET " + user, "/v1/users/1", "", []string{none}, 403, known, withTokens},
		{"PUT " + user, "/v1/users/1", whole, []string{jsonType}, 204, known, nil},
		{"PUT " + user, "/v1/users/1", `{}`, []string{jsonType}, 400, known, nil},
		{"PUT " + user, "/v1/users/1", whole, []string{jsonType}, 409, fail(tier.ErrConflict), nil},
		{"PUT " + user, "/v1/users/1", whole, []string{"Content-Type: text/xml"}, 415, known, nil},
		{"PUT " + user, "/v1/users/1", `{"updatedAt":5,"nom":"` + strings.Repeat("x", profile.MaxSize) + `"}`, []string{jsonType}, 413, known, nil},
		{"PUT " + user, "/v1/users/1", whole, []string{jsonType}, 503, fail(fmt.Errorf("redis")), nil},
		{"PUT " + user, "/v1/users/1", whole, []string{jsonType, read}, 403, known, withTokens},
		{"PUT " + user, "/v1/users/1", whole, []string{jsonType, "Sec-Fetch-Site: cross-site"}, 403, known, nil},
		{inv, "/v1/users/1/invalidate", "", nil, 204, known, nil},
		{inv, "/v1/users/1/invalidate", "{}", []string{jsonType}, 204, known, nil},
		{inv, "/v1/users/a%20b/invalidate", "", nil, 400, known, nil},
		{inv, "/v1/users/1/invalidate", "", []string{"Content-Type: text/plain"}, 415, known, nil},
		{inv, "/v1/users/1/invalidate", strings.Repeat(" ", 5000), []string{jsonType}, 413, known, nil},
		{inv, "/v1/users/1/invalidate", "", nil, 503, fail(fmt.Errorf("redis")), nil},
		{inv, "/v1/users/1/invalidate", "", []string{read}, 403, known, withTokens},
		{"GET /v1/users/{id}/why", "/v1/users/1/why", "", nil, 200, known, nil},
		{"GET /v1/users/{id}/why", "/v1/users/a%20b/why", "", nil, 400, known, nil},
		{"GET /v1/users/{id}/why", "/v1/users/1/why", "", nil, 503, fail(tier.ErrClosed), nil},
		{"GET /v1/users/{id}/why", "/v1/users/1/why", "", []string{read}, 403, known, withTokens},
		{many, "/v1/users?ids=1,9,a%20b&sources=1", "", nil, 200, known, nil},
		{many, "/v1/users?ids=1&minVersion=5", "", []string{"Accept: application/msgpack"}, 200, known, nil},
		{many, "/v1/users", "", nil, 400, known, nil},
		{many, "/v1/users?ids=1", "", []string{"Accept: text/html"}, 406, known, nil},
		{many, "/v1/users?ids=1" + strings.Repeat(",1", 10_001), "", nil, 413, known, nil},
		{many, "/v1/users?ids=1", "", nil, 503, fail(profile.ErrUnavailable), nil},
		{batch, "/v1/users/batch?sources=true", `{"ids":["1","9","a b"]}`, []string{jsonType}, 200, known, nil},
		{batch, "/v1/users/batch", `{"id":[]}`, []string{jsonType}, 400, known, nil},
		{batch, "/v1/users/batch", `{"ids":["1"]}`, []string{jsonType, "Accept: text/html"}, 406, known, nil},
		{batch, "/v1/users/batch", `{"ids":["1"]}`, []string{"Content-Type: text/xml"}, 415, known, nil},
		{batch, "/v1/users/batch", batchBody(10_001, 1), []string{jsonType}, 413, known, nil},
		{batch, "/v1/users/batch", `{"ids":["1"]}`, []string{jsonType}, 503, fail(profile.ErrUnavailable), nil},
	}...)
}

// besideUsers are the exchanges about other things than users.
func (a asked) besideUsers() []exchange {
	known, unready, fail, limited, breakable := a.known, a.unready, a.fail, a.limited, a.breakable
	demo, pre := "POST /v1/demo", "/v1/prewarm"
	return []exchange{
		{"GET /v1/stats", "/v1/stats", "", nil, 200, known, nil},
		{"GET /v1/cluster", "/v1/cluster", "", nil, 200, known, nil},
		{"GET " + pre, pre, "", nil, 200, known, nil},
		{"GET " + pre, pre, "", nil, 404, fail(prewarm.ErrNoRun), nil},
		{"GET " + pre, pre, "", nil, 503, fail(fmt.Errorf("redis")), nil},
		{"POST " + pre, pre, `{"maxUsers":5,"delayBetweenBatches":2.5,"unlimited":false}`, []string{jsonType}, 202, known, nil},
		{"POST " + pre, pre, "", nil, 202, known, nil},
		{"POST " + pre, pre, `{"users":5}`, []string{jsonType}, 400, known, nil},
		{"POST " + pre, pre, "", nil, 404, fail(prewarm.ErrNoRun), nil},
		{"POST " + pre, pre, "", nil, 409, fail(prewarm.ErrRunning), nil},
		{"POST " + pre, pre, "x", []string{"Content-Type: text/plain"}, 415, known, nil},
		{"POST " + pre, pre, strings.Repeat(" ", 5000), []string{jsonType}, 413, known, nil},
		{"POST " + pre, pre, "", nil, 503, fail(fmt.Errorf("redis")), nil},
		{"DELETE " + pre, pre, "", nil, 202, known, nil},
		{"DELETE " + pre, pre, "", nil, 404, fail(prewarm.ErrNoRun), nil},
		{"DELETE " + pre, pre, "", nil, 503, fail(fmt.Errorf("redis")), nil},
		{"GET /v1/live", "/v1/live?count=1", "", nil, 200, known, nil},
		{"GET /v1/live", "/v1/live?count=x", "", nil, 400, known, nil},
		{"GET /v1/lookups", "/v1/lookups?filter=tier%3Dorigin+ms%3E50&n=5", "", nil, 200, known, nil},
		{"GET /v1/lookups", "/v1/lookups?filter=tier", "", nil, 400, known, nil},
		{"GET /v1/dead", "/v1/dead?n=5", "", nil, 200, known, nil},
		{"GET /v1/dead", "/v1/dead?n=x", "", nil, 400, known, nil},
		{"GET /v1/dead", "/v1/dead", "", nil, 503, fail(fmt.Errorf("redis")), nil},
		{"GET /v1/dead", "/v1/dead", "", []string{a.read}, 403, known, withTokens},
		{demo, "/v1/demo", `{"fault":"redis","on":true}`, []string{jsonType}, 200, known, breakable},
		{demo, "/v1/demo", `{"fault":"tea","on":true}`, []string{jsonType}, 400, known, breakable},
		{demo, "/v1/demo", `{"fault":"redis","on":true}`, []string{jsonType}, 404, known, nil},
		{demo, "/v1/demo", "x", []string{"Content-Type: text/plain"}, 415, known, breakable},
		{demo, "/v1/demo", strings.Repeat(" ", 5000), []string{jsonType}, 413, known, breakable},
		{"GET /ui", "/ui", "", nil, 200, known, withTokens},
		{"GET /ui/{file}", "/ui/app.js", "", nil, 200, known, withTokens},
		{"GET /ui/{file}", "/ui/app.css", "", nil, 200, known, nil},
		{"GET /ui/{file}", "/ui/icon.svg", "", nil, 200, known, nil},
		{"GET /ui/{file}", "/ui/..%2fui.go", "", nil, 404, known, nil},
		{"GET /health", "/health", "", nil, 200, known, nil},
		{"GET /health", "/health", "", nil, 503, unready, nil},
		{"GET /livez", "/livez", "", nil, 200, known, withTokens},
		{"GET /readyz", "/readyz", "", nil, 200, known, withTokens},
		{"GET /readyz", "/readyz", "", nil, 503, unready, nil},
		{"GET /metrics", "/metrics", "", nil, 200, known, nil},
		{"GET /openapi.json", "/openapi.json", "", nil, 200, known, nil},
		{"GET /openapi.html", "/openapi.html", "", nil, 200, known, nil},
		{"GET /v1/stats", "/v1/stats", "", nil, 429, known, limited},
	}
}

// functionExchanges are those about edge functions, in their order.
func functionExchanges(t *testing.T) []exchange {
	t.Helper()
	known, on, down := newFake("1"), running(t, true), running(t, false)
	wasmType, fns := "Content-Type: "+typeWasm, "/v1/functions"
	one := fns + "/{name}"
	wasm, err := guests.Modules.ReadFile("prebuilt/hide-matricule.as.wasm")
	if err != nil {
		t.Fatal(err)
	}
	module, large := string(wasm), strings.Repeat("x", edge.MaxModule+1)
	text := []string{"Content-Type: text/plain"}
	return []exchange{
		{"PUT " + one, fns + "/hide?fuel=50000&open=1", module, []string{wasmType}, 200, known, on},
		{"PUT " + one, fns + "/hide?fuel=60000&share=0.5", module, []string{wasmType}, 200, known, on},
		{"PUT " + one, fns + "/hide?share=2", module, []string{wasmType}, 400, known, on},
		{"PUT " + one, fns + "/hide", "none", []string{wasmType}, 422, known, on},
		{"PUT " + one, fns + "/hide", "none", text, 415, known, on},
		{"PUT " + one, fns + "/hide", large, []string{wasmType}, 413, known, on},
		{"PUT " + one, fns + "/hide", module, []string{wasmType}, 503, known, down},
		{"GET " + fns, fns, "", nil, 200, known, on},
		{"GET " + fns, fns, "", nil, 503, known, down},
		{"GET " + one, fns + "/hide", "", nil, 200, known, on},
		{"GET " + one, fns + "/Hide", "", nil, 400, known, on},
		{"GET " + one, fns + "/none", "", nil, 404, known, on},
		{"GET " + one, fns + "/hide", "", nil, 503, known, down},
		{"GET " + one + "/module", fns + "/hide/module?version=1", "", nil, 200, known, on},
		{"GET " + one + "/module", fns + "/hide/module?version=x", "", nil, 400, known, on},
		{"GET " + one + "/module", fns + "/none/module", "", nil, 404, known, on},
		{"GET " + one + "/module", fns + "/hide/module", "", nil, 503, known, down},
		{"POST " + one + "/diff", fns + "/hide/diff?users=5&claim.role=guest&locale=fr", module, []string{wasmType}, 200, known, on},
		{"POST " + one + "/diff", fns + "/hide/diff?users=x", module, []string{wasmType}, 400, known, on},
		{"POST " + one + "/diff", fns + "/hide/diff", "none", []string{wasmType}, 422, known, on},
		{"POST " + one + "/diff", fns + "/hide/diff", "none", text, 415, known, on},
		{"POST " + one + "/diff", fns + "/hide/diff", large, []string{wasmType}, 413, known, on},
		{"GET /v1/users/{id}", "/v1/users/1?fn=hide&locale=fr", "", nil, 200, known, on},
		{"GET /v1/users/{id}", "/v1/users/1?fn=hide&arg.none=1", "", nil, 400, known, on},
		{"GET /v1/users/{id}", "/v1/users/1?fn=none", "", nil, 404, known, on},
		{"GET /v1/users", "/v1/users?ids=1&fn=hide", "", nil, 200, known, on},
		{"POST /v1/users/batch", "/v1/users/batch?fn=hide", `{"ids":["1"]}`, []string{jsonType}, 200, known, on},
		// the trial ends
		{"POST " + one + "/rollback", fns + "/hide/rollback", "", nil, 200, known, on},
		{"POST " + one + "/rollback", fns + "/hide/rollback?to=9", "", nil, 400, known, on},
		{"POST " + one + "/rollback", fns + "/none/rollback", "", nil, 404, known, on},
		{"POST " + one + "/rollback", fns + "/hide/rollback", "x", text, 415, known, on},
		{"POST " + one + "/rollback", fns + "/hide/rollback", strings.Repeat(" ", 5000), []string{jsonType}, 413, known, on},
		{"POST " + one + "/rollback", fns + "/hide/rollback", "", nil, 503, known, down},
		{"DELETE " + one, fns + "/hide", "", nil, 204, known, on},
		{"DELETE " + one, fns + "/Hide", "", nil, 400, known, on},
		{"DELETE " + one, fns + "/hide", "", nil, 404, known, on},
		{"DELETE " + one, fns + "/hide", "", nil, 503, known, down},
	}
}

// running returns a configuration with edge functions of a real node, whose Redis is away unless
// up.
func running(t *testing.T, up bool) func(*Config) {
	t.Helper()
	n, redis := functionNode(t)
	if !up {
		_ = redis.Close()
	}
	return func(c *Config) { c.Functions = &FunctionsConfig{Node: n} }
}

func TestExchangesAreAsDescribed(t *testing.T) {
	d := document(t)
	seen := map[string]bool{}
	for _, x := range append(exchanges(t), functionExchanges(t)...) {
		name := fmt.Sprintf("%s %d", x.route, x.status)
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			s := serve(t, x.node, func(c *Config) {
				if x.config != nil {
					x.config(c)
				}
			})
			method, _, _ := strings.Cut(x.route, " ")
			if x.status == 429 {
				send(t, s, method, x.target, "")
			}
			r := send(t, s, method, x.target, x.body, x.headers...)
			_, query, _ := strings.Cut(x.target, "?")
			err := d.CheckExchange(openapi.Exchange{Route: x.route, Query: query, Header: headersOf(x.headers), Body: x.body, Status: r.StatusCode,
				Answer: r.Header, Content: r.body})
			if err != nil || r.StatusCode != x.status {
				t.Errorf("%d, want %d: %v\n%.300s", r.StatusCode, x.status, err, r.body)
			}
		})
	}
	// Each status that is written has been seen, but for those that every operation has alike.
	for _, written := range d.Statuses() {
		if !seen[written] && !alike(written) {
			t.Errorf("%s is written, and no exchange ends so", written)
		}
	}
}

// alike are the statuses that come from what stands before all operations, and are seen at some.
func alike(written string) bool {
	return slices.ContainsFunc([]string{" 401", " 403", " 421", " 429", " 431", " 500", " 408"}, func(s string) bool { return strings.HasSuffix(written, s) })
}

func headersOf(lines []string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

// Requests that no client library can be brought to send are described as well.
func TestForeignHostAndLateBodyAreAsDescribed(t *testing.T) {
	d := document(t)
	s := serve(t, newFake("1"), func(c *Config) { c.ReadTimeout = 300_000_000 })
	for route, text := range map[string]string{
		"GET /v1/users/{id}":   "GET /v1/users/1 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"POST /v1/users/batch": "POST /v1/users/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
	} {
		c := dial(t, s)
		fmt.Fprint(c, text)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		_, _ = bufio.NewReader(resp.Body).WriteTo(&body)
		if err := d.CheckExchange(openapi.Exchange{Route: route, Status: resp.StatusCode, Answer: resp.Header, Content: body.String()}); err != nil || resp.StatusCode < 408 {
			t.Errorf("%s: %d: %v", route, resp.StatusCode, err)
		}
	}
}
