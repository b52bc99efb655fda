package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/auth/gate"
)

// debugSettings are the flags about profiles of the process itself, for who develops it.
type debugSettings struct{ addr string }

func (d *debugSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&d.addr, "debug-addr", "", "`HOST:PORT` for /debug/pprof, for tokens with the role admin; without JWT_SECRET or --token-key-file "+
		"on this machine only; none when not given")
}

func (d *debugSettings) check(tokens auth.Config) error {
	if d.addr == "" {
		return nil
	}
	if err := checkListen("debug-addr", d.addr); err != nil {
		return err
	}
	if !tokens.Enabled() && !gate.Loopback(d.addr) {
		return usagef("--debug-addr %s: nothing checks who asks; want a loopback address, or JWT_SECRET or --token-key-file", d.addr)
	}
	return nil
}

// startDebug serves profiles until the parts are closed, and returns where.
func (up *parts) startDebug(ctx context.Context, d debugSettings, tokens auth.Config) (addr string, err error) {
	if d.addr == "" {
		return "", nil
	}
	g := debugGate{mux: http.NewServeMux()}
	if g.tokens, err = auth.NewVerifier(tokens); err != nil {
		return "", usagef("%w", err)
	}
	g.mux.HandleFunc("/debug/pprof/", pprof.Index)
	g.mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	g.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	g.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	g.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", d.addr)
	if err != nil {
		return "", listenError(err, "debug-addr", d.addr)
	}
	server := &http.Server{Handler: g, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			up.log.Warn("serve /debug/pprof", "error", err)
		}
	}()
	up.add(func() error {
		err := server.Close() // a profile under way is of no use any more
		<-served
		return err
	})
	up.log.Info("serving /debug/pprof", "address", ln.Addr().String())
	return ln.Addr().String(), nil
}

// debugGate lets admins through: who has a token with that role, or without tokens who asks this
// machine by its own name, so that no page of another site can.
type debugGate struct {
	tokens *auth.Verifier // nil: nobody needs one
	mux    *http.ServeMux
}

// ServeHTTP implements http.Handler.
func (g debugGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.tokens == nil {
		if !gate.Loopback(hostPort(r.Host)) {
			http.Error(w, "the request is for another host", http.StatusMisdirectedRequest)
			return
		}
		g.mux.ServeHTTP(w, r)
		return
	}
	id, err := g.tokens.Verify(r.Header.Get("Authorization"))
	if err == nil {
		err = id.Allow(auth.RoleAdmin)
	}
	if err != nil {
		w.Header().Set("WWW-Authenticate", auth.Challenge("edgecache debug", err, auth.RoleAdmin))
		status := http.StatusUnauthorized
		if errors.Is(err, auth.ErrForbidden) {
			status = http.StatusForbidden
		}
		http.Error(w, err.Error(), status)
		return
	}
	g.mux.ServeHTTP(w, r)
}

// hostPort is a Host header with a port.
func hostPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(host, "80")
	}
	return host
}
