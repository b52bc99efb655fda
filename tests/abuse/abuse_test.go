// Package abuse attacks a node and an origin as a stranger on their network could, while honest
// callers ask on.
package abuse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

const (
	secret = "0123456789abcdef0123456789abcdef"
	// readTimeout is that of the servers here.
	readTimeout = time.Second
	// smuggled is a user that only a request asks for that hides in another's body.
	smuggled = "smuggled"
)

// target is a server under attack.
type target struct {
	name, addr string
	user       string      // the path of a user who is there
	post       string      // the path of a lookup with a body
	asked      func() bool // whether the smuggled user was asked for
}

// truth knows everybody and notes who was asked for.
type truth struct {
	mu    sync.Mutex
	asked map[string]bool
}

func (d *truth) Load(_ context.Context, id string) (*profile.Profile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[id] = true
	return &profile.Profile{ID: id, Nom: "x", UpdatedAt: 1700000000000}, nil
}

func (d *truth) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		b.Found[id], _ = d.Load(ctx, id)
	}
	return b, nil
}

func (d *truth) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[id]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startNode(t *testing.T) target {
	t.Helper()
	redis, err := embedded.StartRedis()
	must(t, err)
	d := &truth{asked: map[string]bool{}}
	n, err := node.New(node.Config{RedisURL: redis.URL(), Origin: d})
	must(t, err)
	must(t, n.Start(t.Context()))
	server, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0", Tokens: auth.Config{Secret: secret}, ReadTimeout: readTimeout})
	must(t, err)
	must(t, server.Start(t.Context()))
	t.Cleanup(func() { _, _, _ = server.Close(), n.Close(), redis.Close() })
	return target{"node", server.Addr().String(), "/v1/users/1", "/v1/users/batch", func() bool { return d.has(smuggled) }}
}

// counting is a store that notes whether the smuggled user was asked for.
type counting struct {
	source.Store
	mu    sync.Mutex
	asked bool
}

func (c *counting) Get(ctx context.Context, id string) (*profile.Profile, error) {
	if id == smuggled {
		c.mu.Lock()
		c.asked = true
		c.mu.Unlock()
	}
	return c.Store.Get(ctx, id)
}

func startOrigin(t *testing.T) target {
	t.Helper()
	db, err := sqlite.New(sqlite.Config{Path: filepath.Join(t.TempDir(), "u.db")})
	must(t, err)
	must(t, db.Start(t.Context()))
	_, err = db.Create(t.Context(), &profile.Profile{ID: "1", Nom: "x"})
	must(t, err)
	c := &counting{Store: db}
	s, err := source.NewService(source.ServiceConfig{Store: c, Listen: "127.0.0.1:0", Tokens: auth.Config{Secret: secret}, ReadTimeout: readTimeout})
	must(t, err)
	must(t, s.Start(t.Context()))
	t.Cleanup(func() { _, _ = s.Close(), db.Close() })
	return target{"origin", s.Addr(), "/1", "/batch", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.asked
	}}
}

func token(t *testing.T) string {
	t.Helper()
	text, err := auth.SignToken(auth.Config{Secret: secret}, auth.Grant{Role: auth.RoleRead, Expires: time.Now().Add(time.Hour)})
	must(t, err)
	return text
}

// honest asks 200 times a second, whatever the answers take, until stop is closed, and returns how
// long each took.
func honest(t *testing.T, to target, stop <-chan struct{}) (took []time.Duration) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client, bearer := &http.Client{Transport: transport, Timeout: 10 * time.Second}, "Bearer "+token(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			group.Wait()
			return took
		case due := <-tick.C:
			group.Go(func() {
				err := lookUp(t.Context(), client, to, bearer)
				mu.Lock()
				defer mu.Unlock()
				if took = append(took, time.Since(due)); err != nil {
					t.Errorf("an honest request to the %s: %v", to.name, err)
				}
			})
		}
	}
}

func lookUp(ctx context.Context, client *http.Client, to target, bearer string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.addr+to.user, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", bearer)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || !strings.Contains(string(body), `"id":"1"`)) {
		err = fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return err
}

