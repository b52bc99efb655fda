package origin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func TestClientDecodesOne(t *testing.T) {
	full := &profile.Profile{ID: "7", Nom: "Dupont", Prenom: "Jean", FullName: "Jean Dupont", Avatar: "/a", Matricule: "12", Ministere: "MINFI", Sexe: "M",
		UpdatedAt: 1700000000123, Attrs: map[string]string{"a": "1", "b": "true"}}
	loose := `{"id":7,"nom":"Dupont","prenom":"Jean","fullName":null,"avatar":"/a","matricule":12,"ministere":"MINFI","sexe":"M","createdAt":"x","role":{"a":[1]},` +
		`"updatedAt":"2023-11-14T23:13:20.123+01:00","attrs":{"a":1,"b":true,"c":null,"d":[]}}`
	min := &profile.Profile{ID: "7"}
	for body, want := range map[string]*profile.Profile{
		string(profile.AppendJSON(nil, full)): full, loose: full, `{"success":true,"data":` + loose + `}`: full, "[" + loose + "]": full,
		` {"data":{"data":` + loose + `}}`: full, `{"id":"7"}`: min, `{"id":7,"updatedAt":null}`: min, `{"id":7.0}`: min, `{"id":7e0}`: min,
		`{"id":7,"updatedAt":"1700000000123"}`: {ID: "7", UpdatedAt: 1700000000123},
	} {
		c := startClient(t, ClientConfig{}, reply(200, body))
		if got, err := c.Load(t.Context(), "7"); err != nil || !testkit.SameProfile(got, want) {
			t.Errorf("%s:\n\t%+v, %v", body, got, err)
		}
	}
}

func TestClientRefusesOne(t *testing.T) {
	for body, want := range map[string]struct {
		err  error
		says string
	}{
		`{"id":"8"}`:                         {profile.ErrUnavailable, `about user "8"`},
		`<html>hello</html>`:                 {profile.ErrUnavailable, "JSON"},
		``:                                   {profile.ErrUnavailable, "JSON"},
		`{"id":"7"`:                          {profile.ErrUnavailable, "JSON"},
		`{"id":"7"} x`:                       {profile.ErrUnavailable, "JSON"},
		`{"name":"x"}`:                       {profile.ErrUnavailable, `without id; it has the fields "name"`},
		`{"success":true,"result":{"id":7}}`: {profile.ErrUnavailable, `the fields "result", "success"`},
		`{"id":1,"matricule":"7"}`:           {profile.ErrUnavailable, "--origin-id-field matricule"},
		`"7"`:                                {profile.ErrUnavailable, "JSON"},
		`{"id":7.5}`:                         {profile.ErrUnavailable, "whole one"},
		`{"id":-7}`:                          {profile.ErrUnavailable, `about user "-7"`},
		`{"id":7e300}`:                       {profile.ErrUnavailable, "whole one"},
		`{"id":true}`:                        {profile.ErrUnavailable, "whole number"},
		`{"id":"7","nom":{}}`:                {profile.ErrUnavailable, "nom"},
		`{"id":"7","updatedAt":"yesterday"}`: {profile.ErrUnavailable, "ISO 8601"},
		`{"id":"7","updatedAt":9007199254740992}`: {profile.ErrUnavailable, "updatedAt"},
		`{"id":"7","updatedAt":-1}`:               {profile.ErrUnavailable, "updatedAt"},
		`{"success":false,"message":"no db"}`:     {profile.ErrUnavailable, "no db"},
		`[{"id":"7"},{"id":"7"}]`:                 {profile.ErrUnavailable, "2 profiles"},
		`{"data":{"data":{"data":{"id":"7"}}}}`:   {profile.ErrUnavailable, `"data" inside "data"`},
		`null`:                                    {profile.ErrNotFound, ""},
		`[]`:                                      {profile.ErrNotFound, ""},
		`{"success":true,"data":null}`:            {profile.ErrNotFound, ""},
		`{"id":"7","x":"` + strings.Repeat("x", maxOneBody) + `"}`: {profile.ErrUnavailable, "at most 1048576"},
	} {
		c := startClient(t, ClientConfig{}, reply(200, body))
		_, err := c.Load(t.Context(), "7")
		if !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.says) || !strings.HasPrefix(err.Error(), `origin: load "7"`) {
			t.Errorf("%.60s: %v, want %v with %q", body, err, want.err, want.says)
		}
		if malformed := errors.Is(err, profile.ErrMalformed); malformed == errors.Is(err, profile.ErrNotFound) {
			t.Errorf("%.60s: %v; want it to be malformed, or nobody", body, err)
		}
		if st := c.Stats(); st.Requests != 1 {
			t.Errorf("%.60s: asked %d times", body, st.Requests)
		}
	}
}

