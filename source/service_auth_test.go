package source_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// signed makes a token from good claims with the changes on top; nil removes one.
func signed(t *testing.T, method jwt.SigningMethod, key any, changes jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "iss": "chat", "aud": []string{"x", "origin"}, "roles": []string{"admin"}}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// newRSA returns a new key, and its public half in PEM.
func newRSA(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
}

func TestServiceTokens(t *testing.T) {
	cfg := auth.Config{Secret: testSecret, Issuer: "chat", Audience: "origin"}
	_, url := truth.StartService(t, source.ServiceConfig{Tokens: cfg})
	hs := func(changes jwt.MapClaims) string {
		return "Bearer " + signed(t, jwt.SigningMethodHS256, []byte(testSecret), changes)
	}
	rsaKey, publicPEM := newRSA(t)
	good := hs(nil)
	parts := strings.Split(good, ".")
	forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":99999999999,"iss":"chat","aud":"origin","roles":"admin"}`)) + "." + parts[2]
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	for name, tt := range map[string]struct {
		header string
		want   int
		says   string
	}{
		"none":                          {"", 401, "no token"},
		"another scheme":                {"Basic YTpi", 401, "want Authorization"},
		"an empty token":                {"Bearer ", 401, "no JWT"},
		"no JWT":                        {"Bearer a.b", 401, "no JWT"},
		"a good one":                    {good, 200, ""},
		"the scheme in small letters":   {"bearer" + strings.TrimPrefix(good, "Bearer"), 200, ""},
		"not signed":                    {"Bearer " + signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), 401, "signature"},
		"RS256":                         {"Bearer " + signed(t, jwt.SigningMethodRS256, rsaKey, nil), 401, "signature"},
		"HS256 with an RSA public key":  {"Bearer " + signed(t, jwt.SigningMethodHS256, publicPEM, nil), 401, "signature"},
		"HS384":                         {"Bearer " + signed(t, jwt.SigningMethodHS384, []byte(testSecret), nil), 401, "signature"},
		"another secret":                {"Bearer " + signed(t, jwt.SigningMethodHS256, []byte(testSecret+"x"), nil), 401, "signature"},
		"claims of somebody else":       {forged, 401, "signature"},
		"no exp":                        {hs(jwt.MapClaims{"exp": nil}), 401, "claim is missing"},
		"exp as text":                   {hs(jwt.MapClaims{"exp": "never"}), 401, ""},
		"expired":                       {hs(jwt.MapClaims{"exp": ago(time.Minute)}), 401, "expired"},
		"expired within the leeway":     {hs(jwt.MapClaims{"exp": ago(5 * time.Second)}), 200, ""},
		"not valid yet":                 {hs(jwt.MapClaims{"nbf": ago(-time.Hour)}), 401, "not valid yet"},
		"another issuer":                {hs(jwt.MapClaims{"iss": "evil"}), 401, "iss"},
		"no issuer":                     {hs(jwt.MapClaims{"iss": nil}), 401, ""},
		"another audience":              {hs(jwt.MapClaims{"aud": "x"}), 401, "aud"},
		"no audience":                   {hs(jwt.MapClaims{"aud": nil}), 401, ""},
		"a header above the cap":        {"Bearer " + strings.Repeat("a", 4<<10), 401, "at most 4096"},
		"a claim that makes it too big": {hs(jwt.MapClaims{"x": strings.Repeat("a", 4<<10)}), 401, "at most 4096"},
		"no role":                       {hs(jwt.MapClaims{"roles": nil}), 403, "has none"},
		"unknown roles":                 {hs(jwt.MapClaims{"roles": []any{"root", 7}}), 403, "has none"},
		"a role in a claim of its own":  {hs(jwt.MapClaims{"roles": nil, "role": "admin"}), 403, "has none"},
		"roles as one text":             {hs(jwt.MapClaims{"roles": "guest read"}), 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := truth.Ask(t, "GET", url+"/all", "", "Authorization: "+tt.header)
			if got.Status != tt.want || !strings.Contains(got.Body, tt.says) {
				t.Errorf("%d %s, want %d %q", got.Status, got.Body, tt.want, tt.says)
			}
			challenge := got.Header.Get("WWW-Authenticate")
			if (tt.want == 401 || tt.want == 403) != strings.HasPrefix(challenge, `Bearer realm="edgecache origin"`) {
				t.Errorf("WWW-Authenticate: %q", challenge)
			}
			if tt.want != 200 && got.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("type %q", got.Header.Get("Content-Type"))
			}
		})
	}
}