func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
}

// during runs an attack beside honest callers and returns their p99.
func during(t *testing.T, to target, attack func()) time.Duration {
	t.Helper()
	stop, done := make(chan struct{}), make(chan []time.Duration)
	go func() { done <- honest(t, to, stop) }()
	attack()
	close(stop)
	return p99(<-done)
}

func calm(t *testing.T, to target) time.Duration {
	t.Helper()
	return during(t, to, func() { <-time.After(2 * time.Second) })
}

// 500 connections send a byte of a head now and then: each is closed within the read timeout and
// honest callers notice little.
func TestSlowLoris(t *testing.T) {
	for _, to := range []target{startNode(t), startOrigin(t)} {
		before := calm(t, to)
		var group sync.WaitGroup
		under := during(t, to, func() {
			for range 500 {
				group.Go(func() { slowHead(t, to) })
				// what is measured is 500 slow ones, not their beginning at once
				<-time.After(2 * time.Millisecond)
			}
			group.Wait()
		})
		t.Logf("%s: p99 %v before, %v under 500 slow connections", to.name, before, under)
		if under > max(2*before, slack) {
			t.Errorf("%s: honest p99 %v, before %v", to.name, under, before)
		}
	}
}

// slowHead sends a head byte by byte, and fails the test when the server waits for all of it.
func slowHead(t *testing.T, to target) {
	conn, err := net.Dial("tcp", to.addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(10 * readTimeout))
	go func() {
		for _, b := range []byte("GET " + to.user + " HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaa") {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			<-time.After(readTimeout / 4)
		}
	}()
	answer, err := io.ReadAll(conn)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || time.Since(began) > 8*readTimeout {
		t.Errorf("%s: still open after %v: %q", to.name, time.Since(began), answer)
	}
	if text := string(answer); text != "" && !strings.HasPrefix(text, "HTTP/1.1 4") {
		t.Errorf("%s: answered %.60q", to.name, text)
	}
}

// attacks are bytes on a connection of their own. %s is a header with a good token.
func attacks(to target) map[string]string {
	head := " HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Type: application/json\r\n"
	hidden := "GET " + strings.TrimSuffix(to.user, "1") + smuggled + " HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"
	big := strings.Repeat("x", 10<<20)
	all := map[string]string{
		"a body of 10 MiB":            "POST " + to.post + head + "Content-Length: 10485760\r\n\r\n" + big,
		"10 MiB in chunks":            "POST " + to.post + head + "Transfer-Encoding: chunked\r\n\r\na00000\r\n" + big + "\r\n0\r\n\r\n",
		"a head of 64 KiB":            "GET " + to.user + head + "X-Long: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"a path of 64 KiB":            "GET /" + strings.Repeat("x", 64<<10) + head + "\r\n",
		"10,000 headers":              "GET " + to.user + head + strings.Repeat("X: y\r\n", 10_000) + "\r\n",
		"smuggling CL.TE":             "POST " + to.post + head + "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"smuggling TE.CL":             "POST " + to.post + head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1f\r\n" + hidden + "\r\n0\r\n\r\n",
		"smuggling double lengths":    "POST " + to.post + head + "Content-Length: 2\r\nContent-Length: 200\r\n\r\n{}" + hidden,
		"smuggling a list of lengths": "POST " + to.post + head + "Content-Length: 2, 200\r\n\r\n{}" + hidden,
		"smuggling xchunked":          "POST " + to.post + head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"smuggling gzip, chunked":     "POST " + to.post + head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden,
		"smuggling identity":          "POST " + to.post + head + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}" + hidden,
		"smuggling a space":           "POST " + to.post + head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"smuggling a folded line":     "POST " + to.post + head + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 2\r\n\r\n{}" + hidden,
		"smuggling +2":                "POST " + to.post + head + "Content-Length: +2\r\n\r\n{}" + hidden,
		"smuggling -2":                "POST " + to.post + head + "Content-Length: -2\r\n\r\n{}" + hidden,
		"smuggling 0x2":               "POST " + to.post + head + "Content-Length: 0x2\r\n\r\n{}" + hidden,
		"a chunk beyond all sizes":    "POST " + to.post + head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + hidden,
		"a lookup with a body":        "GET " + to.user + head + "Content-Length: 2\r\n\r\n{}" + hidden,
		"a bare line feed":            "GET " + to.user + " HTTP/1.1\nHost: localhost\nX\n\n" + hidden,
		"no HTTP":                     "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 600) + "\r\n\r\n",
		"HTTP/2":                      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"TRACE":                       "TRACE " + to.user + head + "\r\n",
		"CONNECT":                     "CONNECT localhost:22" + head + "\r\n",
	}
	for name, path := range map[string]string{"%2F": "/v1%2Fusers%2F1", "%00": to.user + "%00", "a slash at the end": to.user + "/", "two slashes": "/" + to.user,
		"dots": to.user + "/../../metrics", "dots in escapes": "/%2e%2e/metrics", "a backslash": "/v1\\users\\1", "an id with a slash": strings.TrimSuffix(to.user, "1") + "a%2Fb",
		"case": "/V1/Users/1x%00", "a semicolon": to.user + ";x=1", "half an escape": to.user + "%", "UTF-8 that is none": to.user + "%c0%af"} {
		all["a path with "+name] = "GET " + path + head + "\r\n"
	}
	return all
}

