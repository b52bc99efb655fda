package redistest

import (
	"context"
	"io"

	"github.com/chatapp-ngomna/edgecache/embedded"
)

// TB is what these helpers need of a test; testing.TB and rapid's T have it.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Server is Start for a test, with no options.
func Server(tb TB) *Proc {
	tb.Helper()
	return ServerWith(tb, Options{})
}

// ServerWith is Start for a test.
func ServerWith(tb TB, o Options) *Proc {
	tb.Helper()
	return started(tb, Start, o)
}

// Embedded starts a Redis in this process, for a test, and returns its URL.
func Embedded(tb TB) string {
	tb.Helper()
	r, err := embedded.StartRedis()
	if err != nil {
		tb.Fatalf("the embedded Redis: %v", err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r.URL()
}

// Kinds returns, by name, what starts each kind of Redis that edgecache runs over, and returns its
// URL: "embedded", "redis", "cluster" and "sentinel".
func Kinds() map[string]func(TB) string {
	return map[string]func(TB) string{
		"embedded": Embedded,
		"redis":    func(tb TB) string { tb.Helper(); return Server(tb).URL() },
		"cluster":  func(tb TB) string { tb.Helper(); return Cluster(tb).URL() },
		"sentinel": func(tb TB) string { tb.Helper(); return Sentinel(tb, Options{}).URL() },
	}
}

// Cluster is StartCluster for a test, with no options.
func Cluster(tb TB) *ClusterProc {
	tb.Helper()
	return ClusterWith(tb, Options{})
}

// ClusterWith is StartCluster for a test.
func ClusterWith(tb TB, o Options) *ClusterProc {
	tb.Helper()
	return started(tb, StartCluster, o)
}

// Sentinel is StartSentinel for a test. A failover with acknowledged writes at stake wants
// Options.Lines of its own, such as min-replicas-to-write.
func Sentinel(tb TB, o Options) *SentinelProc {
	tb.Helper()
	return started(tb, StartSentinel, o)
}

// ProxyTo is NewProxy for a test.
func ProxyTo(tb TB, target string) *Proxy {
	tb.Helper()
	return started(tb, func(context.Context, string) (*Proxy, error) { return NewProxy(target) }, target)
}

func started[T io.Closer, O any](tb TB, start func(context.Context, O) (T, error), o O) T {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), ReadyTimeout)
	defer cancel()
	p, err := start(ctx, o)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("%v", err)
		}
	})
	return p
}
