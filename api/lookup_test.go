package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

func TestUserHeaders(t *testing.T) {
	f := newFake("1")
	for _, c := range []struct {
		tier look.Tier
		want string
	}{
		{look.FromL1, "edgecache; hit; detail=L1"},
		{look.FromL2, "edgecache; hit; detail=L2"},
		{look.FromOrigin, "edgecache; fwd=miss; detail=origin"},
		{look.FromStale, "edgecache; hit; ttl=-42; detail=stale"},
	} {
		f.users[c.tier.String()] = result("1", c.tier)
	}
	s := serve(t, f)
	for id, want := range map[string]string{
		"L1": "edgecache; hit; detail=L1", "L2": "edgecache; hit; detail=L2",
		"origin": "edgecache; fwd=miss; detail=origin", "stale": "edgecache; hit; ttl=-42; detail=stale",
	} {
		r := send(t, s, "GET", "/v1/users/"+id, "")
		if got := r.Header.Get("Cache-Status"); got != want {
			t.Errorf("Cache-Status of %s %q; want %q", id, got, want)
		}
	}
	r := send(t, s, "GET", "/v1/users/1", "")
	for name, want := range map[string]string{"Age": "42", "Vary": "Accept", "Cache-Control": "private, no-cache",
		"Content-Type": "application/json", "ETag": `"1732406400000-` + strings.TrimPrefix(r.Header.Get("ETag"), `"1732406400000-`)} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s %q; want %q", name, got, want)
		}
	}
	var p profile.Profile
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || p.UpdatedAt != 1732406400000 || p.Prenom != "Thérèse" {
		t.Errorf("body %s: %+v, %v", r.body, p, err)
	}
}

func TestHeadSaysWhatGetSays(t *testing.T) {
	s := serve(t, newFake("1"))
	get, head := send(t, s, "GET", "/v1/users/1", ""), send(t, s, "HEAD", "/v1/users/1", "")
	if head.body != "" {
		t.Errorf("HEAD has the body %q", head.body)
	}
	for _, name := range []string{"ETag", "Age", "Cache-Status", "Content-Type", "Content-Length"} {
		if got, want := head.Header.Get(name), get.Header.Get(name); got != want || got == "" {
			t.Errorf("%s: HEAD %q, GET %q", name, got, want)
		}
	}
}

func TestMsgpackIsThePackedBytes(t *testing.T) {
	f := newFake("1")
	r := send(t, serve(t, f), "GET", "/v1/users/1", "", "Accept: application/msgpack")
	if r.body != string(f.users["1"].Packed()) || r.Header.Get("Content-Type") != "application/msgpack" {
		t.Errorf("got %q of type %s", r.body, r.Header.Get("Content-Type"))
	}
	if p, err := profile.DecodeMsgpack([]byte(r.body)); err != nil || p.ID != "1" {
		t.Errorf("decoded %+v, %v", p, err)
	}
}

func TestAcceptPrefers(t *testing.T) {
	s := serve(t, newFake("1"))
	for _, c := range []struct{ accept, want string }{
		{"*/*", "application/json"},
		{"application/*", "application/json"},
		{"text/html, */*;q=0.1", "application/json"},
		{"application/msgpack", "application/msgpack"},
		{"Application/MsgPack; q=1", "application/msgpack"},
		{"application/json, application/msgpack", "application/json"},
		{"application/json;q=0.5, application/msgpack", "application/msgpack"},
		{"application/json;q=0.5, application/msgpack;q=0.4", "application/json"},
		{"application/json;q=0, */*", "application/msgpack"},
		{"application/msgpack;q=0, */*;q=0.1", "application/json"},
		{"*/*;q=0.1, application/msgpack;q=0.2", "application/msgpack"},
		{"application/*;q=0.2, */*;q=0.9, application/msgpack;q=0.1", "application/json"},
		{"application/json;charset=utf-8", "application/json"},
		{"application/json;Q=0.1,application/msgpack;q=0.2", "application/msgpack"},
		{"text/html", "application/problem+json"},
		{"*/*;q=0", "application/problem+json"},
		{"application/json;q=2", "application/problem+json"},
		{"application/json;q=NaN", "application/problem+json"},
		{"jsonapplication", "application/problem+json"},
	} {
		r := send(t, s, "GET", "/v1/users/1", "", "Accept: "+c.accept)
		if got := r.Header.Get("Content-Type"); got != c.want {
			t.Errorf("Accept: %s: got %q; want %q", c.accept, got, c.want)
		}
		if r.StatusCode != 200 && r.StatusCode != 406 {
			t.Errorf("Accept: %s: status %d", c.accept, r.StatusCode)
		}
	}
	r := send(t, s, "GET", "/v1/users/1", "", "Accept: text/html", "Accept: application/msgpack")
	if got := r.Header.Get("Content-Type"); got != "application/msgpack" {
		t.Errorf("two Accept lines: got %q", got)
	}
}