// Each attack ends in 4xx or a closed connection, and no request that hides in another is answered.
func TestAttacksOnTheWire(t *testing.T) {
	for _, to := range []target{startNode(t), startOrigin(t)} {
		bearer := "Authorization: Bearer " + token(t)
		before := calm(t, to)
		under := during(t, to, func() {
			for name, text := range attacks(to) {
				t.Run(to.name+"/"+name, func(t *testing.T) { attackOnce(t, to, strings.ReplaceAll(text, "%s\r\n", bearer+"\r\n")) })
			}
		})
		t.Logf("%s: p99 %v before, %v under attack", to.name, before, under)
		if under > max(2*before, slack) {
			t.Errorf("%s: honest p99 %v, before %v", to.name, under, before)
		}
		if to.asked() {
			t.Errorf("%s: a request that hid in another was answered", to.name)
		}
	}
}

func attackOnce(t *testing.T, to target, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", to.addr)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * readTimeout))
	_, _ = io.WriteString(conn, text) // the server may have hung up before it has all
	_ = conn.(*net.TCPConn).CloseWrite()
	r := bufio.NewReader(conn)
	for n := 1; ; n++ {
		resp, err := http.ReadResponse(r, nil)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Fatal("the connection stays open")
		}
		if err != nil {
			return // closed
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode < 400 || resp.StatusCode > 599 {
			t.Errorf("answer %d is %s", n, resp.Status)
		}
	}
}

// Tokens that are none are 401, whatever they look like; package auth has the whole table.
func TestForgedTokensOverHTTP(t *testing.T) {
	for _, to := range []target{startNode(t), startOrigin(t)} {
		good := token(t)
		parts := strings.Split(good, ".")
		for name, header := range map[string]string{"none": "", "empty": "Authorization: Bearer ", "cut": "Authorization: Bearer " + good[:len(good)-3],
			"alg none": "Authorization: Bearer eyJhbGciOiJub25lIn0." + parts[1] + ".", "1 MiB": "Authorization: Bearer " + strings.Repeat("a", 1<<20),
			"two headers": "Authorization: Bearer x\r\nAuthorization: Bearer " + good} {
			conn, err := net.Dial("tcp", to.addr)
			must(t, err)
			_ = conn.SetDeadline(time.Now().Add(10 * readTimeout))
			_, _ = io.WriteString(conn, "GET "+to.user+" HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil && resp.StatusCode != 401 && !(name == "1 MiB" && resp.StatusCode == 431) {
				t.Errorf("%s, %s: %s", to.name, name, resp.Status)
			}
			if err != nil && name != "1 MiB" { // which is cut off before the answer can be read
				t.Errorf("%s, %s: %v", to.name, name, err)
			}
			_ = conn.Close()
		}
	}
}
