package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// secret is the beginning of every registration number of these tests.
const secret = "SECRET-"

// registry is a source of truth whose users have something to hide. Users from 900 on do not exist,
// and it can be down.
type registry struct {
	mu      sync.Mutex
	down    bool
	changes int64 // since the first version of all users
}

func (r *registry) set(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// change makes a new version of every user.
func (r *registry) change() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
}

func (r *registry) Load(_ context.Context, id string) (*profile.Profile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.down:
		return nil, profile.ErrUnavailable
	case strings.HasPrefix(id, "9"):
		return nil, profile.ErrNotFound
	}
	return &profile.Profile{ID: id, FullName: "User " + id, Matricule: secret + id, Avatar: "/a/" + id, UpdatedAt: 1 + r.changes,
		Attrs: map[string]string{"name.fr": "Utilisateur " + id}}, nil
}

func (r *registry) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}, Errors: map[string]error{}}
	for _, id := range ids {
		p, err := r.Load(ctx, id)
		switch {
		case err == nil:
			b.Found[id] = p
		case r.down:
			return b, err
		default:
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// functionNode starts a node that runs edge functions, and its Redis.
func functionNode(t *testing.T) (*node.Node, *embedded.Redis) {
	t.Helper()
	redis, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })
	n, err := node.New(node.Config{RedisURL: redis.URL(), Origin: new(registry), Functions: &edge.FunctionsConfig{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n, redis
}

// guarded serves a node on which everybody goes through hide-matricule but those with the role
// read; admins may push.
func guarded(t *testing.T) (*Server, *node.Node) {
	t.Helper()
	n, _ := functionNode(t)
	return serve(t, n, func(c *Config) {
		withTokens(c)
		c.Functions = &FunctionsConfig{Node: n, Roles: map[string]string{"read": "hide-matricule"},
			Caller: func(c *fiber.Ctx) (Caller, error) { // readers are guests here
				role := gate.Identity(c.Context()).Role.String()
				return Caller{Role: role, Claims: edge.Map{"role": map[string]string{"read": "guest"}[role]}}, nil
			}}
	}), n
}

// as sends a request of a caller whose token has this role.
func as(t *testing.T, s *Server, role auth.Role, method, path, body string, headers ...string) response {
	t.Helper()
	return send(t, s, method, path, body, append([]string{bearer(t, role, "")}, headers...)...)
}

func pushExamples(t *testing.T, s *Server) {
	t.Helper()
	for _, name := range []string{"hide-matricule", "display-name", "avatar-size"} {
		wasm, err := guests.Modules.ReadFile("prebuilt/" + name + ".as.wasm")
		if err != nil {
			t.Fatal(err)
		}
		r := as(t, s, auth.RoleAdmin, "PUT", "/v1/functions/"+name, string(wasm), "Content-Type: application/wasm")
		var pushed edge.Pushed
		if err := json.Unmarshal([]byte(r.body), &pushed); err != nil || r.StatusCode != 200 || pushed.Version.Number != 1 {
			t.Fatalf("push %s: %d %s", name, r.StatusCode, r.body)
		}
	}
}

// policyRequest is a request of a reader, and its status.
type policyRequest struct {
	method, path, body string
	status             int
	headers            []string
}

// policyRequests go every way on which a profile is shown; open and hidden are the tags of the
// whole one and of what a reader sees.
func policyRequests(open, hidden string) []policyRequest {
	ids := `{"ids":["1","2","3","900","bad id"]}`
	return []policyRequest{
		{"GET", "/v1/users/1", "", 200, nil},
		{"GET", "/v1/users/2", "", 200, nil}, // not in memory yet
		{"HEAD", "/v1/users/1", "", 200, nil},
		{"GET", "/v1/users/1?fn=avatar-size&arg.size=64", "", 200, nil},
		{"GET", "/v1/users/1?fn=display-name", "", 200, []string{"Accept-Language: fr"}},
		{"GET", "/v1/users/1?fn=hide-matricule", "", 200, nil},
		{"GET", "/v1/users/1?fn=", "", 200, nil},
		{"GET", "/v1/users/1?minVersion=1", "", 200, nil},
		{"GET", "/v1/users/1", "", 200, []string{"Cache-Control: no-cache"}},
		{"GET", "/v1/users/1", "", 200, []string{"Accept: application/msgpack"}},
		{"GET", "/v1/users/1", "", 200, []string{"If-None-Match: " + open}},
		{"GET", "/v1/users/1", "", 304, []string{"If-None-Match: " + hidden}},
		{"GET", "/v1/users/900", "", 404, nil},
		{"GET", "/v1/users?ids=1,2,3,900", "", 200, nil},
		{"GET", "/v1/users?ids=1,2&sources=1", "", 200, []string{"Accept: application/msgpack"}},
		{"GET", "/v1/users?ids=1,2&fn=avatar-size&arg.size=64", "", 200, nil},
		{"POST", "/v1/users/batch", ids, 200, []string{"Content-Type: application/json"}},
		{"POST", "/v1/users/batch", ids, 200, []string{"Content-Type: application/json", "Accept: application/msgpack"}},
		{"GET", "/v1/users/1?fn=avatar-size&arg.size=1", "", 403, nil},
		{"GET", "/v1/users/1?fn=avatar-size&arg.width=64", "", 400, nil},
		{"GET", "/v1/users/1?fn=nobody", "", 404, nil},
		{"GET", "/v1/users/1?fn=../x", "", 400, nil},
		{"GET", "/v1/stats", "", 200, nil},
		{"GET", "/v1/functions", "", 403, nil},
		{"DELETE", "/v1/functions/hide-matricule", "", 403, nil},
		{"PUT", "/v1/functions/hide-matricule", "\x00asm", 403, nil},
		{"GET", "/v1/functions/hide-matricule/module", "", 403, nil},
		{"POST", "/v1/functions/hide-matricule/diff", "\x00asm", 403, nil},
		{"POST", "/v1/functions/hide-matricule/rollback", "", 403, nil},
	}
}

// TestAPolicyHoldsOnEveryPath asks for users in every way there is, as one who must not see
// registration numbers.
func TestAPolicyHoldsOnEveryPath(t *testing.T) {
	s, n := guarded(t)
	if r := as(t, s, auth.RoleRead, "GET", "/v1/users/1", ""); r.StatusCode != 502 || !strings.Contains(r.body, "hide-matricule") {
		t.Errorf("before the function is there: %d %s", r.StatusCode, r.body)
	}
	pushExamples(t, s)
	if r := as(t, s, auth.RoleWrite, "GET", "/v1/users/1", ""); !strings.Contains(r.body, secret+"1") {
		t.Fatalf("who may see it does not: %s", r.body)
	}
	open := as(t, s, auth.RoleWrite, "GET", "/v1/users/1", "").Header.Get("ETag")
	hidden := as(t, s, auth.RoleRead, "GET", "/v1/users/1", "").Header.Get("ETag")
	if open == hidden {
		t.Fatalf("both have the ETag %s", open)
	}
	for i, c := range policyRequests(open, hidden) {
		for range 2 {
			r := as(t, s, auth.RoleRead, c.method, c.path, c.body, c.headers...)
			if r.StatusCode != c.status || strings.Contains(r.body, secret) {
				t.Errorf("%d: %s %s %q: %d %q; want %d without %s", i, c.method, c.path, c.headers, r.StatusCode, r.body, c.status, secret)
			}
		}
	}
	if r := as(t, s, auth.RoleRead, "GET", "/v1/users/1?fn=avatar-size&arg.size=64", ""); !strings.Contains(r.body, "/a/1?size=64") ||
		!strings.Contains(r.Header.Get("Vary"), "Authorization") {
		t.Errorf("the second function: %s, Vary %s", r.body, r.Header.Get("Vary"))
	}
	if r := as(t, s, auth.RoleRead, "GET", "/v1/users/1?fn=display-name", "", "Accept-Language: de;q=0.5, fr-CM"); !strings.Contains(r.body, "Utilisateur 1") {
		t.Errorf("the caller's language: %s", r.body)
	}
	metrics := as(t, s, auth.RoleRead, "GET", "/metrics", "").body
	for _, want := range []string{`edgecache_function_calls_total{function="hide-matricule"}`, `edgecache_function_loaded{function="avatar-size"} 1`,
		`edgecache_function_refused_total{function="avatar-size"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	if st := n.Stats(); len(st.Functions) != 3 || st.ViewBytes == 0 {
		t.Errorf("stats %+v", st.Functions)
	}
}

// TestFunctionsAreAdministered goes through the life of a function, as an administrator.
func TestFunctionsAreAdministered(t *testing.T) {
	s, _ := guarded(t)
	pushExamples(t, s)
	admin := func(method, path, body string) response {
		t.Helper()
		return as(t, s, auth.RoleAdmin, method, path, body, "Content-Type: application/wasm")
	}
	for id := range 20 { // who is shown is compared
		as(t, s, auth.RoleRead, "GET", fmt.Sprint("/v1/users/", id+1), "")
	}
	other, _ := guests.Modules.ReadFile("prebuilt/avatar-size.c.wasm")
	var d node.Diff
	r := admin("POST", "/v1/functions/hide-matricule/diff?arg.size=64", string(other))
	if err := json.Unmarshal([]byte(r.body), &d); err != nil || r.StatusCode != 200 {
		t.Errorf("diff: %d %s", r.StatusCode, r.body)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/v1/functions/hide-matricule", string(other), 200, `"number":2`},
		{"GET", "/v1/functions/hide-matricule", "", 200, `"current":2`},
		{"GET", "/v1/functions", "", 200, `"display-name"`},
		{"GET", "/v1/functions/hide-matricule/module", "", 200, string(other)},
		{"POST", "/v1/functions/hide-matricule/rollback", "", 200, `"number":1`},
		{"POST", "/v1/functions/hide-matricule/rollback?to=2", "", 200, `"number":2`},
		{"POST", "/v1/functions/hide-matricule/rollback?to=7", "", 400, "version 7"},
		{"POST", "/v1/functions/hide-matricule/rollback?to=x", "", 400, "whole number"},
		{"PUT", "/v1/functions/hide-matricule", "no module", 422, "no WebAssembly module"},
		{"PUT", "/v1/functions/hide-matricule?fuel=-1", string(other), 400, "fuel"},
		{"PUT", "/v1/functions/hide-matricule?fuel=100000000", string(other), 422, "units of fuel"},
		{"PUT", "/v1/functions/Hide", string(other), 400, "a-z0-9"},
		{"PUT", "/v1/functions/x", strings.Repeat("x", edge.MaxModule+1), 413, "at most"},
		{"GET", "/v1/functions/nobody", "", 404, "nobody"},
		{"DELETE", "/v1/functions/nobody", "", 404, "nobody"},
		{"DELETE", "/v1/functions/avatar-size", "", 204, ""},
		{"GET", "/v1/functions/avatar-size", "", 404, ""},
	} {
		if r := admin(c.method, c.path, c.body); r.StatusCode != c.status || !strings.Contains(r.body, c.says) {
			t.Errorf("%s %s: %d %.300q; want %d with %q", c.method, c.path, r.StatusCode, r.body, c.status, c.says)
		}
	}
}

// TestANodeWithoutFunctionsRefusesThem looks that naming one is not silently passed over.
func TestANodeWithoutFunctionsRefusesThem(t *testing.T) {
	s := serve(t, newFake("1"))
	for _, path := range []string{"/v1/users/1?fn=hide", "/v1/users?ids=1&fn=hide", "/v1/functions"} {
		if r := as(t, s, auth.RoleRead, "GET", path, ""); r.StatusCode != 404 {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
}

// TestFunctionsSeeTheToken reads claims as functions do.
func TestFunctionsSeeTheToken(t *testing.T) {
	token := claims{"dept": "DGI", "age": 7.5, "vip": true, "list": []any{"x"}}
	for name, want := range map[string]string{"dept": "DGI", "age": "7.5", "vip": "true"} {
		if got, ok := token.Value(name); !ok || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"list", "role"} {
		if got, ok := token.Value(name); ok {
			t.Errorf("%s is %q; want nothing", name, got)
		}
	}
}