func TestIfNoneMatch(t *testing.T) {
	f := newFake("1")
	s := serve(t, f)
	tag := send(t, s, "GET", "/v1/users/1", "").Header.Get("ETag")
	packed := send(t, s, "GET", "/v1/users/1", "", "Accept: application/msgpack").Header.Get("ETag")
	if tag == packed {
		t.Fatalf("JSON and msgpack share the ETag %s", tag)
	}
	for _, c := range []struct {
		value  string
		status int
	}{
		{tag, 304}, {"W/" + tag, 304}, {"*", 304}, {" * ", 304},
		{`"x", ` + tag, 304}, {`W/"x",W/` + tag + `, "y"`, 304}, {`"a,b" , ` + tag, 304}, {`, ,` + tag, 304},
		{packed, 200}, {`"x"`, 200}, {strings.Trim(tag, `"`), 200}, {tag[:len(tag)-1], 200}, {`"*"`, 200}, {`x ` + tag, 200}, {`"`, 200}, {"W/", 200},
	} {
		r := send(t, s, "GET", "/v1/users/1", "", "If-None-Match: "+c.value)
		if r.StatusCode != c.status {
			t.Errorf("If-None-Match: %s: got %d; want %d", c.value, r.StatusCode, c.status)
		}
		if r.StatusCode == 304 && (r.body != "" || r.Header.Get("ETag") != tag || r.Header.Get("Vary") != "Accept" || r.Header.Get("Cache-Control") == "") {
			t.Errorf("a 304 with %v %q", r.Header, r.body)
		}
	}
	if r := send(t, s, "GET", "/v1/users/1", "", `If-None-Match: "x"`, "If-None-Match: "+tag); r.StatusCode != 304 {
		t.Errorf("in the second of two lines: got %d; want 304", r.StatusCode)
	}
	if r := send(t, s, "HEAD", "/v1/users/1", "", "If-None-Match: "+tag); r.StatusCode != 304 {
		t.Errorf("HEAD: got %d; want 304", r.StatusCode)
	}
	if r := send(t, s, "GET", "/v1/users/2", "", "If-None-Match: *"); r.StatusCode != 404 {
		t.Errorf("* for a missing user: got %d; want 404", r.StatusCode)
	}
}

// A record that another service wrote by hand may keep its version and still be another.
func TestETagDiffersWhenTheBytesDo(t *testing.T) {
	a := result("1", look.FromL1)
	other := a.Profile.Clone()
	other.Nom = "Nga Bassong"
	b := tier.Result{Tier: look.FromL1}.As(other)
	if x, y := appendETag(nil, a, mediaJSON, 0), appendETag(nil, b, mediaJSON, 0); bytes.Equal(x, y) {
		t.Errorf("both have the ETag %s", x)
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		query, header string
		want          tier.Want
	}{
		{"", "", tier.Want{}},
		{"?minVersion=12", "", tier.Want{MinVersion: 12}},
		{"?minVersion=0", "max-stale=5", tier.Want{}},
		{"", "max-age=7", tier.Want{MaxAge: 7 * time.Second}},
		{"", `no-transform, Max-Age="7"`, tier.Want{MaxAge: 7 * time.Second}},
		{"", "max-age=0", tier.Want{MaxAge: newest}},
		{"", "max-age=x", tier.Want{MaxAge: newest}},
		{"", "max-age=99999999999999999999", tier.Want{MaxAge: newest}},
		{"?minVersion=3", "max-age=7, no-cache", tier.Want{MinVersion: 3, MaxAge: newest}},
	} {
		f := newFake("1")
		s := serve(t, f)
		for _, path := range []string{"/v1/users/1" + c.query, "/v1/users" + strings.TrimSuffix(c.query+"&ids=1", "?")} {
			if c.query == "" {
				path = strings.Replace(path, "&", "?", 1)
			}
			if r := send(t, s, "GET", path, "", "Cache-Control: "+c.header); r.StatusCode != 200 {
				t.Fatalf("%s: got %d %s", path, r.StatusCode, r.body)
			}
		}
		for _, got := range f.wants {
			if got != c.want {
				t.Errorf("%s with %q: the node was asked for %+v; want %+v", c.query, c.header, got, c.want)
			}
		}
	}
}

