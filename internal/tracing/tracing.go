// Package tracing tells a collector of OpenTelemetry which way requests took: spans over OTLP/HTTP
// in protobuf, W3C trace context in and out. Who embeds a node links none of it: the parts of a
// node have function fields that are nil by default.
package tracing

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// ErrConfig reports a Config that cannot work; the text names the field.
var ErrConfig = errors.New("tracing: bad configuration")

// scope names what makes the spans.
const scope = "github.com/chatapp-ngomna/edgecache"

// Config is what New takes.
type Config struct {
	// Endpoint is the collector's URL, such as http://127.0.0.1:4318; spans go to /v1/traces under
	// it. Required.
	Endpoint string
	// Ratio is the part of the requests that are traced, 0 to 1, of those whose caller has not
	// decided.
	Ratio float64
	// Service and Version say who tells. Required.
	Service, Version string
	// Logger gets a line when the collector is lost, and when it is back. Default: none.
	Logger *slog.Logger
}

const (
	// maxQueue is how many spans wait to be sent; what comes above is dropped.
	maxQueue = 4096
	// maxBatch is how many go in one request, and sendEvery the longest wait for as many.
	maxBatch  = 512
	sendEvery = 2 * time.Second
)

// Tracer makes spans. Its methods may be called concurrently.
type Tracer struct {
	limit   uint64 // traces whose number is below it are sampled
	out     *exporter
	queue   chan *span
	flushes chan chan struct{}
	done    chan struct{}
	end     sync.Once
	group   sync.WaitGroup
}

// New returns a Tracer, which sends what it has every 2 s until Close. Errors wrap ErrConfig.
func New(conf Config) (*Tracer, error) {
	u, err := url.Parse(conf.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "":
		return nil, fmt.Errorf("%w: Endpoint is no URL of a collector; want http://HOST:4318", ErrConfig)
	case math.IsNaN(conf.Ratio) || conf.Ratio < 0 || conf.Ratio > 1:
		return nil, fmt.Errorf("%w: Ratio %g; want 0 to 1", ErrConfig, conf.Ratio)
	}
	conf.Logger = cmp.Or(conf.Logger, slog.New(slog.DiscardHandler))
	u.Path = strings.TrimRight(u.Path, "/") + "/v1/traces"
	t := &Tracer{limit: uint64(conf.Ratio * (1 << 63)), queue: make(chan *span, maxQueue), flushes: make(chan chan struct{}), done: make(chan struct{}),
		out: &exporter{url: u.String(), about: resource(conf), log: conf.Logger,
			client: &http.Client{Timeout: sendTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}}}
	t.group.Go(t.run)
	return t, nil
}

// run sends spans until Close.
func (t *Tracer) run() {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	var batch []*span
	send := func() {
		t.out.export(batch)
		batch = nil
	}
	for {
		select {
		case s := <-t.queue:
			if batch = append(batch, s); len(batch) >= maxBatch {
				send()
			}
		case <-tick.C:
			send()
		case told := <-t.flushes:
			for len(t.queue) > 0 {
				batch = append(batch, <-t.queue)
			}
			send()
			close(told)
		case <-t.done:
			return
		}
	}
}

// flush sends what there is.
func (t *Tracer) flush() {
	told := make(chan struct{})
	select {
	case t.flushes <- told:
		<-told
	case <-t.done:
	}
}

// Close sends what there is, and ends. It may be called twice.
func (t *Tracer) Close() error {
	t.end.Do(func() {
		t.flush()
		close(t.done)
		t.group.Wait()
		t.out.client.CloseIdleConnections()
	})
	return nil
}

// begin begins a span, a child of parent or, where there is none, of nothing.
func (t *Tracer) begin(parent spanContext, op string, kind uint64) *span {
	s := &span{spanContext: parent, parent: parent.id, name: op, kind: kind, began: time.Now()}
	if !parent.valid() {
		s.spanContext = newTrace(t.limit)
	}
	s.id = newID()
	return s
}

// finish ends a span, and has it sent if it is sampled.
func (t *Tracer) finish(s *span) {
	if s.flags&sampled == 0 {
		return
	}
	s.ended = time.Now()
	select {
	case t.queue <- s:
	default: // the collector is slower than the requests
	}
}

// Serve begins the span of a request that is served, a child of what its headers name. end is told
// the status of the answer.
func (t *Tracer) Serve(ctx context.Context, op, parent, state string) (context.Context, func(status int)) {
	s := t.begin(parseParent(parent, state), op, kindServer)
	return s.in(ctx), func(status int) {
		s.status, s.failed = status, status < 100 || status >= http.StatusInternalServerError
		t.finish(s)
	}
}

// Span begins a span inside the process, a child of that in parent, and returns ctx with it. Where
// there is none, nobody asked for what is done, and no span is made.
func (t *Tracer) Span(ctx, parent context.Context, op string) (context.Context, func(error)) {
	above := spanOf(parent)
	if !above.valid() {
		return ctx, func(error) {}
	}
	s := t.begin(above, op, kindInternal)
	return s.in(ctx), func(err error) {
		if err != nil {
			s.failed, s.why = true, err.Error()
		}
		t.finish(s)
	}
}

// TraceID returns the id of the trace of the span in ctx, in hexadecimal; "" when there is none, or
// the collector is not told of it.
func (t *Tracer) TraceID(ctx context.Context) string {
	c := spanOf(ctx)
	if !c.valid() || c.flags&sampled == 0 {
		return ""
	}
	return hex.EncodeToString(c.trace[:])
}

// Call begins the span of a request that is sent, a child of that in ctx, and names it in the
// request's headers; nothing where there is none. end is told the status of the answer, 0 when
// there was none.
func (t *Tracer) Call(ctx context.Context, op string, headers http.Header) (end func(status int)) {
	above := spanOf(ctx)
	if !above.valid() {
		return func(int) {}
	}
	s := t.begin(above, op, kindClient)
	headers.Set("Traceparent", s.traceparent())
	if s.state != "" {
		headers.Set("Tracestate", s.state)
	}
	return func(status int) {
		s.status, s.failed = status, status < 100 || status >= http.StatusBadRequest
		t.finish(s)
	}
}
