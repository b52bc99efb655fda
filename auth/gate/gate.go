// Package gate decides which requests get further at the servers of edgecache: by host, by site, by
// token, and by how many there are of one client. Nodes and origins stand behind the same one.
package gate

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/auth"
)

var (
	// ErrForeignHost reports a request under a name that is not this server's.
	ErrForeignHost = errors.New("gate: the request is for another host")
	// ErrSimpleType reports a change that any page could have had a browser send.
	ErrSimpleType = errors.New("gate: a change without a token needs Content-Type: application/json or application/msgpack")
)

// Limited reports a request above one of its client's limits.
type Limited struct {
	// What was limited, such as "more than 100 requests a second".
	What string
	// Wait is when the next try makes sense.
	Wait time.Duration
}

// Error says what the limit is.
func (l *Limited) Error() string { return "gate: " + l.What + " from one client" }

// Denied is an error of package auth with the challenge that goes with its answer.
type Denied struct {
	Err       error
	Challenge string // WWW-Authenticate
}

// Error returns the text of Err.
func (d *Denied) Error() string { return d.Err.Error() }

// Unwrap returns Err.
func (d *Denied) Unwrap() error { return d.Err }

// Gate decides which requests get further: by host, by site, by token and by how many there are.
// All methods may be called concurrently.
type Gate struct {
	realm   string
	tokens  *auth.Verifier // nil: nobody needs a token
	access  auth.Access
	proxies []netip.Prefix
	secure  bool // behind TLS
	rate    *rate
	batches inFlight
	conns   connCount
	limited [3]atomic.Uint64
}

// Limits are what Gate.Limited counts. Never changed.
var Limits = []string{"requests", "batches", "connections"}

const (
	limitRequests = iota
	limitBatches
	limitConns
)

// New returns a gate. secure tells that the server speaks TLS. Errors name what is wrong with the
// settings.
func New(realm string, tokens auth.Config, access auth.Access, secure bool) (*Gate, error) {
	if err := access.Validate(); err != nil {
		return nil, err
	}
	g := &Gate{realm: realm, access: access, secure: secure, rate: newRate(access.Rate, access.Burst)}
	g.batches.most = access.Batches
	g.conns.most, g.conns.gate = access.Conns, g
	var err error
	if g.proxies, err = access.Networks(); err != nil {
		return nil, err
	}
	g.tokens, err = auth.NewVerifier(tokens)
	return g, err
}

// Tokens reports whether callers need tokens.
func (g *Gate) Tokens() bool { return g.tokens != nil }

// Limited returns how many requests, batches and connections were refused, in the order of Limits.
func (g *Gate) Limited() (n [3]uint64) {
	for i := range n {
		n[i] = g.limited[i].Load()
	}
	return n
}

// identityKey is under which a request has its bearer.
type identityKey struct{}

// Identity returns who sent a request, nil for a stranger. Admit has put it there.
func Identity(ctx *fasthttp.RequestCtx) *auth.Identity {
	id, _ := ctx.UserValue(identityKey{}).(*auth.Identity)
	return id
}

// Screen refuses what no server of ours should look at, before it has been routed: with
// ErrForeignHost what a page made a browser send here under the page's own name. Where there are
// tokens no browser has one, and any name will do.
func (g *Gate) Screen(ctx *fasthttp.RequestCtx) error {
	if g.tokens != nil || g.knownHost(ctx.Request.Header.Host()) {
		return nil
	}
	return fmt.Errorf("%w: %.100q; without tokens this server is localhost or an address, and names that its settings allow",
		ErrForeignHost, ctx.Request.Header.Host())
}

var loopbackHost = []byte("127.0.0.1")

// knownHost reports whether a page of a stranger cannot have made a browser send this name.
func (g *Gate) knownHost(host []byte) bool {
	if len(host) == 0 || bytes.HasPrefix(host, loopbackHost) && (len(host) == len(loopbackHost) || host[len(loopbackHost)] == ':') {
		return true
	}
	name := string(host)
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name = name[:i]
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if name == "localhost" || slices.Contains(g.access.Hosts, name) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}

