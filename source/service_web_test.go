package source_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// What a page of another site can make a browser send without asking first changes nothing, nor
// does what it may send after.
func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	_, url := truth.StartService(t, source.ServiceConfig{Store: store})
	before := truth.MustCreate(t, store, profile.Profile{ID: "1", Nom: "Ngo"}).Version
	host := "Origin: " + url
	for _, c := range []struct {
		method, path, body string
		headers            []string
		want               int
	}{
		{"POST", "/", `{"id":"2"}`, []string{"Content-Type: text/plain", "Origin: http://evil.example"}, 403},
		{"POST", "/", `{"id":"2"}`, []string{"Content-Type: text/plain", "Sec-Fetch-Site: cross-site"}, 403},
		// a browser too old for either header
		{"POST", "/", `{"id":"2"}`, []string{"Content-Type: text/plain"}, 415},
		{"POST", "/", `{"id":"2"}`, []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"POST", "/", `{"id":"2"}`, []string{"Content-Type: multipart/form-data; boundary=application/json"}, 400},
		{"POST", "/", `{"id":"2"}`, nil, 415},
		{"POST", "/", `{"id":"2"}`, []string{truth.JSONType, "Origin: null"}, 403},
		{"POST", "/", `{"id":"2"}`, []string{truth.JSONType, "Sec-Fetch-Site: same-site", host}, 403},
		{"PUT", "/1", `{"nom":"x"}`, []string{truth.JSONType, "Origin: http://evil.example"}, 403},
		{"PUT", "/1", `{"nom":"x"}`, []string{"Content-Type: text/plain", "Sec-Fetch-Site: cross-site"}, 403},
		{"DELETE", "/1", "", []string{"Origin: http://evil.example"}, 403},
		{"DELETE", "/1", "", []string{"Sec-Fetch-Site: cross-site", host}, 403},
	} {
		got := truth.Ask(t, c.method, url+c.path, c.body, c.headers...)
		if got.Status != c.want || got.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s with %q: %d %s; want %d", c.method, c.path, c.headers, got.Status, got.Body, c.want)
		}
	}
	if n, err := store.Count(t.Context()); err != nil || n != 1 || truth.MustGet(t, store, "1").UpdatedAt != before {
		t.Errorf("%d users, %v, and the first is %+v; want it as it was", n, err, truth.MustGet(t, store, "1"))
	}
	for _, headers := range [][]string{{host, truth.JSONType}, {"Sec-Fetch-Site: same-origin"}, {"Sec-Fetch-Site: none"}, nil} {
		if got := truth.Ask(t, "PUT", url+"/1", `{"nom":"y"}`, headers...); got.Status != 200 {
			t.Errorf("a page of its own, or a program, with %q: %d %s", headers, got.Status, got.Body)
		}
	}
	got := truth.Ask(t, "OPTIONS", url+"/1", "", "Origin: http://evil.example", "Access-Control-Request-Method: PUT")
	if got.Status < 400 || got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("asked before a PUT of another site: %d %v; want a refusal", got.Status, got.Header)
	}
}

// A token cannot come from another site's page, so a request that has one is judged by it.
func TestTokenPassesFromOtherSites(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{Tokens: auth.Config{Secret: testSecret}})
	token, err := auth.SignToken(auth.Config{Secret: testSecret}, auth.Grant{Role: auth.RoleWrite, Expires: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]int{"Authorization: Bearer " + token: 201, "Authorization: Bearer x": 401, "X: y": 403} {
		got := truth.Ask(t, "POST", url+"/", `{"id":"2"}`, truth.JSONType, "Sec-Fetch-Site: cross-site", header)
		if got.Status != want {
			t.Errorf("%.30s: %d %s; want %d", header, got.Status, got.Body, want)
		}
	}
}

