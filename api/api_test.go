package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// one per process, for ever
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// ends up to 10 s after its server
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// the same, of the tests' client
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"))
}

// serve starts a server on a free port and closes it at the end of the test.
func serve(t testing.TB, n Node, change ...func(*Config)) *Server {
	t.Helper()
	cfg := Config{Node: n, Listen: "127.0.0.1:0"}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

type response struct {
	*http.Response
	body string
}

// send writes one request as the bytes that it is, because HTTP clients mend paths, and reads the
// response.
func send(t testing.TB, s *Server, method, path, body string, headers ...string) response {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var w bytes.Buffer
	fmt.Fprintf(&w, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	if method == "POST" && !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Content-Type:") }) {
		headers = append(headers, "Content-Type: application/json")
	}
	for _, h := range headers {
		w.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&w, "Content-Length: %d\r\n", len(body))
	}
	w.WriteString("\r\n" + body)
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = w.WriteTo(c) // the server may answer and hang up before it has read everything
	return receive(t, c, method)
}

func receive(t testing.TB, r io.Reader, method string) response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(r), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s: no response: %v", method, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp, string(body)}
}

// problemJSON checks that a response is a whole problem document and returns it.
func problemJSON(t testing.TB, r response) map[string]any {
	t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q of a %d; want application/problem+json; body %s", got, r.StatusCode, r.body)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(r.body), &doc); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}
	for _, key := range []string{"type", "title", "status", "detail"} {
		if doc[key] == nil || doc[key] == "" {
			t.Errorf("%s is missing in %s", key, r.body)
		}
	}
	if doc["status"] != float64(r.StatusCode) {
		t.Errorf("status %v in the body of a %d", doc["status"], r.StatusCode)
	}
	if name, ok := strings.CutPrefix(fmt.Sprint(doc["type"]), problemBase); !ok || name == "" {
		t.Errorf("type %v; want a name after %s", doc["type"], problemBase)
	}
	return doc
}
