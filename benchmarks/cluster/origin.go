package cluster

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
)

// ask is one question: how many users, and when it arrived.
type ask struct {
	at    time.Time
	users int
}

// counter is a source of truth over HTTP, with the routes of the contract, for users 1 to n. It
// notes who is asked for.
type counter struct {
	url    string
	server *http.Server

	mu     sync.Mutex
	bodies [][]byte // by number less one
	asked  []int    // how often, by number less one
	asks   []ask
	// bad says which users cannot be read, and badCall which batches fail, by their number from 1.
	bad     func(n int) bool
	badCall func(n int) bool
}

func newCounter(users int) (*counter, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{url: "http://" + listener.Addr().String(), bodies: make([][]byte, users), asked: make([]int, users)}
	for i := range c.bodies {
		c.bodies[i] = profile.AppendJSON(nil, sample.User(1, i+1))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"status":"ok"}`)) })
	mux.HandleFunc("GET /batch", func(w http.ResponseWriter, r *http.Request) { c.batch(w, strings.Split(r.URL.Query().Get("ids"), ",")) })
	mux.HandleFunc("POST /batch", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			IDs []string `json:"ids"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.batch(w, body.IDs)
	})
	mux.HandleFunc("GET /{id}", func(w http.ResponseWriter, r *http.Request) { c.one(w, r.PathValue("id")) })
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = c.server.Serve(listener) }()
	return c, nil
}

func (c *counter) close() { _ = c.server.Close() }

// note counts a question and returns the users' bodies; nil for a user without one.
func (c *counter) note(ids []string) (bodies [][]byte, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks = append(c.asks, ask{time.Now(), len(ids)})
	bodies = make([][]byte, len(ids))
	for i, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n >= 1 && n <= len(c.bodies) {
			c.asked[n-1]++
			bodies[i] = c.bodies[n-1]
		}
	}
	return bodies, c.badCall != nil && c.badCall(len(c.asks))
}

func (c *counter) broken(id string) bool {
	n, _ := strconv.Atoi(id)
	return c.bad != nil && c.bad(n)
}

func (c *counter) one(w http.ResponseWriter, id string) {
	bodies, _ := c.note([]string{id})
	switch {
	case c.broken(id):
		http.Error(w, "cannot be read", http.StatusInternalServerError)
	case bodies[0] == nil:
		http.Error(w, "no such user", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bodies[0])
	}
}

func (c *counter) batch(w http.ResponseWriter, ids []string) {
	bodies, failed := c.note(ids)
	if failed {
		http.Error(w, "cannot be read", http.StatusInternalServerError)
		return
	}
	var users, missing, errs []string
	for i, id := range ids {
		switch key := strconv.Quote(id); {
		case c.broken(id):
			errs = append(errs, key+`:"cannot be read"`)
		case bodies[i] == nil:
			missing = append(missing, key)
		default:
			users = append(users, key+":"+string(bodies[i]))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"users":{` + strings.Join(users, ",") + `},"missing":[` + strings.Join(missing, ",") + `],"errors":{` + strings.Join(errs, ",") + `}}`))
}

// totals returns how many users were asked for, how many of those more than once, and the most in
// any one second.
func (c *counter) totals() (users, repeated, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.asked {
		if n > 0 {
			users++
		}
		if n > 1 {
			repeated++
		}
	}
	inside, first := 0, 0
	for _, a := range c.asks {
		for inside += a.users; a.at.Sub(c.asks[first].at) >= time.Second; first++ {
			inside -= c.asks[first].users
		}
		most = max(most, inside)
	}
	return users, repeated, most
}
