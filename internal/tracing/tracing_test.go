package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfig(t *testing.T) {
	for endpoint, ratio := range map[string]float64{"": 0, "127.0.0.1:4318": 0, "ftp://127.0.0.1": 0, "http://": 0, "http://a/?x=1": 0, "http://a": 1.5, "http://b": -1} {
		if _, err := New(Config{Endpoint: endpoint, Ratio: ratio}); !errors.Is(err, ErrConfig) {
			t.Errorf("%q, %g: %v", endpoint, ratio, err)
		}
	}
}

// A collector that is away costs one line, and one when it is back; nothing waits for it.
func TestALostCollectorIsOneLine(t *testing.T) {
	var away atomic.Bool
	var got atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got.Add(1)
	}))
	defer server.Close()
	var log bytes.Buffer
	tracer, err := New(Config{Endpoint: server.URL + "/", Ratio: 1, Service: "s", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	tell := func() {
		ctx, end := tracer.Serve(t.Context(), "op", "", "")
		headers := http.Header{}
		tracer.Call(ctx, "call", headers)(0)
		if headers.Get("traceparent") == "" {
			t.Error("the call is not told of its parent")
		}
		end(200)
		tracer.flush()
	}
	tell()
	away.Store(true)
	tell()
	tell()
	away.Store(false)
	tell()
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if got.Load() != 2 || strings.Count(text, "does not take spans") != 1 || strings.Count(text, "takes spans again") != 1 {
		t.Errorf("%d came; the log is\n%s", got.Load(), text)
	}
}

// What nobody traces makes no spans, and sends no header.
func TestNoSpanWithoutAParent(t *testing.T) {
	tracer, err := New(Config{Endpoint: "http://127.0.0.1:1", Ratio: 1, Service: "s"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := tracer.Span(t.Context(), context.Background(), "op")
	end(nil)
	headers := http.Header{}
	tracer.Call(ctx, "op", headers)(200)
	if ctx != t.Context() || len(headers) > 0 {
		t.Errorf("%v", headers)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func TestTraceIDs(t *testing.T) {
	tracer, err := New(Config{Endpoint: "http://127.0.0.1:1", Service: "s"})
	if err != nil {
		t.Fatal(err)
	}
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
	for header, want := range map[string]string{parent + "1": "4bf92f3577b34da6a3ce929d0e0e4736", parent + "0": "", "": ""} {
		ctx, end := tracer.Serve(t.Context(), "op", header, "")
		if got := tracer.TraceID(ctx); got != want {
			t.Errorf("under %q: %q; want %q", header, got, want)
		}
		end(200)
	}
	if got := tracer.TraceID(t.Context()); got != "" {
		t.Errorf("without a span: %q", got)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func TestParents(t *testing.T) {
	good := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if c := parseParent(good, "a=b"); !c.valid() || c.traceparent() != good || c.state != "a=b" {
		t.Errorf("%+v", c)
	}
	if c := parseParent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", strings.Repeat("x", 513)); !c.valid() || c.state != "" {
		t.Errorf("a later version: %+v", c)
	}
	for _, bad := range []string{"", "00", "ff" + good[2:], strings.ToUpper(good), good + "-x", good[:54], good + "0", "00-" + strings.Repeat("0", 32) + good[35:],
		good[:36] + strings.Repeat("0", 16) + "-01", "0x" + good[2:], "00-" + good[3:34] + "--" + good[36:]} {
		if c := parseParent(bad, "a=b"); c.valid() {
			t.Errorf("%q: %+v", bad, c)
		}
	}
}

func FuzzParent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, text string) {
		if c := parseParent(text, ""); c.valid() && strings.HasPrefix(text, "00") && !strings.HasPrefix(c.traceparent(), text[:53]) {
			t.Errorf("%q is read as %q", text, c.traceparent())
		}
	})
}

// The ratio of the traces that are sampled is the one asked for.
func TestRatio(t *testing.T) {
	for _, want := range []float64{0, 0.1, 1} {
		n := 0
		for range 20_000 {
			if newTrace(uint64(want*(1<<63))).flags&sampled != 0 {
				n++
			}
		}
		if got := float64(n) / 20_000; got < want-0.02 || got > want+0.02 {
			t.Errorf("%g of the traces are sampled, want %g", got, want)
		}
	}
}
