package source_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/openapi"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/source"
)

// Real requests and their answers are what the document says, for every operation, with every role
// that it needs.
func TestExchangesAreAsDescribed(t *testing.T) {
	d, err := openapi.Parse(source.OpenAPIDocument)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.CheckExamples(false); err != nil {
		t.Error(err)
	}
	cfg := auth.Config{Secret: testSecret}
	_, url := truth.StartService(t, source.ServiceConfig{Tokens: cfg})
	token := func(name string) string {
		role, _ := auth.ParseRole(name)
		text, err := auth.SignToken(cfg, auth.Grant{Role: role, Expires: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + text
	}
	seen := map[string]bool{}
	for _, x := range []struct {
		route, target, body string
		status              int
		headers             []string
	}{
		{"POST /", "/", `{"id":"1","nom":"x","attrs":{"a":"b"}}`, 201, nil}, {"POST /", "/", `{"id":"1"}`, 409, nil},
		{"POST /", "/", `{"id":"a b"}`, 400, nil}, {"POST /", "/", `{"id":"3"}`, 415, []string{"Content-Type: text/plain"}},
		{"GET /{id}", "/1", "", 200, nil}, {"GET /{id}", "/2", "", 404, nil}, {"GET /{id}", "/a%20b", "", 400, nil},
		{"PUT /{id}", "/1", `{"nom":null,"attrs":{"a":null}}`, 200, nil}, {"PUT /{id}", "/2", `{"nom":"x"}`, 404, nil},
		{"PUT /{id}", "/1", `{"nom":"x"}`, 412, []string{`If-Match: "1"`}}, {"PUT /{id}", "/1", `{"nome":"x"}`, 400, nil},
		{"GET /batch", "/batch?ids=1,2,a%20b", "", 200, nil}, {"GET /batch", "/batch?id=1", "", 400, nil},
		{"POST /batch", "/batch", `{"ids":["1","2"]}`, 200, nil}, {"POST /batch", "/batch", `{"ids":[]}`, 400, nil},
		{"GET /all", "/all", "", 200, nil}, {"GET /all", "/all?limit=1", "", 200, nil}, {"GET /all", "/all?limit=x", "", 400, nil},
		{"GET /health", "/health", "", 200, nil}, {"GET /metrics", "/metrics", "", 200, nil},
		{"GET /openapi.json", "/openapi.json", "", 200, nil}, {"GET /openapi.html", "/openapi.html", "", 200, nil},
		{"DELETE /{id}", "/1", "", 412, []string{`If-Match: "1"`}}, {"DELETE /{id}", "/1", "", 200, nil}, {"DELETE /{id}", "/1", "", 404, nil},
	} {
		seen[x.route] = true
		method, _, _ := strings.Cut(x.route, " ")
		headers := append([]string{truth.JSONType, token(d.Role(x.route))}, x.headers...)
		got := truth.Ask(t, method, url+x.target, x.body, headers...)
		_, query, _ := strings.Cut(x.target, "?")
		err := d.CheckExchange(openapi.Exchange{Route: x.route, Query: query, Header: http.Header{"Content-Type": {"application/json"}}, Body: x.body,
			Status: got.Status, Answer: got.Header, Content: got.Body})
		if err != nil || got.Status != x.status {
			t.Errorf("%s %s: %d, want %d: %v\n%s", method, x.target, got.Status, x.status, err, got.Body)
		}
		for status, without := range map[int][]string{401: {truth.JSONType}, 403: {truth.JSONType, token("none")}} {
			got := truth.Ask(t, method, url+x.target, x.body, without...)
			if err := d.CheckExchange(openapi.Exchange{Route: x.route, Status: got.Status, Answer: got.Header, Content: got.Body}); err != nil ||
				got.Status != status && x.route != "GET /health" {
				t.Errorf("%s %s: %d, want %d: %v", method, x.target, got.Status, status, err)
			}
		}
	}
	for _, route := range d.Routes() {
		if !seen[route] {
			t.Errorf("%s: no exchange", route)
		}
	}
}
