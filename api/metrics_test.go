package api

import (
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
)

// asking is a node that knows about its calls of the origin.
type asking struct {
	*fakeNode
	calls origin.ClientStats
}

func (a *asking) Stats() node.Stats {
	s := a.fakeNode.Stats()
	s.Origin = &a.calls
	return s
}

func TestMetricsOfTheOrigin(t *testing.T) {
	a := &asking{newFake("1"), origin.ClientStats{Breaker: "open", Opened: 2, Requests: 30, Failures: 4, Retries: 5, Refused: 6, Hedges: 7, HedgesWon: 1}}
	text := send(t, serve(t, a), "GET", "/metrics", "").body
	for _, want := range []string{
		"edgecache_origin_breaker_state 2", "edgecache_origin_breaker_opened_total 2", "edgecache_origin_requests_total 30", "edgecache_origin_failures_total 4",
		"edgecache_origin_retries_total 5", "edgecache_origin_refused_total 6", "edgecache_origin_hedges_total 7", "edgecache_origin_hedges_won_total 1",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	if text := send(t, serve(t, newFake("1")), "GET", "/metrics", "").body; strings.Contains(text, "origin_breaker") {
		t.Error("a node that knows nothing of its calls shows a breaker")
	}
	for name, want := range map[string]float64{"closed": 0, "half-open": 1, "open": 2} {
		if got := breakerState(name); got != want {
			t.Errorf("%s is %v; want %v", name, got, want)
		}
	}
}

// TestMetricsOfANode reads what a node that has seen some requests exports.
func TestMetricsOfANode(t *testing.T) {
	s := serve(t, newFake("1"))
	for _, path := range []string{"/v1/users/1", "/v1/users/9", "/v1/users/a%20b"} {
		send(t, s, "GET", path, "")
	}
	text := send(t, s, "GET", "/metrics", "").body
	for _, want := range []string{
		`edgecache_http_requests_total{class="2xx",method="GET",route="/v1/users/:id"} 1`, `edgecache_http_requests_total{class="4xx",method="GET",route="/v1/users/:id"} 2`,
		`edgecache_http_requests_total{class="2xx",method="PUT",route="/v1/users/:id"} 0`, `edgecache_stream_gaps_total{reason="failover"} 0`,
		`edgecache_stream_refused_total{reason="malformed"} 0`, "edgecache_redis_up 1", "edgecache_troubles 0", "edgecache_l1_evictions_total 0", "edgecache_prewarm_hits_total 0",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	if !strings.Contains(text, `edgecache_build_info{goversion="go1.`) {
		t.Error("no build")
	}
}
