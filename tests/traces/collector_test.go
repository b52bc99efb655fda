package traces

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sink is a collector: it keeps the spans that it is told, by trace.
type sink struct {
	url string

	mu     sync.Mutex
	broken []error            // guarded by mu: requests that were none
	told   map[string][]*span // guarded by mu
}

// span is one that was told, and by what.
type span struct {
	*spans.Span
	service string
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{told: map[string][]*span{}}
	server := httptest.NewServer(http.HandlerFunc(s.take))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) take(w http.ResponseWriter, r *http.Request) {
	var in collector.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &in)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || len(in.ProtoReflect().GetUnknown()) > 0 {
		s.broken = append(s.broken, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, from := range in.ResourceSpans {
		service := ""
		for _, a := range from.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scope := range from.ScopeSpans {
			for _, one := range scope.Spans {
				id := hex.EncodeToString(one.TraceId)
				s.told[id] = append(s.told[id], &span{one, service})
			}
		}
	}
}

// await returns the spans of a trace once there are n.
func (s *sink) await(t *testing.T, id string, n int) []*span {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		got, broken := s.told[id], s.broken
		s.mu.Unlock()
		if len(broken) > 0 {
			t.Fatalf("what came is no OTLP: %v", broken)
		}
		if len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			var names []string
			for _, one := range got {
				names = append(names, one.Name)
			}
			t.Fatalf("%d spans of trace %s came, want %d: %q", len(got), id, n, names)
		}
	}
}

// traces returns how many traces were told of.
func (s *sink) traces() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.told)
}
