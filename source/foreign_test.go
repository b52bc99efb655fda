package source_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// theirs is the answer to a bulk lookup as clients of the auth-user-service read it.
type theirs struct {
	Users []profile.Profile
	Count int
}

// Clients that call .users.map are served by ?shape=array, or by every bulk lookup.
func TestBatchAsAnArray(t *testing.T) {
	for i, query := range []string{"&shape=array", ""} {
		cfg := source.ServiceConfig{}
		if query == "" {
			cfg.BatchShape = source.BatchArray
		}
		_, url := truth.StartService(t, cfg)
		for _, id := range []string{"1", "jean@gov.cm"} {
			truth.Ask(t, "POST", url+"/", fmt.Sprintf(`{"id":%q,"nom":"N"}`, id), truth.JSONType)
		}
		get := truth.Ask(t, "GET", url+"/batch?ids=1,jean%40gov.cm,9,a%20b"+query, "")
		post := truth.Ask(t, "POST", url+"/batch?"+strings.TrimPrefix(query, "&"), `{"ids":["1","jean@gov.cm","9","a b"]}`)
		var got theirs
		if err := json.Unmarshal([]byte(get.Body), &got); err != nil || got.Count != 2 || len(got.Users) != 2 ||
			got.Users[0].ID != "1" || got.Users[1].ID != "jean@gov.cm" || !strings.Contains(get.Body, `"missing":["9"]`) {
			t.Errorf("%d: %s, %v", i, get.Body, err)
		}
		if post.Body != get.Body {
			t.Errorf("%d: POST gives %s, GET %s", i, post.Body, get.Body)
		}
		object := truth.Ask(t, "GET", url+"/batch?ids=1&shape=object", "")
		if !strings.HasPrefix(object.Body, `{"users":{"1":{"id":"1"`) || strings.Contains(object.Body, "count") {
			t.Errorf("%d: as an object: %s", i, object.Body)
		}
	}
	if _, err := source.NewService(source.ServiceConfig{Store: truth.MakeSQLite(t, t.TempDir(), nil), BatchShape: "list"}); err == nil {
		t.Error("the shape list is taken")
	}
}

// A client may send back what a lookup gave it, with its change.
func TestPutTakesBackWhatGetGave(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{})
	truth.Ask(t, "POST", url+"/", `{"id":1,"nom":"N","prenom":"P","attrs":{"a":"1"}}`, truth.JSONType)
	got := truth.Ask(t, "GET", url+"/1", "")
	for name, body := range map[string]string{
		"as it is":         got.Body,
		"a number as id":   strings.Replace(got.Body, `"id":"1"`, `"id":1`, 1),
		"ISO 8601":         `{"id":1,"nom":"N","updatedAt":"2026-01-02T03:04:05.678Z"}`,
		"an unknown time":  `{"id":1,"nom":"N","updatedAt":null}`,
		"a later version":  `{"id":1,"nom":"N","updatedAt":9000000000000}`,
		"with a new value": strings.Replace(got.Body, `"nom":"N"`, `"nom":"M"`, 1),
	} {
		if put := truth.Ask(t, "PUT", url+"/1", body); put.Status != 200 {
			t.Errorf("%s: %d %s", name, put.Status, put.Body)
		}
	}
	if put := truth.Ask(t, "PUT", url+"/1", `{"nom":"N","role":"x"}`); put.Status != 400 || !strings.Contains(put.Body, "role") {
		t.Errorf("an unknown field: %d %s; want 400 that names it", put.Status, put.Body)
	}
	_, lenient := truth.StartService(t, source.ServiceConfig{IgnoreUnknown: true})
	made := truth.Ask(t, "POST", lenient+"/", `{"id":"jean@gov.cm","nom":"N","createdAt":"x"}`, truth.JSONType)
	put := truth.Ask(t, "PUT", lenient+"/jean%40gov.cm", `{"prenom":"Q","role":{"a":[1]}}`)
	if made.Status != 201 || put.Status != 200 || !strings.Contains(put.Body, `"prenom":"Q"`) || strings.Contains(put.Body, "role") {
		t.Errorf("unknown fields are ignored: %d %s, %d %s", made.Status, made.Body, put.Status, put.Body)
	}
	if put := truth.Ask(t, "PUT", lenient+"/jean%40gov.cm", `{"role":"x"}`); put.Status != 400 {
		t.Errorf("a change of nothing known: %d %s", put.Status, put.Body)
	}
}
