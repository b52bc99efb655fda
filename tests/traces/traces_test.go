package traces

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/internal/tracing"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	traceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerID = "00f067aa0ba902b7"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newTracer(t *testing.T, s *sink, service string, ratio float64) *tracing.Tracer {
	t.Helper()
	tracer, err := tracing.New(tracing.Config{Endpoint: s.url, Ratio: ratio, Service: service, Version: "v1"})
	check(t, err)
	t.Cleanup(func() { check(t, tracer.Close()) })
	return tracer
}

// serve runs an origin and a node that tell s, and returns the URL of the node.
func serve(t *testing.T, s *sink, ratio float64) string {
	t.Helper()
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	_, err := store.BulkLoad(t.Context(), sample.Users(1, 10))
	check(t, err)
	_, at := truth.StartService(t, source.ServiceConfig{Store: store, Trace: newTracer(t, s, "edgecache-origin", ratio)})
	tracer := newTracer(t, s, "edgecache-node", ratio)
	client, err := origin.NewClient(origin.ClientConfig{URL: at, Trace: tracer.Call})
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	check(t, client.Start(t.Context()))
	n, err := node.New(node.Config{RedisURL: redistest.Server(t).URL(), Origin: client, Tier: tier.Config{Trace: tracer.Span}})
	check(t, err)
	t.Cleanup(func() { _ = n.Close() })
	check(t, n.Start(t.Context()))
	server, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0", Trace: tracer})
	check(t, err)
	check(t, server.Start(t.Context()))
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + server.Addr().String()
}

// get asks for a path, with a traceparent if there is one, and returns the status.
func get(t *testing.T, url, parent string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	check(t, err)
	if parent != "" {
		req.Header.Set("traceparent", parent)
		req.Header.Set("tracestate", "who=caller")
	}
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// tree draws spans, each under its parent, in the order in which they began.
func tree(all []*span, parent string, depth int) string {
	var b strings.Builder
	for {
		var next *span
		for _, s := range all {
			if hex.EncodeToString(s.ParentSpanId) == parent && (next == nil || s.StartTimeUnixNano < next.StartTimeUnixNano) &&
				!strings.Contains(b.String(), hex.EncodeToString(s.SpanId)) {
				next = s
			}
		}
		if next == nil {
			return b.String()
		}
		id := hex.EncodeToString(next.SpanId)
		fmt.Fprintf(&b, "%s%s: %s %s\x00%s\n", strings.Repeat("  ", depth), next.service, next.Name, strings.TrimPrefix(next.Kind.String(), "SPAN_KIND_"), id)
		b.WriteString(tree(all, id, depth+1))
	}
}

// One request's way through node, Redis and origin is one trace, under the caller's span.
func TestOneRequestIsOneTrace(t *testing.T) {
	s := newSink(t)
	url := serve(t, s, 0) // the caller decides
	if got := get(t, url+"/v1/users/1", "00-"+traceID+"-"+callerID+"-01"); got != 200 {
		t.Fatal(got)
	}
	all := s.await(t, traceID, 7)
	var lines []string
	for line := range strings.Lines(tree(all, callerID, 0)) {
		text, _, _ := strings.Cut(line, "\x00")
		lines = append(lines, text)
	}
	want := []string{
		"edgecache-node: GET /v1/users/{id} SERVER",
		"  edgecache-node: redis read INTERNAL",
		"  edgecache-node: load from the origin INTERNAL",
		"    edgecache-node: origin load CLIENT",
		"      edgecache-origin: origin serves GET SERVER",
		"    edgecache-node: redis fill INTERNAL",
		"  edgecache-node: redis begin INTERNAL",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the trace is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	for _, one := range all {
		if one.EndTimeUnixNano < one.StartTimeUnixNano || one.TraceState != "who=caller" || one.Flags&1 == 0 {
			t.Errorf("%v", one)
		}
	}
}

// A hit is a span of its own and nothing more; what failed is marked, and a batch is one trace too.
func TestHitsFailuresAndBatches(t *testing.T) {
	s := newSink(t)
	url := serve(t, s, 0)
	ask := func(path string, number, spans, status int) []*span {
		id := fmt.Sprintf("%032x", number)
		if got := get(t, url+path, "00-"+id+"-"+callerID+"-01"); got != status {
			t.Fatalf("%s: %d", path, got)
		}
		return s.await(t, id, spans)
	}
	ask("/v1/users/2", 1, 7, 200)
	if hit := ask("/v1/users/2", 2, 1, 200); hit[0].Name != "GET /v1/users/{id}" || hit[0].Status != nil {
		t.Errorf("a hit: %v", hit)
	}
	absent := ask("/v1/users/nobody", 3, 6, 404)
	for _, one := range absent {
		if one.Kind.String() == "SPAN_KIND_CLIENT" && one.Status.GetCode().String() != "STATUS_CODE_ERROR" {
			t.Errorf("404 of the origin: %v", one)
		}
	}
	if batch := ask("/v1/users?ids=3,4,5", 4, 6, 200); batch[0].service == "" {
		t.Errorf("%v", batch)
	}
}

// Without a caller's word the ratio decides, and "not sampled" is heard.
func TestSampling(t *testing.T) {
	s := newSink(t)
	never, always := serve(t, s, 0), serve(t, s, 1)
	for range 5 {
		get(t, never+"/v1/users/1", "")
		get(t, always+"/v1/users/1", "00-"+traceID+"-"+callerID+"-00")
	}
	get(t, always+"/v1/users/2", "")
	for end := time.Now().Add(30 * time.Second); s.traces() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was told with a ratio of 1")
		}
	}
	get(t, always+"/v1/users/3", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.told) > 2 || s.told[traceID] != nil {
		t.Errorf("%d traces, of the one that was not to be sampled %v", len(s.told), s.told[traceID])
	}
}
