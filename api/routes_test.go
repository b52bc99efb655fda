package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	jsonType = "Content-Type: application/json"
	whole    = `{"id":"1","nom":"Ngo","prenom":"Awa","updatedAt":5}`
)

// statusCases are requests and what is answered.
var statusCases = []struct {
	method, path, body string
	headers            []string
	status             int
	contains           string // in the body
}{
	{"GET", "/v1/users/1", "", nil, 200, `"fullName":"Thérèse Ngo Bassong"`},
	{"HEAD", "/v1/users/1", "", nil, 200, ""},
	{"GET", "/v1/users/a:b@c.d_e-f", "", nil, 200, `"id":"a:b@c.d_e-f"`},
	{"GET", "/v1/users/a%3Ab%40c.d_e-f", "", nil, 200, `"id":"a:b@c.d_e-f"`},
	{"GET", "/v1/users/2", "", nil, 404, `no user has the id \"2\"`},
	{"HEAD", "/v1/users/2", "", nil, 404, ""},
	{"GET", "/v1/users/" + strings.Repeat("x", 129), "", nil, 400, "has 129 bytes"},
	{"GET", "/v1/users/a%20b", "", nil, 400, `invalid id: \"a b\" has byte \" \" at 1`},
	{"GET", "/v1/users/1?minVersion=9", "", nil, 200, ""},
	{"GET", "/v1/users/1?minVersion=x", "", nil, 400, `minVersion \"x\" is no version`},
	{"GET", "/v1/users/1?minVersion=-1", "", nil, 400, "minVersion"},
	{"GET", "/v1/users/1?minVersion=9007199254740992", "", nil, 400, "minVersion"},
	{"GET", "/v1/users/down", "", nil, 503, "could not be reached"},
	{"GET", "/v1/users/behind", "", nil, 503, "minVersion"},
	{"GET", "/v1/users/broken", "", nil, 500, "its log says why"},
	{"GET", "/v1/users/garbage", "", nil, 502, "no profile"},
	{"GET", "/v1/users/1", "", []string{"Accept: text/html"}, 406, "application/msgpack"},

	{"GET", "/v1/users?ids=1,2", "", nil, 200, `"missing":["2"]`},
	{"GET", "/v1/users?ids=1&ids=2", "", nil, 200, `"missing":["2"]`},
	{"GET", "/v1/users?ids=1%2C2", "", nil, 200, `"missing":["2"]`},
	{"GET", "/v1/users?ids=", "", nil, 400, "/v1/users?ids=1,2,3"},
	{"GET", "/v1/users", "", nil, 400, "/v1/users?ids=1,2,3"},
	{"GET", "/v1/users?ids=1,,2", "", nil, 200, `"errors":{"":"invalid id: it is empty`},

	{"POST", "/v1/users/batch", `{"ids":["1"]}`, []string{jsonType}, 200, `{"users":{"1":{"id":"1",`},
	{"POST", "/v1/users/batch", `{"ids":[]}`, nil, 200, `{"users":{},"missing":[],"errors":{}}`},
	{"POST", "/v1/users/batch?sources=1", `{"ids":["1","x"]}`, nil, 200, `"missing":["x"],"errors":{},"sources":{"1":{"tier":"L1","ageMs":42000}}}`},
	{"GET", "/v1/users?ids=1&sources=true", "", nil, 200, `"sources":{"1":{"tier":"L1","ageMs":42000}}}`},
	{"POST", "/v1/users/batch?sources=0", `{"ids":["1"]}`, nil, 200, `"errors":{}}`},
	{"POST", "/v1/users/batch?sources=all", `{"ids":["1"]}`, nil, 400, `sources is \"all\"; want 1 or 0`},
	{"POST", "/v1/users/batch", `{"ids":["1"]}`, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "send application/json"},
	{"POST", "/v1/users/batch", `{"ids":["1"]}`, []string{jsonType, "Content-Encoding: gzip"}, 415, "Content-Encoding"},
	{"POST", "/v1/users/batch", `{"ids":[1]}`, nil, 400, `\"ids\" holds a JSON number, not a string; want {\"ids\":[\"1\",\"2\"]}`},
	{"POST", "/v1/users/batch", `{"ids":"1"}`, nil, 400, `\"ids\" holds a JSON string, not an array of strings`},
	{"POST", "/v1/users/batch", `["1"]`, nil, 400, "a JSON array, not an object"},
	{"POST", "/v1/users/batch", `{"id":["1"]}`, nil, 400, `unknown field \"id\"`},
	{"POST", "/v1/users/batch", `{}`, nil, 400, `no \"ids\"`},
	{"POST", "/v1/users/batch", `{"ids":["1"]}{`, nil, 400, "follows the JSON value"},
	{"POST", "/v1/users/batch", `{"ids":["1"`, nil, 400, "ends too early"},
	{"POST", "/v1/users/batch", `ids=1`, nil, 400, "no JSON: invalid character 'i'"},
	{"POST", "/v1/users/batch", "", []string{"Content-Length: 0"}, 400, "the body is empty"},

	{"PUT", "/v1/users/1", whole, []string{jsonType}, 204, ""},
	{"PUT", "/v1/users/1", `{"nom":"Ngo","updatedAt":5}`, nil, 204, ""},
	{"PUT", "/v1/users/2", whole, nil, 400, `the profile of \"1\", the path says \"2\"`},
	{"PUT", "/v1/users/1", `{"id":"1"}`, nil, 400, "updatedAt is missing"},
	{"PUT", "/v1/users/1", `{"id":"1","updatedAt":"5"}`, nil, 400, `\"updatedAt\" holds a JSON string, not a whole number`},
	{"PUT", "/v1/users/1", `{"id":"1","updatedAt":-5}`, nil, 400, "updatedAt -5"},
	{"PUT", "/v1/users/1", `{"ministry":"x"}`, nil, 400, `unknown field \"ministry\"`},
	{"PUT", "/v1/users/1", `{"updatedAt":5,"nom":"` + strings.Repeat("x", profile.MaxSize) + `"}`, nil, 413, "at most 65536"},
	{"PUT", "/v1/users/1", "<xml/>", []string{"Content-Type: text/xml"}, 415, "application/json or application/msgpack"},
	{"PUT", "/v1/users/1", "\xc1", []string{"Content-Type: application/msgpack"}, 400, "msgpack of 1 bytes"},

	{"POST", "/v1/users/1/invalidate", "", nil, 204, ""},
	{"POST", "/v1/users/a%2Fb/invalidate", "", nil, 400, "A-Za-z0-9"},

	{"GET", "/v1/stats", "", nil, 200, `{`},
	{"GET", "/health", "", nil, 200, `"cache":{"totalCached":7,"ttl":604800,"ttlHours":168,`},
	{"GET", "/livez", "", nil, 200, `{"status":"ok"}`},
	{"GET", "/readyz", "", nil, 200, `{"status":"ok"}`},
	{"GET", "/metrics", "", nil, 200, "edgecache_l1_hits_total 5"},

	{"GET", "/", "", nil, 404, "nothing is served at"},
	{"GET", "/v2/users/1", "", nil, 404, "nothing is served at"},
	{"GET", "/<script>", "", nil, 404, `\u003cscript\u003e`},
	{"DELETE", "/v1/users/1", "", nil, 405, "DELETE is not allowed here, only GET, HEAD, PUT"},
	{"GET", "/v1/users/1/invalidate", "", nil, 405, "only POST"},
	{"POST", "/v1/stats", "", nil, 405, "only GET, HEAD"},
	{"BREW", "/v1/users/1", "", nil, 501, "BREW"},
	{"GET", "nonsense with spaces", "", nil, 400, "no HTTP request"},
}

