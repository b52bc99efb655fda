package api

import (
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// conns knows the open connections, so that those which outlast the drain can be closed: fasthttp
// leaves them open.
type conns struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// track is fasthttp's ConnState callback. It is called twice a request too, and then does nothing.
func (k *conns) track(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		k.mu.Lock()
		if k.open == nil {
			k.open = make(map[net.Conn]struct{})
		}
		k.open[c] = struct{}{}
		k.mu.Unlock()
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		k.mu.Lock()
		delete(k.open, c)
		k.mu.Unlock()
	}
}

func (k *conns) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.open)
}

// hurry wants the rest of every request that has not wholly arrived by end. A connection that has
// sent nothing, which fasthttp would keep for 5 s, ends then; a request that is already being
// handled is not concerned.
func (k *conns) hurry(end time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.open {
		if p, ok := c.(*patientConn); ok {
			c = p.Conn // at once, and without a word to the goroutine that reads
		}
		_ = c.SetReadDeadline(end)
	}
}

// cut closes every connection and waits up to limit until their handlers have noticed.
func (k *conns) cut(limit time.Duration) {
	k.mu.Lock()
	for c := range k.open {
		_ = c.Close()
	}
	k.mu.Unlock()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); k.len() > 0 && time.Now().Before(end); {
		<-tick.C
	}
}
