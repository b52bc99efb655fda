package tracing

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	// sampled is the flag of W3C trace context that a trace is told of.
	sampled = 1
	// maxState is the longest tracestate that is passed on.
	maxState = 512
	// Kinds of spans, as the protocol has them.
	kindInternal, kindServer, kindClient = 1, 2, 3
)

// spanContext is what others know of a span. Its zero value is that of none.
type spanContext struct {
	trace [16]byte
	id    [8]byte
	flags byte
	state string
}

// span is one step of a request.
type span struct {
	spanContext
	parent       [8]byte
	name         string
	kind         uint64
	began, ended time.Time
	status       int // of HTTP; 0 for none
	failed       bool
	why          string
}

type spanKey struct{}

func (c spanContext) valid() bool { return c.trace != [16]byte{} && c.id != [8]byte{} }

// in returns ctx with the span.
func (s *span) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, spanKey{}, s.spanContext)
}

func spanOf(ctx context.Context) spanContext {
	c, _ := ctx.Value(spanKey{}).(spanContext)
	return c
}

// newTrace returns a new trace, sampled if its number, of 63 bits, is below limit.
func newTrace(limit uint64) (c spanContext) {
	number := rand.Uint64() | 1
	binary.BigEndian.PutUint64(c.trace[:8], rand.Uint64())
	binary.BigEndian.PutUint64(c.trace[8:], number)
	if number>>1 < limit {
		c.flags = sampled
	}
	return c
}

func newID() (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// traceparent is the span as a header of W3C trace context.
func (c spanContext) traceparent() string {
	return fmt.Sprintf("00-%x-%x-%02x", c.trace, c.id, c.flags)
}

// parseParent reads the headers of W3C trace context. What is none of them is no parent; a later
// version counts as far as it is known.
func parseParent(parent, state string) (c spanContext) {
	parts := strings.SplitN(parent, "-", 5)
	if len(parts) < 4 || parts[0] == "ff" || len(parts) == 5 && parts[0] == "00" || strings.ToLower(parent) != parent {
		return spanContext{}
	}
	var version, flags [1]byte
	for i, into := range [][]byte{version[:], c.trace[:], c.id[:], flags[:]} {
		if n, err := hex.Decode(into, []byte(parts[i][:min(len(parts[i]), 2*len(into))])); err != nil || n != len(into) || len(parts[i]) != 2*len(into) {
			return spanContext{}
		}
	}
	if !c.valid() {
		return spanContext{}
	}
	c.flags = flags[0] & sampled
	if len(state) <= maxState {
		c.state = state
	}
	return c
}