func TestBatchJSON(t *testing.T) {
	f := newFake("1", "3", "5")
	f.users["3"] = result("3", look.FromOrigin)
	f.errs["4"] = fmt.Errorf("tier: get: %w: breaker open", profile.ErrUnavailable)
	r := send(t, serve(t, f), "POST", "/v1/users/batch", `{"ids":["5","1","2","b d","4","3","1","9"]}`, jsonType)
	var got struct {
		Users   map[string]profile.Profile
		Missing []string
		Errors  map[string]string
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	if len(got.Users) != 3 || got.Users["3"].ID != "3" || fmt.Sprint(got.Missing) != "[2 9]" || len(got.Errors) != 2 ||
		!strings.Contains(got.Errors["b d"], `has byte " "`) || !strings.Contains(got.Errors["4"], "could not be reached") {
		t.Errorf("got %s", r.body)
	}
	if strings.Index(r.body, `"5":{`) > strings.Index(r.body, `"1":{`) {
		t.Errorf("the users are not in the order asked for: %s", r.body)
	}
	if got, want := r.Header.Get("Cache-Status"), `edgecache; fwd=miss; detail="L1=2 L2=0 origin=1 stale=0"`; got != want {
		t.Errorf("Cache-Status %s; want %s", got, want)
	}
}

func TestBatchMsgpack(t *testing.T) {
	f := newFake("1", "3")
	f.errs["4"] = profile.ErrUnavailable
	r := send(t, serve(t, f), "POST", "/v1/users/batch?sources=1", `{"ids":["3","1","2","4"]}`, jsonType, "Accept: application/msgpack")
	var got struct {
		Users   map[string]msgpack.RawMessage `msgpack:"users"`
		Missing []string                      `msgpack:"missing"`
		Errors  map[string]string             `msgpack:"errors"`
		Sources map[string]struct {
			Tier string `msgpack:"tier"`
			Age  int64  `msgpack:"ageMs"`
		} `msgpack:"sources"`
	}
	if err := msgpack.Unmarshal([]byte(r.body), &got); err != nil {
		t.Fatalf("%q: %v", r.body, err)
	}
	if len(got.Users) != 2 || fmt.Sprint(got.Missing) != "[2]" || got.Errors["4"] == "" || len(got.Sources) != 2 ||
		got.Sources["3"].Tier != "L1" || got.Sources["3"].Age != 42000 {
		t.Errorf("got %+v", got)
	}
	for id, packed := range got.Users {
		if p, err := profile.DecodeMsgpack(packed); err != nil || p.ID != id || !bytes.Equal(packed, f.users[id].Packed()) {
			t.Errorf("user %s: %+v, %v", id, p, err)
		}
	}
}

func TestAnswerThatIsTooLarge(t *testing.T) {
	f := newFake()
	var asked []string
	const kept = 4 << 10 // for what a record has beside its longest field
	whole := result("big", look.FromL1).Profile.Clone()
	whole.Attrs = map[string]string{"long": strings.Repeat("x", profile.MaxSize-kept)}
	big := tier.Result{Tier: look.FromL1}.As(whole)
	for _, id := range ids(maxAnswer / (profile.MaxSize - kept)) {
		f.users[id] = big
		asked = append(asked, `"`+id+`"`)
	}
	r := send(t, serve(t, f), "POST", "/v1/users/batch", `{"ids":[`+strings.Join(asked, ",")+`]}`, jsonType)
	if r.StatusCode != 413 || !strings.Contains(r.body, "ask for fewer") {
		t.Errorf("got %d %.200s; want 413", r.StatusCode, r.body)
	}
}
