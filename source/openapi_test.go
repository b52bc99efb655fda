package source_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
)

// described is what the tests read of an OpenAPI document.
type described struct {
	OpenAPI    string
	Paths      map[string]map[string]json.RawMessage
	Components map[string]map[string]json.RawMessage
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	s, url := truth.StartService(t, source.ServiceConfig{})
	got := truth.Ask(t, "GET", url+"/openapi.json", "")
	var doc described
	if err := json.Unmarshal([]byte(got.Body), &doc); err != nil || got.Status != 200 || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%d, version %q, %v", got.Status, doc.OpenAPI, err)
	}
	var served, written []string
	param := regexp.MustCompile(`:(\w+)`)
	for _, r := range s.Routes() {
		if r.Method != http.MethodHead { // comes with each GET
			served = append(served, r.Method+" "+param.ReplaceAllString(r.Path, "{$1}"))
		}
	}
	for path, item := range doc.Paths {
		for method := range item {
			if method != "parameters" {
				written = append(written, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(served)
	slices.Sort(written)
	if !slices.Equal(served, written) {
		t.Errorf("served:  %v\nwritten: %v", served, written)
	}
	for _, m := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(got.Body, -1) {
		if doc.Components[m[1]][m[2]] == nil {
			t.Errorf("%s points nowhere", m[0])
		}
	}
}

func TestOpenAPIDescribesEveryField(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(source.OpenAPIDocument, &doc); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(origin.UpdateFields, ", ") {
		for _, schema := range []string{"Profile", "Fields"} {
			if doc.Components.Schemas[schema].Properties[name] == nil {
				t.Errorf("%s lacks %s", schema, name)
			}
		}
	}
}
