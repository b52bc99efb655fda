package tracing

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// sendTimeout bounds one request to the collector.
const sendTimeout = 3 * time.Second

// exporter sends spans. It is written by hand over the wire format: the library that generates it
// links gRPC, and would make the binary a fifth larger.
type exporter struct {
	url    string
	client *http.Client
	log    *slog.Logger
	lost   atomic.Bool
}

// ExportSpans implements sdk.SpanExporter. What cannot be sent is dropped.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	err := e.send(ctx, appendRequest(nil, spans))
	switch {
	case err != nil && !e.lost.Swap(true):
		e.log.Warn("tracing: the collector does not take spans; they are dropped until it does", "error", err)
	case err == nil && e.lost.Swap(false):
		e.log.Info("tracing: the collector takes spans again")
	}
	return nil
}

func (e *exporter) send(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := e.client.Do(req)
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("tracing: the collector answers %s", resp.Status)
	}
	return nil
}

// Shutdown implements sdk.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// Fields of opentelemetry/proto/collector/trace/v1 and what is in it.
const (
	requestSpans = 1 // ExportTraceServiceRequest.resource_spans

	resourceOf, resourceScopes   = 1, 2 // ResourceSpans
	resourceAttributes           = 1    // Resource
	scopeOf, scopeSpans          = 1, 2 // ScopeSpans
	scopeName                    = 1    // InstrumentationScope
	keyOf, valueOf               = 1, 2 // KeyValue
	valueText, valueBool         = 1, 2 // AnyValue
	valueInt                     = 3
	spanTrace, spanID, spanState = 1, 2, 3 // Span
	spanParent, spanName         = 4, 5
	spanKind, spanStart, spanEnd = 6, 7, 8
	spanAttributes, spanStatus   = 9, 15
	spanFlags                    = 16
	statusMessage, statusCode    = 2, 3 // Status
	statusError                  = 2
)

// appendRequest appends an ExportTraceServiceRequest. All spans are of one Tracer.
func appendRequest(b []byte, spans []sdk.ReadOnlySpan) []byte {
	var about, scoped []byte
	for _, a := range spans[0].Resource().Attributes() {
		about = appendMessage(about, resourceAttributes, keyValue(a))
	}
	scoped = appendMessage(scoped, scopeOf, appendText(nil, scopeName, spans[0].InstrumentationScope().Name))
	for _, s := range spans {
		scoped = appendMessage(scoped, scopeSpans, span(s))
	}
	all := appendMessage(nil, resourceOf, about)
	return appendMessage(b, requestSpans, appendMessage(all, resourceScopes, scoped))
}

func span(s sdk.ReadOnlySpan) (b []byte) {
	ctx := s.SpanContext()
	id, self := ctx.TraceID(), ctx.SpanID()
	b = appendMessage(b, spanTrace, id[:])
	b = appendMessage(b, spanID, self[:])
	if state := ctx.TraceState().String(); state != "" {
		b = appendText(b, spanState, state)
	}
	if parent := s.Parent(); parent.HasSpanID() {
		above := parent.SpanID()
		b = appendMessage(b, spanParent, above[:])
	}
	b = appendText(b, spanName, s.Name())
	b = appendNumber(b, spanKind, uint64(s.SpanKind()))
	b = appendTime(b, spanStart, s.StartTime())
	b = appendTime(b, spanEnd, s.EndTime())
	for _, a := range s.Attributes() {
		b = appendMessage(b, spanAttributes, keyValue(a))
	}
	if status := s.Status(); status.Code == codes.Error {
		b = appendMessage(b, spanStatus, appendNumber(appendText(nil, statusMessage, status.Description), statusCode, statusError))
	}
	return binary.LittleEndian.AppendUint32(protowire.AppendTag(b, spanFlags, protowire.Fixed32Type), uint32(ctx.TraceFlags()))
}

func keyValue(a attribute.KeyValue) []byte {
	var value []byte
	switch a.Value.Type() {
	case attribute.INT64:
		value = appendNumber(nil, valueInt, uint64(a.Value.AsInt64()))
	case attribute.BOOL:
		value = appendNumber(nil, valueBool, protowire.EncodeBool(a.Value.AsBool()))
	default:
		value = appendText(nil, valueText, a.Value.Emit())
	}
	return appendMessage(appendText(nil, keyOf, string(a.Key)), valueOf, value)
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), uint64(t.UnixNano()))
}