func TestStatuses(t *testing.T) {
	f := newFake("1", "a:b@c.d_e-f")
	f.errs["down"] = fmt.Errorf("tier: load: %w: dial tcp: refused", profile.ErrUnavailable)
	f.errs["behind"] = tier.ErrBehind
	f.errs["broken"] = errors.New("redis: nonsense at 10.0.0.7")
	f.errs["garbage"] = fmt.Errorf("origin: load: %w: not JSON", profile.ErrMalformed)
	s := serve(t, f)
	for _, c := range statusCases {
		t.Run(c.method+" "+shorten(c.path)+" "+shorten(c.body), func(t *testing.T) {
			r := send(t, s, c.method, c.path, c.body, c.headers...)
			if r.StatusCode != c.status || !strings.Contains(r.body, c.contains) {
				t.Fatalf("got %d %s; want %d and %s", r.StatusCode, r.body, c.status, c.contains)
			}
			if r.StatusCode >= 400 && c.method != "HEAD" {
				problemJSON(t, r)
			}
			if strings.Contains(r.body, "10.0.0.7") {
				t.Errorf("an address of the inside got out: %s", r.body)
			}
		})
	}
}

func shorten(s string) string { return s[:min(len(s), 40)] }

func TestHeadersOfErrors(t *testing.T) {
	f := newFake("1")
	f.errs["down"] = profile.ErrUnavailable
	s := serve(t, f)
	if got := send(t, s, "GET", "/v1/users/down", "").Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q; want 1", got)
	}
	if got := send(t, s, "PATCH", "/v1/users/1", "").Header.Get("Allow"); got != "GET, HEAD, PUT" {
		t.Errorf("Allow %q; want GET, HEAD, PUT", got)
	}
	doc := problemJSON(t, send(t, s, "GET", "/v1/users/a$", ""))
	if doc["rule"] != idRule {
		t.Errorf("rule %q; want %q", doc["rule"], idRule)
	}
	if got := send(t, s, "GET", "/v1/users/2", "").Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of a 404 %q; want no-store", got)
	}
}

