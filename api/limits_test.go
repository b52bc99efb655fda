package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/profile"
)

func batchBody(n, size int) string {
	var b bytes.Buffer
	b.WriteString(`{"ids":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%0*d"`, size, i)
	}
	b.WriteString(`]}`)
	return b.String()
}

func TestBodyLimits(t *testing.T) {
	f := newFake()
	f.generated = true
	s := serve(t, f)
	for _, c := range []struct {
		name, body string
		status     int
		contains   string
	}{
		{"10,000 ids of 128 bytes", batchBody(10_000, profile.MaxIDLen), 200, `"errors":{}`},
		{"10,001 ids", batchBody(10_001, 8), 413, "10000"},
		{"exactly MaxBody", batchBody(1, 8) + strings.Repeat(" ", MaxBody-len(batchBody(1, 8))), 200, `"errors":{}`},
		{"one byte more", batchBody(1, 8) + strings.Repeat(" ", MaxBody-len(batchBody(1, 8))+1), 413, "2097152 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := send(t, s, "POST", "/v1/users/batch", c.body, jsonType)
			if r.StatusCode != c.status || !strings.Contains(r.body, c.contains) {
				t.Errorf("got %d %.200s; want %d and %s", r.StatusCode, r.body, c.status, c.contains)
			}
		})
	}
}

func TestBodyThatOnlyClaimsToBeLarge(t *testing.T) {
	s := serve(t, newFake())
	for _, expect := range []string{"Accept: */*", "Expect: 100-continue"} {
		r := send(t, s, "POST", "/v1/users/batch", "", jsonType, "Content-Length: 10485760", expect)
		if r.StatusCode != 413 || !r.Close {
			t.Errorf("%s: got %d, close %v; want 413 and the connection's end", expect, r.StatusCode, r.Close)
		}
		problemJSON(t, r)
	}
	r := send(t, s, "POST", "/v1/users/batch", "", jsonType, "Transfer-Encoding: chunked", "", "ffffffff\r\n"+strings.Repeat("x", MaxBody+64))
	if r.StatusCode != 413 {
		t.Errorf("chunks above the limit: got %d; want 413", r.StatusCode)
	}
}

func TestHeadLimits(t *testing.T) {
	f := newFake()
	f.generated = true
	s := serve(t, f)
	uuids := make([]string, 500)
	for i := range uuids {
		uuids[i] = fmt.Sprintf("3f2b6c0e-6d5c-4b6f-9d55-%012d", i)
	}
	r := send(t, s, "GET", "/v1/users?ids="+strings.Join(uuids, "%2C"), "")
	if r.StatusCode != 200 || strings.Count(r.body, `"id":`) != 500 {
		t.Errorf("500 UUIDs: got %d %.200s", r.StatusCode, r.body)
	}
	r = send(t, s, "GET", "/v1/users/1", "", "X-Big: "+strings.Repeat("x", 64<<10))
	if r.StatusCode != 431 || !strings.Contains(r.body, "32768 bytes") {
		t.Errorf("64 KiB of headers: got %d %s; want 431", r.StatusCode, r.body)
	}
	problemJSON(t, r)
}

// 200 connections send a byte every 20 ms. They must be closed within the read timeout, and hinder
// nobody.
func TestSlowClients(t *testing.T) {
	const limit = 300 * time.Millisecond
	s := serve(t, newFake("1"), func(c *Config) { c.ReadTimeout = limit })
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if err := dribble(s, i%2 == 0, 10*limit); err != nil {
				t.Error(err)
			}
		})
	}
	for range 50 {
		began := time.Now()
		if r := send(t, s, "GET", "/v1/users/1", ""); r.StatusCode != 200 || time.Since(began) > time.Second {
			t.Errorf("beside slow clients: %d after %v", r.StatusCode, time.Since(began))
		}
	}
	all.Wait()
}

// dribble sends a request in small pieces and returns an error if the server still takes them after
// limit.
func dribble(s *Server, body bool, limit time.Duration) error {
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	if body {
		fmt.Fprintf(c, "POST /v1/users/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
	} else {
		fmt.Fprintf(c, "GET /v1/users/1 HTTP/1.1\r\n")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c)
		close(closed)
	}()
	end := time.After(limit)
	for {
		select {
		case <-closed:
			return nil
		case <-end:
			c.Close()
			<-closed
			return fmt.Errorf("a slow request is still read after %v", limit)
		case <-tick.C:
			_, _ = c.Write([]byte("x"))
		}
	}
}

// Fiber reuses the memory of a connection's requests, so an id that is kept without being copied
// becomes another user's.
func TestEachBodyHasTheIDAskedFor(t *testing.T) {
	total := 200_000
	if raceEnabled {
		total = 10_000
	}
	f := newFake()
	f.generated = true
	s := serve(t, f)
	const conns = 8
	client := &fasthttp.HostClient{Addr: s.Addr().String(), MaxConns: conns,
		Dial: func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for worker := range conns {
		all.Go(func() {
			for i := range total / conns {
				if err := askFor(client, fmt.Sprintf("u%d.%d", i, worker)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func askFor(client *fasthttp.HostClient, id string) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://localhost/v1/users/" + id)
	if err := client.Do(req, resp); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	var got struct{ ID, Matricule string }
	if err := json.Unmarshal(resp.Body(), &got); err != nil || got.ID != id || got.Matricule != "MAT-"+id {
		return fmt.Errorf("asked for %s, got %s (%v)", id, resp.Body(), err)
	}
	return nil
}