// Admit lets a request further whose bearer has the role, unless its client sends too many. Errors
// are *Denied or *Limited.
func (g *Gate) Admit(ctx *fasthttp.RequestCtx, need auth.Role) error {
	if g.tokens == nil || len(g.access.Open) > 0 && slices.Contains(g.access.Open, string(ctx.Path())) {
		return g.count(client{addr: g.addr(ctx)})
	}
	header := ctx.Request.Header.PeekBytes(authorization)
	id := g.tokens.Remembered(text(header))
	if id == nil {
		if err := g.count(client{addr: g.addr(ctx)}); err != nil { // before the cost of a signature
			return err
		}
	} else if err := g.count(client{bearer: id.Client()}); err != nil {
		return err
	}
	return g.check(ctx, header, need)
}

// Probe is Admit without a limit, for what watches over the server.
func (g *Gate) Probe(ctx *fasthttp.RequestCtx, need auth.Role) error {
	if g.tokens == nil || slices.Contains(g.access.Open, string(ctx.Path())) {
		return nil
	}
	return g.check(ctx, ctx.Request.Header.PeekBytes(authorization), need)
}

var authorization = []byte(fasthttp.HeaderAuthorization)

func (g *Gate) check(ctx *fasthttp.RequestCtx, header []byte, need auth.Role) error {
	id, err := g.tokens.Verify(text(header))
	if err == nil {
		err = id.Allow(need)
	}
	if err != nil {
		return &Denied{err, auth.Challenge(g.realm, err, need)}
	}
	ctx.SetUserValue(identityKey{}, id)
	return nil
}

// Known reports whether a request has a good token, or needs none.
func (g *Gate) Known(ctx *fasthttp.RequestCtx, need auth.Role) bool {
	return g.tokens == nil || g.check(ctx, ctx.Request.Header.PeekBytes(authorization), need) == nil
}

func (g *Gate) count(c client) error {
	if g.rate == nil {
		return nil
	}
	if wait := g.rate.take(c); wait > 0 {
		g.limited[limitRequests].Add(1)
		return &Limited{fmt.Sprintf("more than %g requests a second", g.access.Rate), wait}
	}
	return nil
}

// EnterBatch counts a lookup of many users as under way, until leave is called.
func (g *Gate) EnterBatch(ctx *fasthttp.RequestCtx) (leave func(), err error) {
	if g.batches.most == 0 {
		return func() {}, nil
	}
	c := g.client(ctx)
	if !g.batches.enter(c) {
		g.limited[limitBatches].Add(1)
		return nil, &Limited{fmt.Sprintf("more than %d lookups of many users at once", g.batches.most), time.Second}
	}
	return func() { g.batches.leave(c) }, nil
}

func (g *Gate) client(ctx *fasthttp.RequestCtx) client {
	if id := Identity(ctx); id != nil {
		return client{bearer: id.Client()}
	}
	return client{addr: g.addr(ctx)}
}

// addr returns who sent a request: the peer, or behind a proxy that is trusted the last address
// that none of those added.
func (g *Gate) addr(ctx *fasthttp.RequestCtx) netip.Addr {
	if g.rate == nil && g.batches.most == 0 {
		return netip.Addr{} // nobody counts
	}
	addr := address(ctx.RemoteAddr())
	if !g.trusted(addr) {
		return network(addr)
	}
	lines := ctx.Request.Header.PeekAll(fasthttp.HeaderXForwardedFor)
	for _, line := range slices.Backward(lines) {
		for _, hop := range slices.Backward(strings.Split(string(line), ",")) {
			next, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				return network(addr) // what is before it may be anybody's
			}
			if addr = next.Unmap(); !g.trusted(addr) {
				return network(addr)
			}
		}
	}
	return network(addr)
}

func (g *Gate) trusted(addr netip.Addr) bool {
	return slices.ContainsFunc(g.proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// network returns what one client has: an address, or the /64 of one of IPv6.
func network(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		p, _ := addr.WithZone("").Prefix(64)
		return p.Addr()
	}
	return addr
}