// Each of these looks like user "Ab" or "1" to a careless router. None may reach the node under
// another name.
func TestAliasesOfAnID(t *testing.T) {
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/v1/users/a%2Fb", 400}, {"/v1/users/a%00", 400}, {"/v1/users/%00", 400}, {"/v1/users/a%", 400}, {"/v1/users/a%zz", 400},
		{"/v1/users/1%2520", 400}, {"/v1/users/1;x", 400}, {"/v1/users/1+1", 400}, {"/v1/users/é", 400}, {"/v1/users/%C3%A9", 400},
		{"/v1/users/1/", 404}, {"/v1/users/", 404}, {"/v1/users//1", 404}, {"//v1/users/1", 404}, {"/V1/users/1", 404},
		{"/v1/Users/1", 404}, {"/v1/users/1/../1", 404}, {"/v1/users/ab", 404}, {"/v1/users/AB", 404},
		{"/v1/users/..", 404}, {"/v1/users/.", 404}, {"/v1/users/...", 404},
		{"/v1/users/Ab", 200}, {"/v1/users/%41b", 200}, {"/v1/users/Ab?x=1", 200}, {"/v1/users/Ab#x", 200},
	} {
		t.Run(c.path, func(t *testing.T) {
			s := serve(t, newFake("Ab", "1"))
			r := send(t, s, "GET", c.path, "")
			if r.StatusCode != c.status {
				t.Fatalf("got %d %s; want %d", r.StatusCode, r.body, c.status)
			}
			if r.StatusCode == 200 && !strings.Contains(r.body, `"id":"Ab"`) {
				t.Errorf("got %s; want user Ab", r.body)
			}
		})
	}
}

func TestPutHandsOverTheProfile(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	packed := profile.AppendMsgpack(nil, &profile.Profile{ID: "1", Nom: "Ngo", UpdatedAt: 6})
	for _, r := range []response{
		send(t, s, "PUT", "/v1/users/1", whole, jsonType),
		send(t, s, "PUT", "/v1/users/1", string(packed), "Content-Type: application/msgpack"),
	} {
		if r.StatusCode != http.StatusNoContent {
			t.Fatalf("got %d %s; want 204", r.StatusCode, r.body)
		}
	}
	send(t, s, "GET", "/v1/users/xxxxxxxx", "") // would overwrite a string that was not copied
	if got := *f.put[0]; got.ID != "1" || got.FullName != "Awa Ngo" || got.UpdatedAt != 5 {
		t.Errorf("from JSON the node was put %+v", got)
	}
	if got := *f.put[1]; got.ID != "1" || got.Nom != "Ngo" || got.FullName != "Ngo" || got.UpdatedAt != 6 {
		t.Errorf("from msgpack the node was put %+v", got)
	}
	f.fails = tier.ErrConflict
	if r := send(t, s, "PUT", "/v1/users/1", whole); r.StatusCode != http.StatusConflict {
		t.Errorf("an old version: got %d %s; want 409", r.StatusCode, r.body)
	}
}

