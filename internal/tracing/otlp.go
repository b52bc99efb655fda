package tracing

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// sendTimeout bounds one request to the collector.
const sendTimeout = 3 * time.Second

// exporter sends spans. It is written by hand over the wire format: the libraries for it would make
// the binary larger than an image may be. It is used by one goroutine.
type exporter struct {
	url    string
	about  []byte // the Resource
	client *http.Client
	log    *slog.Logger
	lost   bool
}

// export sends spans. What cannot be sent is dropped.
func (e *exporter) export(spans []*span) {
	if len(spans) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	err := e.send(ctx, appendRequest(nil, e.about, spans))
	switch {
	case err != nil && !e.lost:
		e.log.Warn("tracing: the collector does not take spans; they are dropped until it does", "error", err)
	case err == nil && e.lost:
		e.log.Info("tracing: the collector takes spans again")
	}
	e.lost = err != nil
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
	// so that the connection is used again
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("tracing: the collector answers %s", resp.Status)
	}
	return nil
}

// Fields of opentelemetry/proto/collector/trace/v1 and what is in it.
const (
	requestSpans = 1 // ExportTraceServiceRequest.resource_spans

	resourceOf, resourceScopes   = 1, 2    // ResourceSpans
	resourceAttributes           = 1       // Resource
	scopeOf, scopeSpans          = 1, 2    // ScopeSpans
	scopeName                    = 1       // InstrumentationScope
	keyOf, valueOf               = 1, 2    // KeyValue
	valueText, valueInt          = 1, 3    // AnyValue
	spanTrace, spanID, spanState = 1, 2, 3 // Span
	spanParent, spanName         = 4, 5
	spanKind, spanStart, spanEnd = 6, 7, 8
	spanAttributes, spanStatus   = 9, 15
	spanFlags                    = 16
	statusMessage, statusCode    = 2, 3 // Status
	statusError                  = 2
)

// resource says who tells.
func resource(conf Config) (b []byte) {
	b = appendMessage(b, resourceAttributes, keyValue("service.name", appendText(nil, valueText, conf.Service)))
	return appendMessage(b, resourceAttributes, keyValue("service.version", appendText(nil, valueText, conf.Version)))
}

// appendRequest appends an ExportTraceServiceRequest.
func appendRequest(b, about []byte, spans []*span) []byte {
	scoped := appendMessage(nil, scopeOf, appendText(nil, scopeName, scope))
	for _, s := range spans {
		scoped = appendMessage(scoped, scopeSpans, s.encode())
	}
	all := appendMessage(nil, resourceOf, about)
	return appendMessage(b, requestSpans, appendMessage(all, resourceScopes, scoped))
}

func (s *span) encode() (b []byte) {
	b = appendMessage(b, spanTrace, s.trace[:])
	b = appendMessage(b, spanID, s.id[:])
	if s.state != "" {
		b = appendText(b, spanState, s.state)
	}
	if s.parent != [8]byte{} {
		b = appendMessage(b, spanParent, s.parent[:])
	}
	b = appendText(b, spanName, s.name)
	b = appendNumber(b, spanKind, s.kind)
	b = appendTime(b, spanStart, s.began)
	b = appendTime(b, spanEnd, s.ended)
	if s.status != 0 {
		b = appendMessage(b, spanAttributes, keyValue("http.response.status_code", appendNumber(nil, valueInt, uint64(s.status))))
	}
	if s.failed {
		b = appendMessage(b, spanStatus, appendNumber(appendText(nil, statusMessage, s.why), statusCode, statusError))
	}
	return binary.LittleEndian.AppendUint32(protowire.AppendTag(b, spanFlags, protowire.Fixed32Type), uint32(s.flags))
}

func keyValue(key string, value []byte) []byte {
	return appendMessage(appendText(nil, keyOf, key), valueOf, value)
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
