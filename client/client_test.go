package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/client"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// one per process, for ever
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// ends up to 10 s after its server
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const secret = "0123456789abcdef0123456789abcdef"

// users knows the users 1 to 5000. Each time that it is asked for one, the version has risen.
type users struct{ asked sync.Map }

func (u *users) version(id string) int64 {
	n, _ := u.asked.LoadOrStore(id, new(atomic.Int64))
	return 1700000000000 + 1000*n.(*atomic.Int64).Add(1)
}

func (u *users) Load(_ context.Context, id string) (*profile.Profile, error) {
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > 5000 {
		return nil, fmt.Errorf("users: %q: %w", id, profile.ErrNotFound)
	}
	return &profile.Profile{ID: id, Nom: "Nom" + id, Prenom: "P", UpdatedAt: u.version(id)}, nil
}

func (u *users) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if p, err := u.Load(ctx, id); err == nil {
			b.Found[id] = p
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// startNode runs a node with tokens, and returns its URL.
func startNode(t testing.TB) string {
	t.Helper()
	redis, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(node.Config{RedisURL: redis.URL(), Origin: new(users)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	server, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0", Tokens: auth.Config{Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = server.Close(), n.Close(), redis.Close() })
	return "http://" + server.Addr().String()
}

func open(t testing.TB, url string, role auth.Role, change ...func(*client.Config)) *client.Client {
	t.Helper()
	token, err := auth.SignTokens(auth.Config{Secret: secret}, role)
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{URL: url, Token: token}
	for _, f := range change {
		f(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientAgainstANode(t *testing.T) {
	url := startNode(t)
	ctx := t.Context()
	c := open(t, url, auth.RoleAdmin)
	first, err := c.Get(ctx, "7", client.Want{})
	if err != nil || first.Profile.Nom != "Nom7" || first.Tier != "origin" || first.Same {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := c.Get(ctx, "7", client.Want{MaxAge: time.Hour})
	if err != nil || again.Profile != first.Profile || !again.Same || again.Tier != "L1" {
		t.Errorf("asked again: %+v, %v; want what was remembered", again, err)
	}
	newer := *first.Profile
	newer.Nom, newer.UpdatedAt = "Neu", newer.UpdatedAt+5
	if err := c.Put(ctx, &newer); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(ctx, "7", client.Want{MinVersion: newer.UpdatedAt}); err != nil || got.Profile.Nom != "Neu" || got.Same {
		t.Errorf("after a put: %+v, %v", got.Profile, err)
	}
	if err := c.Put(ctx, first.Profile); !errors.Is(err, client.ErrConflict) {
		t.Errorf("put of an older version: %v", err)
	}
	if err := c.Invalidate(ctx, "7"); err != nil {
		t.Error(err)
	}
	if got, err := c.Get(ctx, "7", client.Want{MaxAge: -1}); err != nil || got.Profile.Nom != "Nom7" || got.Tier != "origin" {
		t.Errorf("after an invalidation: %+v, %v", got, err)
	}
	for id, want := range map[string]error{"9999": client.ErrNotFound, "a b": client.ErrInvalidID, "": client.ErrInvalidID} {
		if _, err := c.Get(ctx, id, client.Want{}); !errors.Is(err, want) {
			t.Errorf("get %q: %v, want %v", id, err, want)
		}
	}
	for name, call := range map[string]func() error{
		"ready": func() error { return c.Ready(ctx) }, "stats": func() error { _, err := c.Stats(ctx); return err },
		"cluster": func() error { _, err := c.Cluster(ctx); return err },
		"begin":   func() error { _, err := c.BeginPrewarm(ctx, []byte(`{"maxUsers":1}`)); return err },
		"prewarm": func() error { _, err := c.Prewarm(ctx); return err },
	} {
		if err := call(); err != nil && name != "prewarm" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRolesAreToldApart(t *testing.T) {
	url := startNode(t)
	reader := open(t, url, auth.RoleRead)
	err := reader.Invalidate(t.Context(), "1")
	e, ok := errors.AsType[*client.Error](err)
	if !errors.Is(err, client.ErrForbidden) || !ok || e.Status != 403 || e.Problem != "forbidden" || !strings.Contains(e.Detail, "invalidate") {
		t.Errorf("%v", err)
	}
	stranger := open(t, url, auth.RoleRead, func(c *client.Config) { c.Token = nil })
	if _, err := stranger.Get(t.Context(), "1", client.Want{}); !errors.Is(err, client.ErrUnauthorized) {
		t.Errorf("without a token: %v", err)
	}
	if err := stranger.Ready(t.Context()); err != nil {
		t.Errorf("ready without a token: %v", err)
	}
}

func TestManyUsersAreSplit(t *testing.T) {
	var requests atomic.Int64
	c := open(t, startNode(t), auth.RoleRead, func(c *client.Config) {
		c.BatchSize, c.Transport = 1000, countingTransport{&requests}
	})
	var ids []string
	for i := range 5200 {
		ids = append(ids, strconv.Itoa(i+1), strconv.Itoa(i+1))
	}
	b, err := c.GetMany(t.Context(), append(ids, "a b"))
	if err != nil || len(b.Users) != 5000 || len(b.Missing) != 200 || len(b.Errors) != 1 || b.Users["4711"].Nom != "Nom4711" {
		t.Errorf("%d found, %d missing, %v, %v", len(b.Users), len(b.Missing), b.Errors, err)
	}
	if n := requests.Load(); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
	if b, err := c.GetMany(t.Context(), nil); err != nil || len(b.Users) != 0 || requests.Load() != 6 {
		t.Errorf("nobody: %+v, %v", b, err)
	}
}

type countingTransport struct{ n *atomic.Int64 }

func (t countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.n.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}

// flaky answers as the steps say, one after another, and then with a profile.
func flaky(t *testing.T, steps ...func(http.ResponseWriter)) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		if n <= len(steps) {
			steps[n-1](w)
			return
		}
		if r.Method == http.MethodGet {
			w.Header().Set("ETag", `"1"`)
			_, _ = io.WriteString(w, `{"id":"1","updatedAt":1}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func status(code int, retryAfter string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
	}
}

func cut(w http.ResponseWriter) {
	conn, _, _ := w.(http.Hijacker).Hijack()
	_ = conn.Close()
}

// errRedirect stands for an answer of 302.
var errRedirect = errors.New("a redirect")

func TestWhatIsTriedAgain(t *testing.T) {
	get := func(c *client.Client) error { _, err := c.Get(context.Background(), "1", client.Want{}); return err }
	invalidate := func(c *client.Client) error { return c.Invalidate(context.Background(), "1") }
	put := func(c *client.Client) error {
		return c.Put(context.Background(), &profile.Profile{ID: "1", UpdatedAt: 1})
	}
	for name, tt := range map[string]struct {
		call  func(*client.Client) error
		steps []func(http.ResponseWriter)
		asked int64
		want  error
	}{
		"a 503, then an answer":   {get, []func(http.ResponseWriter){status(503, "")}, 2, nil},
		"429 with Retry-After":    {get, []func(http.ResponseWriter){status(429, "1")}, 2, nil},
		"a cut connection":        {get, []func(http.ResponseWriter){cut, status(502, "")}, 3, nil},
		"too often":               {get, []func(http.ResponseWriter){status(503, ""), status(503, ""), status(504, ""), cut}, 3, client.ErrUnavailable},
		"a 401 is final":          {get, []func(http.ResponseWriter){status(401, "")}, 1, client.ErrUnauthorized},
		"a 500 is final":          {get, []func(http.ResponseWriter){status(500, "")}, 1, client.ErrUnavailable},
		"an invalidation, a 503":  {invalidate, []func(http.ResponseWriter){status(503, "")}, 2, nil},
		"a put is not repeated":   {put, []func(http.ResponseWriter){status(503, "")}, 1, client.ErrUnavailable},
		"no redirect is followed": {get, []func(http.ResponseWriter){status(302, "")}, 1, errRedirect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, asked := flaky(t, tt.steps...)
			err := tt.call(open(t, url, auth.RoleRead))
			if redirected, _ := errors.AsType[*client.Error](err); tt.want == errRedirect && redirected != nil && redirected.Status == 302 {
				err = errRedirect
			}
			if asked.Load() != tt.asked || !errors.Is(err, tt.want) {
				t.Errorf("asked %d times, %v; want %d, %v", asked.Load(), err, tt.asked, tt.want)
			}
		})
	}
}

func TestTimeoutAndCallersContext(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	c := open(t, server.URL, auth.RoleRead, func(c *client.Config) { c.Timeout, c.Retries = 50*time.Millisecond, -1 })
	if _, err := c.Get(t.Context(), "1", client.Want{}); !errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("a node that is silent: %v", err)
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := c.Get(ctx, "1", client.Want{}); !errors.Is(err, gone) || errors.Is(err, client.ErrUnavailable) {
		t.Errorf("a caller who left: %v", err)
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	for says, cfg := range map[string]client.Config{
		"no URL": {URL: "ftp://user:hidden@x"}, "Timeout": {URL: "http://x", Timeout: -1}, "BatchSize": {URL: "http://x", BatchSize: 10_001},
		"Parallel": {URL: "http://x", Parallel: -1},
	} {
		if _, err := client.New(cfg); !errors.Is(err, client.ErrConfig) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%+v: %v, want %q", cfg, err, says)
		}
	}
}

func TestRememberedProfilesAreBounded(t *testing.T) {
	c := open(t, startNode(t), auth.RoleRead, func(c *client.Config) { c.Remember = 10 })
	same := 0
	for range 2 {
		for i := range 50 {
			res, err := c.Get(t.Context(), strconv.Itoa(i+1), client.Want{})
			if err != nil {
				t.Fatal(err)
			}
			if res.Same {
				same++
			}
		}
	}
	if same > 10 {
		t.Errorf("%d of 50 were remembered, at most 10", same)
	}
}