func TestInvalidate(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	send(t, s, "POST", "/v1/users/a%3Ab/invalidate", "")
	if len(f.invalidated) != 1 || f.invalidated[0] != "a:b" {
		t.Errorf("the node was told of %q; want a:b", f.invalidated)
	}
	for _, f.fails = range []error{profile.ErrUnavailable, node.ErrNotTold, errors.New("redis: EOF at 10.0.0.7")} {
		r := send(t, s, "POST", "/v1/users/1/invalidate", "")
		if r.StatusCode != 503 || strings.Contains(r.body, "10.0.0.7") {
			t.Errorf("%v: got %d %s; want 503", f.fails, r.StatusCode, r.body)
		}
		problemJSON(t, r)
	}
}

func TestReadiness(t *testing.T) {
	f := newFake()
	f.notReady = errors.New("node: Redis does not answer")
	s := serve(t, f)
	for path, status := range map[string]int{"/health": 503, "/readyz": 503, "/livez": 200} {
		r := send(t, s, "GET", path, "")
		if r.StatusCode != status || status == 503 && !strings.Contains(r.body, "Redis does not answer") {
			t.Errorf("%s: got %d %s; want %d", path, r.StatusCode, r.body, status)
		}
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	s := serve(t, panicking{newFake()})
	problemJSON(t, send(t, s, "GET", "/v1/users/1", ""))
	if r := send(t, s, "GET", "/livez", ""); r.StatusCode != 200 {
		t.Errorf("after a panic: got %d %s; want 200", r.StatusCode, r.body)
	}
}

// Every problem type is a link into docs/problems.md.
func TestProblemsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`, name: "([a-z-]+[a-z])"`).FindAllSubmatch(source, -1) {
			if !bytes.Contains(page, fmt.Appendf(nil, "\n## %s\n", m[1])) {
				t.Errorf("docs/problems.md has no section %q", m[1])
			}
		}
	}
}

func TestPrewarmAndCluster(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	for _, c := range []struct {
		method, path, body string
		fails              error
		status             int
		contains           string
	}{
		{"GET", "/v1/cluster", "", nil, 200, `"members":[{"name":"a","state":"alive","weight":1,"ranges":1024,"warmth":0.5,"memoryWarmth":0}]`},
		{"GET", "/v1/prewarm", "", nil, 200, `"state":"running"`},
		{"POST", "/v1/prewarm", "", nil, 202, `"planned":10`},
		{"POST", "/v1/prewarm", `{"maxUsers":5,"daysBack":2,"batchSize":9,"delayBetweenBatches":250,"rate":7.5}`, nil, 202, `"cached":3`},
		{"POST", "/v1/prewarm", `{"delayBetweenBatches":0}`, nil, 202, ""},
		{"POST", "/v1/prewarm", `{"delayBetweenBatches":-1}`, nil, 400, "delayBetweenBatches is -1; want 0 to 3600000 milliseconds"},
		{"POST", "/v1/prewarm", `{"users":5}`, nil, 400, `unknown field \"users\"`},
		{"POST", "/v1/prewarm", "", fmt.Errorf("%w: MaxUsers is -1; want 1 to 10", prewarm.ErrConfig), 400, "MaxUsers is -1"},
		{"POST", "/v1/prewarm", "", prewarm.ErrRunning, 409, "DELETE ends it"},
		{"DELETE", "/v1/prewarm", "", nil, 202, `"state":"running"`},
		{"DELETE", "/v1/prewarm", "", prewarm.ErrNoRun, 404, "no run is under way"},
		{"DELETE", "/v1/prewarm", "", node.ErrNoPrewarm, 404, "this node takes no part"},
		{"DELETE", "/v1/prewarm", "", errors.New("dial tcp: refused"), 503, "Redis, which keeps the run"},
		{"PUT", "/v1/prewarm", "", nil, 405, "only GET, HEAD, POST, DELETE"},
	} {
		f.fails = c.fails
		got := send(t, s, c.method, c.path, c.body, jsonType)
		if got.StatusCode != c.status || !strings.Contains(got.body, c.contains) {
			t.Errorf("%s %s %s: %d %s; want %d with %q", c.method, c.path, c.body, got.StatusCode, got.body, c.status, c.contains)
		}
	}
	want := prewarm.Options{MaxUsers: 5, DaysBack: 2, BatchSize: 9, Delay: 250 * time.Millisecond, Rate: 7.5}
	if len(f.begun) < 3 || !reflect.DeepEqual(f.begun[1], want) || f.begun[2].Delay >= 0 {
		t.Errorf("begun with %+v; want %+v second, then one without a delay", f.begun, want)
	}
}