func TestClientDecodesBatch(t *testing.T) {
	ids := []string{"1", "2", "3"}
	for body, want := range map[string]string{
		`{"users":{"1":{"id":"1"},"2":{"id":"2"}},"missing":["3"],"errors":{}}`:          "found 1 2, missing 3, errors",
		`{"users":{"1":{"id":"1"}},"missing":[],"errors":{"2":"bad"}}`:                   "found 1, missing, errors 2 3",
		`{"users":{"1":{"id":"2"},"2":{"id":2},"9":{"id":"9"}},"missing":["3","8","2"]}`: "found 2, missing 3, errors 1",
		`[{"id":1},{"id":"3","updatedAt":"2023-11-14T22:13:20Z"}]`:                       "found 1 3, missing 2, errors",
		`{"success":true,"data":[{"id":1},{"id":2},{"id":1,"nom":"again"},{"id":77}]}`:   "found 1 2, missing 3, errors",
		`{"success":true,"data":{"users":[{"id":1}]}}`:                                   "found 1, missing 2 3, errors",
		`{"success":true,"count":0,"data":[]}`:                                           "found, missing 1 2 3, errors",
		`[{"id":1},{"id":2,"nom":[]}]`:                                                   "found 1, missing 3, errors 2",
		`[{"id":1},{"nom":"whose?"}]`:                                                    "found 1, missing, errors 2 3",
		`[null]`:                                                                         "found, missing, errors 1 2 3",
		`{"users":{"1":null},"missing":["2","3"],"errors":[]}`:                           "found, missing 2 3, errors 1",
		`{}`:                                     "unusable",
		`{"success":false}`:                      "unusable",
		`null`:                                   "unusable",
		`{"users":7}`:                            "unusable",
		`{"users":{"1":{"id":"1"}},"missing":7}`: "unusable",
		`{"data":"x"}`:                           "unusable",
		`oops`:                                   "unusable",
	} {
		c := startClient(t, ClientConfig{}, reply(200, body))
		b, err := c.LoadBatch(t.Context(), ids)
		got := "unusable"
		if err == nil {
			got = fmt.Sprint(strings.Join(append([]string{"found"}, slices.Sorted(maps.Keys(b.Found))...), " "), ", ",
				strings.Join(append([]string{"missing"}, slices.Sorted(slices.Values(b.Missing))...), " "), ", ",
				strings.Join(append([]string{"errors"}, slices.Sorted(maps.Keys(b.Errors))...), " "))
		} else if !errors.Is(err, profile.ErrUnavailable) {
			t.Errorf("%s: %v", body, err)
		}
		if got != want {
			t.Errorf("%s:\n\tgot  %s (%v)\n\twant %s", body, got, err, want)
		}
		if p := b.Found["1"]; p != nil && p.Nom == "again" {
			t.Errorf("%s: the second of one id won", body)
		}
	}
}

func TestClientCapsBatches(t *testing.T) {
	for _, length := range []string{"", fmt.Sprint(maxBatchBody + 1)} {
		c := startClient(t, ClientConfig{BatchTimeout: 20 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for range maxBatchBody>>20 + 1 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})
		if _, err := c.LoadBatch(t.Context(), []string{"1"}); !errors.Is(err, profile.ErrUnavailable) || !strings.Contains(err.Error(), "33554432") {
			t.Errorf("body without end: %v", err)
		}
	}
}

// TestStrictAnswersAreTakenAsLooseOnes decodes answers that keep to the contract in both ways.
func TestStrictAnswersAreTakenAsLooseOnes(t *testing.T) {
	ids := []string{"7", "8", "9", "10"}
	for _, body := range []string{
		`{"users":{"7":{"id":"7","nom":"N","prenom":"P","updatedAt":5,"attrs":{}},"8":{"id":"8","attrs":{"a":"1"}}},"missing":["9","9"],"errors":{"10":"x"}}`,
		`{"success":true,"users":{"9":{"id":"9"},"11":{"id":"11"}},"missing":["7"],"errors":null}`,
		`{"users":{},"missing":["7","8","9","10"],"errors":{}}`,
	} {
		strict, loose := newBulkAnswer(new(decoder), ids), newBulkAnswer(new(decoder), ids)
		var s strictAnswer
		if err := json.Unmarshal([]byte(body), &s); err != nil || !s.complete() {
			t.Fatalf("%s is not taken strictly: %v", body, err)
		}
		strict.takeStrict(&s)
		if err := loose.takeLoose([]byte(body)); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		slices.Sort(strict.batch.Missing)
		slices.Sort(loose.batch.Missing)
		if got, want := fmt.Sprintf("%+v", strict.batch.Errors), fmt.Sprintf("%+v", loose.batch.Errors); got != want {
			t.Errorf("%s: errors %s; profile by profile %s", body, got, want)
		}
		if !reflect.DeepEqual(strict.batch.Found, loose.batch.Found) || !slices.Equal(strict.batch.Missing, loose.batch.Missing) {
			t.Errorf("%s: %+v; profile by profile %+v", body, strict.batch, loose.batch)
		}
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	for _, s := range []string{`{"id":"7"}`, `{"users":{"7":{"id":"7","nom":"N","attrs":{}}},"missing":["8"],"errors":{"9":"x"}}`,
		`{"users":{"7":{"id":"7","nom":"N","attrs":{}},"8":null},"missing":["9","9"],"errors":{"8":"x"}}`, `{"success":true,"data":[{"id":7,"updatedAt":"2023-11-14T22:13:20Z"}]}`, `null`, `[`,
		`{"users":{"7":{"id":7,"attrs":{"a":1}}},"missing":["8"],"errors":{"9":"x"}}`, `{"data":{"data":{}}}`, `{"users":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := new(decoder).one(body, "7")
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if p != nil && (p.ID != "7" || p.Check() != nil) {
			t.Fatalf("accepted %+v", p)
		}
		ids := []string{"7", "8", "9"}
		b, err := new(decoder).bulk(body, ids)
		if err != nil {
			return
		}
		for _, id := range ids {
			in := 0
			if p := b.Found[id]; p != nil {
				in++
				if p.ID != id || p.Check() != nil {
					t.Fatalf("%q is %+v", id, p)
				}
			}
			if b.Errors[id] != nil {
				in++
			}
			in += len(slices.DeleteFunc(slices.Clone(b.Missing), func(m string) bool { return m != id }))
			if in != 1 {
				t.Fatalf("%q is in %d parts of %+v", id, in, b)
			}
		}
		if len(b.Found)+len(b.Missing)+len(b.Errors) != len(ids) {
			t.Fatalf("ids that were not asked for: %+v", b)
		}
	})
}
