package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/bench/bare"
	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const httpNote = "GET /v1/users/ID over HTTP/1.1 on connections that stay open, answered from memory, while users change; beside it a bare Fiber handler that " +
	"has the same bodies in a map. The load generator is in this process and takes as much of it as the server. With --nodes the nodes are asked in turn."

// maxBody is the largest answer that is read, in bytes.
const maxBody = 8 << 20

// measureHTTP compares lookups over HTTP.
func measureHTTP(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = "a lookup over HTTP", httpNote
	if len(w.conf.Nodes) > 0 {
		c := w.remote()
		return errors.Join(w.measure(ctx, s, c), c.end())
	}
	n, err := w.warmed(ctx, node.Config{Tier: tier.Config{L1Bytes: w.l1Bytes()}})
	if err != nil {
		return err
	}
	defer n.Close()
	for _, open := range []func(context.Context, *node.Node) (*contender, error){w.bareFiber, w.served} {
		c, err := open(ctx, n)
		if err != nil {
			return err
		}
		stop := w.churn(ctx)
		err = w.measure(ctx, s, c)
		stop()
		if err = errors.Join(err, c.end()); err != nil {
			return err
		}
	}
	return nil
}

// served is a node's API.
func (w *world) served(ctx context.Context, n *node.Node) (*contender, error) {
	server, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0", Logger: w.conf.Logger})
	if err != nil {
		return nil, err
	}
	if err := server.Start(ctx); err != nil {
		return nil, err
	}
	c := w.asking(report.Subject+" GET /v1/users/ID", server.Addr().String(), w.judge.oracle.Node("HTTP"))
	drop := c.close
	c.close = func() error { return errors.Join(drop(), server.Close()) }
	return c, nil
}

// bareFiber is a server that does nothing but HTTP.
func (w *world) bareFiber(ctx context.Context, n *node.Node) (*contender, error) {
	bodies := make(map[string][]byte, len(w.ids))
	for _, id := range w.ids {
		got, err := n.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		bodies[id] = append(profile.AppendJSON(nil, got.Profile), '\n')
	}
	addr, stop, err := bare.Serve(ctx, bodies)
	if err != nil {
		return nil, err
	}
	c := w.asking(bare.Name, addr, nil)
	drop := c.close
	c.close = func() error { return errors.Join(drop(), stop()) }
	return c, nil
}

// asking asks one server on loopback; seen judges the answers, nil for nobody.
func (w *world) asking(name, addr string, seen *oracle.Node) *contender {
	client := &fasthttp.HostClient{Addr: addr, MaxConns: max(w.conf.Goroutines, crowds[len(crowds)-1]), MaxResponseBodySize: maxBody,
		Dial: func(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, time.Second) }}
	ask := func(_ context.Context, _ int, n uint64) error {
		id := w.ids[w.popular.at(n)]
		q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(q)
		defer fasthttp.ReleaseResponse(a)
		q.SetRequestURI("http://" + addr + "/v1/users/" + id)
		var read oracle.Read
		if seen != nil {
			read = seen.Begin(id)
		}
		if err := client.Do(q, a); err != nil {
			return err
		}
		version, err := checkAnswer(id, a.StatusCode(), a.Body())
		if err == nil && seen != nil {
			read.End(version, bytes.Contains(a.Header.Peek("Cache-Status"), []byte("stale")))
		}
		return err
	}
	return &contender{name: name, workers: w.conf.Goroutines, op: ask, close: func() error {
		client.CloseIdleConnections()
		return nil
	}}
}

var errAnswer = errors.New("not the answer that was asked for")

// checkAnswer returns the version in the answer about a user.
func checkAnswer(id string, status int, body []byte) (version int64, err error) {
	if status != http.StatusOK || !bytes.HasPrefix(body, []byte(`{"id":"`+id+`"`)) {
		return 0, fmt.Errorf("%w: status %d about %q: %.80s", errAnswer, status, id, body)
	}
	const field = `"updatedAt":`
	i := bytes.LastIndex(body, []byte(field))
	if i < 0 {
		return 0, fmt.Errorf("%w: no version of %q", errAnswer, id)
	}
	digits := body[i+len(field):]
	end := bytes.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	return strconv.ParseInt(string(digits[:max(0, end)]), 10, 64)
}

// caller is what asks the running nodes.
func (w *world) caller() *http.Client {
	transport := w.conf.Caller
	if transport == nil {
		transport = &http.Transport{MaxIdleConnsPerHost: MaxGoroutines}
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// remote asks the running nodes in turn.
func (w *world) remote() *contender {
	client := w.caller()
	return &contender{name: report.Subject + " nodes, GET /v1/users/ID", workers: w.conf.Goroutines,
		close: func() error { client.CloseIdleConnections(); return nil },
		op: func(ctx context.Context, _ int, n uint64) error {
			id := w.ids[w.popular.at(n)]
			body, err := w.ask(ctx, client, http.MethodGet, w.conf.Nodes[n%uint64(len(w.conf.Nodes))]+"/v1/users/"+id, nil)
			if err == nil {
				_, err = checkAnswer(id, http.StatusOK, body)
			}
			return err
		}}
}

// ask makes one request to a running node.
func (w *world) ask(ctx context.Context, client *http.Client, method, url string, body []byte) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", "application/json")
	if w.conf.Token != nil {
		token, err := w.conf.Token()
		if err != nil {
			return nil, err
		}
		q.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(a.Body, maxBody))
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: status %d: %.80s", errAnswer, a.StatusCode, answer)
	}
	return answer, err
}