// What a header demands to be understood (RFC 7515, 4.1.11) is not understood here, whatever it is
// and however well it is signed.
func TestTokenWithCriticalHeaderIsRefused(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{Tokens: auth.Config{Secret: testSecret}})
	for _, crit := range []any{[]string{"b64"}, []string{"http://example.com/UNDEFINED"}, []string{"exp"}, []string{}, nil, "b64", true} {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "roles": "admin"})
		token.Header["crit"], token.Header["b64"] = crit, true
		text, err := token.SignedString([]byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		got := truth.Ask(t, "GET", url+"/all", "", "Authorization: Bearer "+text)
		if got.Status != 401 || !strings.Contains(got.Body, "crit") || !strings.Contains(got.Header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("crit %v: %d %s", crit, got.Status, got.Body)
		}
		delete(token.Header, "crit")
		if text, err = token.SignedString([]byte(testSecret)); err != nil {
			t.Fatal(err)
		}
		if got := truth.Ask(t, "GET", url+"/all", "", "Authorization: Bearer "+text); got.Status != 200 {
			t.Errorf("without crit: %d %s", got.Status, got.Body)
		}
	}
}

// A header beyond the server's buffer is cut off, often before the client has sent it all and can
// read the 431.
func TestServiceCutsOffAHugeToken(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{Tokens: auth.Config{Secret: testSecret}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "GET /all HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+strings.Repeat("a", 1<<20)+"\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if text := string(answer); text != "" && !strings.HasPrefix(text, "HTTP/1.1 431") || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.100q, %v; want 431 or a closed connection", text, err)
	}
}