// Text that is no Unicode would be stored as other text than was sent.
func TestTextThatIsNoUnicodeIsRefused(t *testing.T) {
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	_, url := truth.StartService(t, source.ServiceConfig{Store: store})
	truth.MustCreate(t, store, profile.Profile{ID: "1"})
	for _, text := range []string{"\xff", "\xed\xa0\x80", `\ud800`, `\udc00x`, `\ud800A`, `\ud800\ud800`} {
		for _, c := range []struct{ method, path, body, names string }{
			{"PUT", "/1", `{"nom":"` + text + `"}`, "nom"},
			{"PUT", "/1", `{"attrs":{"k":"` + text + `"}}`, "attrs"},
			{"PUT", "/1", `{"attrs":{"` + text + `":"v"}}`, "attrs"},
			{"POST", "/", `{"id":"2","fullName":"` + text + `"}`, "fullName"},
			{"POST", "/", `{"id":"` + text + `"}`, "id"},
			{"POST", "/batch", `{"ids":["1","` + text + `"]}`, "ids"},
		} {
			got := truth.Ask(t, c.method, url+c.path, c.body, truth.JSONType)
			names := strings.Contains(got.Body, c.names) || strings.Contains(got.Body, "not UTF-8")
			if got.Status != 400 || !names {
				t.Errorf("%s %s %q: %d %s; want 400 and %s", c.method, c.path, c.body, got.Status, got.Body, c.names)
			}
		}
	}
	whole := `{"nom":"\ud83d\ude00 \\ud800 é","attrs":{"\ud83d\ude00":"\ud83d\ude00"}}`
	if got := truth.Ask(t, "PUT", url+"/1", whole, truth.JSONType); got.Status != 200 {
		t.Errorf("%s: %d %s", whole, got.Status, got.Body)
	}
	if got := truth.MustGet(t, store, "1"); got.Nom != `😀 \ud800 é` || got.Attrs["😀"] != "😀" {
		t.Errorf("stored %+v", got)
	}
}

// A row of the outbox whose msgpack holds text that is no Unicode fails alone, and says why.
func TestOutboxRowThatIsNoUnicodeIsAFault(t *testing.T) {
	for name, p := range map[string]*profile.Profile{
		"a name":              {ID: "1", Nom: "\xff", UpdatedAt: 5},
		"an attribute":        {ID: "1", Attrs: map[string]string{"k": "\xed\xa0\x80"}, UpdatedAt: 5},
		"an attribute's name": {ID: "1", Attrs: map[string]string{"\xff": "v"}, UpdatedAt: 5},
	} {
		row := source.Change{Seq: 7, Kind: profile.Updated}
		row.Unpack(profile.AppendMsgpack(nil, p))
		if !errors.Is(row.Fault, profile.ErrMalformed) || row.Profile != nil {
			t.Errorf("%s: %v, %+v; want a fault and no profile", name, row.Fault, row.Profile)
		}
	}
}

// An answer that is the last of its connection says so while the service drains, and only then.
func TestDrainDelay(t *testing.T) {
	for delay, goes := range map[time.Duration]bool{0: false, 400 * time.Millisecond: true} {
		s, url := truth.StartService(t, source.ServiceConfig{DrainDelay: delay})
		client := &http.Client{Transport: &http.Transport{}}
		ask := func() (status int, last bool, err error) {
			resp, err := client.Get(url + "/health")
			if err != nil {
				return 0, false, err
			}
			return resp.StatusCode, resp.Close, resp.Body.Close()
		}
		if status, last, err := ask(); status != 200 || last || err != nil {
			t.Errorf("before Close: %d, the last %v, %v", status, last, err)
		}
		defer client.CloseIdleConnections()
		began, closed := time.Now(), make(chan error, 1)
		go func() { closed <- s.Close() }()
		saw := false
		for over := false; !over; {
			select {
			case err := <-closed:
				over = true
				if err != nil {
					t.Error(err)
				}
			default:
				if status, last, err := ask(); err == nil && status == 503 && last {
					saw = true
				}
			}
		}
		took := time.Since(began)
		if goes && (!saw || took < delay) || !goes && took > time.Second {
			t.Errorf("a drain of %v took %v, and said 503 and the last of its connection: %v", delay, took, saw)
		}
	}
}
