package pgtest

import "context"

// TB is what Server needs of a test; testing.TB has it.
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

// ServerWith is Start for a test: a server that is missing or does not start ends it, and its
// clean-up closes the server.
func ServerWith(tb TB, o Options) *Proc {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), ReadyTimeout)
	defer cancel()
	p, err := Start(ctx, o)
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
