package source

import (
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// openConns are the connections of a server, kept so that those whose requests do not end can be
// cut off.
type openConns struct {
	mu  sync.Mutex
	set map[net.Conn]struct{} // guarded by mu
}

// track is called by the server, from the goroutine of each connection.
func (o *openConns) track(conn net.Conn, state fasthttp.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch state {
	case fasthttp.StateNew:
		o.set[conn] = struct{}{}
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		delete(o.set, conn)
	}
}

// cut closes all of them under their handlers.
func (o *openConns) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for conn := range o.set {
		_ = conn.Close()
	}
}