func TestServiceRoles(t *testing.T) {
	cfg := auth.Config{Secret: testSecret}
	_, url := truth.StartService(t, source.ServiceConfig{Tokens: cfg})
	token := func(role auth.Role) string {
		text, err := auth.SignToken(cfg, auth.Grant{Role: role, Expires: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + text
	}
	for _, step := range []struct {
		method, path, body string
		need               auth.Role
		want               int
	}{
		{"POST", "/", `{"id":"1"}`, auth.RoleWrite, 201}, {"GET", "/1", "", auth.RoleRead, 200}, {"GET", "/batch?ids=1", "", auth.RoleRead, 200},
		{"POST", "/batch", `{"ids":["1"]}`, auth.RoleRead, 200}, {"GET", "/all", "", auth.RoleRead, 200}, {"GET", "/metrics", "", auth.RoleRead, 200}, {"PUT", "/1", `{"nom":"x"}`, auth.RoleWrite, 200},
		{"DELETE", "/1", "", auth.RoleAdmin, 200}, {"GET", "/health", "", auth.RoleNone, 200}, {"GET", "/openapi.json", "", auth.RoleRead, 200}, {"GET", "/openapi.html", "", auth.RoleRead, 200},
	} {
		for role := auth.RoleNone; role <= auth.RoleAdmin; role++ {
			if role > step.need && step.method != "GET" {
				continue // it did what it does already
			}
			want := step.want
			if role < step.need {
				want = 403
			}
			got := truth.Ask(t, step.method, url+step.path, step.body, truth.JSONType, token(role))
			if got.Status != want {
				t.Errorf("%s %s as %s: %d %s, want %d", step.method, step.path, role, got.Status, got.Body, want)
			}
			if scope := fmt.Sprintf(`error="insufficient_scope", scope="%s"`, step.need); want == 403 && !strings.Contains(got.Header.Get("WWW-Authenticate"), scope) {
				t.Errorf("WWW-Authenticate: %q, want %s", got.Header.Get("WWW-Authenticate"), scope)
			}
		}
		if got := truth.Ask(t, step.method, url+step.path, step.body, truth.JSONType); (step.need == auth.RoleNone) != (got.Status == 200) {
			t.Errorf("%s %s without a token: %d", step.method, step.path, got.Status)
		}
	}
	if got := truth.Ask(t, "GET", url+"/health", ""); got.Body != `{"status":"ok"}` {
		t.Errorf("health without a token: %s", got.Body)
	}
	if got := truth.Ask(t, "GET", url+"/health", "", token(auth.RoleRead)); !strings.Contains(got.Body, `"users":0`) {
		t.Errorf("health with a token: %s", got.Body)
	}
}

func TestServiceWithASecretListensAnywhere(t *testing.T) {
	for listen, secret := range map[string]string{"0.0.0.0:0": testSecret, "[::]:0": testSecret, "127.0.0.1:0": ""} {
		if _, err := source.NewService(source.ServiceConfig{Store: new(sqlite.Store), Listen: listen, Tokens: auth.Config{Secret: secret}}); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	_, err := source.NewService(source.ServiceConfig{Store: new(sqlite.Store), Tokens: auth.Config{Secret: "hunter2"}})
	if err == nil || !strings.Contains(err.Error(), "want 32 or more") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a short secret: %v", err)
	}
}

func TestClientTokens(t *testing.T) {
	cfg := auth.Config{Secret: testSecret, Issuer: "chat", Claim: "scope"}
	_, url := truth.StartService(t, source.ServiceConfig{Tokens: cfg})
	client := func(token origin.TokenSource) *origin.Client {
		c, err := origin.NewClient(origin.ClientConfig{URL: url, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	writer, err := auth.SignTokens(cfg, auth.RoleWrite)
	if err != nil {
		t.Fatal(err)
	}
	c := client(writer)
	if _, err := c.Create(t.Context(), &profile.Profile{ID: "1"}); err != nil {
		t.Error(err)
	}
	if _, err := c.Load(t.Context(), "1"); err != nil {
		t.Error(err)
	}
	one, _ := writer()
	if again, _ := writer(); again != one {
		t.Error("a token for each request")
	}
	var e *origin.Error
	if _, err := c.Delete(t.Context(), "1", nil); !errors.As(err, &e) || e.Status != 403 || !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("delete as a writer: %v", err)
	}
	for _, token := range []origin.TokenSource{nil, auth.StaticToken("x")} {
		c := client(token)
		if _, err := c.Load(t.Context(), "1"); !errors.Is(err, profile.ErrUnavailable) || c.Stats().Retries != 0 {
			t.Errorf("load without a good token: %v, %d retries", err, c.Stats().Retries)
		}
	}
	none := func() (string, error) { return "", errors.New("no token today") }
	if _, err := client(none).Load(t.Context(), "1"); !errors.Is(err, profile.ErrUnavailable) || !strings.Contains(err.Error(), "today") {
		t.Errorf("load without any token: %v", err)
	}
	for _, bad := range []auth.Config{{}, {Secret: "short"}} {
		if _, err := auth.SignTokens(bad, auth.RoleRead); err == nil {
			t.Errorf("tokens signed with %+v", bad)
		}
	}
}

// What one client of an origin may ask has a bound, and probes have none.
func TestServiceLimits(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{Access: auth.Access{Rate: 0.01, Burst: 2}})
	for i, want := range []int{404, 404, 429} {
		got := truth.Ask(t, "GET", url+"/1", "")
		if got.Status != want || want == 429 && got.Header.Get("Retry-After") == "" {
			t.Errorf("request %d: %d %v, want %d", i, got.Status, got.Header, want)
		}
	}
	for range 5 {
		for _, path := range []string{"/health", "/metrics"} {
			if got := truth.Ask(t, "GET", url+path, ""); got.Status != 200 || path == "/metrics" && !strings.Contains(got.Body, `edgecache_http_limited_total{limit="requests"} 1`) {
				t.Fatalf("%s: %d", path, got.Status)
			}
		}
	}
}

// Without tokens a page of a stranger may have its own name point here; forms have a browser send
// what they like.
func TestServiceAnswersNoStrangers(t *testing.T) {
	_, url := truth.StartService(t, source.ServiceConfig{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "GET /all HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if text := string(answer); err != nil || !strings.HasPrefix(text, "HTTP/1.1 421") || !strings.Contains(text, "nosniff") {
		t.Errorf("%.200q, %v; want 421", answer, err)
	}
}
