// Package tracing tells a collector of OpenTelemetry which way requests took: spans over OTLP/HTTP in
// protobuf, W3C trace context in and out. Who embeds a node links none of it: the parts of a node
// have function fields that are nil by default.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// ErrConfig reports a Config that cannot work; the text names the field.
var ErrConfig = errors.New("tracing: bad configuration")

// scope names what makes the spans.
const scope = "github.com/chatapp-ngomna/edgecache"

// Config is what New takes.
type Config struct {
	// Endpoint is the collector's URL, such as http://127.0.0.1:4318; spans go to /v1/traces under it.
	// Required.
	Endpoint string
	// Ratio is the part of the requests that are traced, 0 to 1, of those whose caller has not decided.
	Ratio float64
	// Service and Version say who tells. Required.
	Service, Version string
	// Logger gets a line when the collector is lost, and when it is back. Default: none.
	Logger *slog.Logger
}

// Tracer makes spans. Its methods may be called concurrently.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
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
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	u.Path = strings.TrimRight(u.Path, "/") + "/v1/traces"
	out := &exporter{url: u.String(), client: &http.Client{Timeout: sendTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}, log: conf.Logger}
	about := resource.NewSchemaless(attribute.String("service.name", conf.Service), attribute.String("service.version", conf.Version))
	provider := sdk.NewTracerProvider(sdk.WithResource(about), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(conf.Ratio))),
		sdk.WithBatcher(out, sdk.WithBatchTimeout(2*time.Second), sdk.WithExportTimeout(sendTimeout)))
	return &Tracer{provider, provider.Tracer(scope)}, nil
}

// Close sends what there is, and ends, within the time of a send.
func (t *Tracer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	_ = t.provider.ForceFlush(ctx) // the collector may be away: that is logged, and no failure of what was served
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("tracing: close: %w", err)
	}
	return nil
}

// Serve begins the span of a request that is served, a child of what its headers name. end is told
// the status of the answer.
func (t *Tracer) Serve(ctx context.Context, op, parent, state string) (context.Context, func(status int)) {
	headers := propagation.MapCarrier{"traceparent": parent, "tracestate": state}
	ctx = propagation.TraceContext{}.Extract(ctx, headers)
	ctx, span := t.tracer.Start(ctx, op, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(status int) { endHTTP(span, status, http.StatusInternalServerError) }
}

// Span begins a span inside the process, a child of that in parent, and returns ctx with it. Where
// there is none, nobody asked for what is done, and no span is made.
func (t *Tracer) Span(ctx, parent context.Context, op string) (context.Context, func(error)) {
	if !trace.SpanContextFromContext(parent).IsValid() {
		return ctx, func(error) {}
	}
	_, span := t.tracer.Start(parent, op)
	return trace.ContextWithSpan(ctx, span), func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Call begins the span of a request that is sent, a child of that in ctx, and names it in the
// request's headers; nothing where there is none. end is told the status of the answer, 0 when there
// was none.
func (t *Tracer) Call(ctx context.Context, op string, headers http.Header) (end func(status int)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return func(int) {}
	}
	ctx, span := t.tracer.Start(ctx, op, trace.WithSpanKind(trace.SpanKindClient))
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(headers))
	return func(status int) { endHTTP(span, status, http.StatusBadRequest) }
}

// endHTTP ends a span with a status, which is an error from bad on, and below 100.
func endHTTP(span trace.Span, status, bad int) {
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status < 100 || status >= bad {
		span.SetStatus(codes.Error, http.StatusText(status))
	}
	span.End()
}
