package api

import (
	"encoding/json"
	"testing"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/openapi"
	"github.com/chatapp-ngomna/edgecache/node"
)

// TestWhyOfANodeIsAsDescribed asks a whole node about a user before and after it was read, and
// changed.
func TestWhyOfANodeIsAsDescribed(t *testing.T) {
	redis, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })
	n, err := node.New(node.Config{RedisURL: redis.URL(), Origin: &everyone{asked: map[string]int{}}, NoWatch: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, d := serve(t, n), document(t)
	for _, step := range []struct {
		method, target string
		tier           string
		events         int
	}{
		{"GET", "/v1/users/1", "origin", 0},
		{"POST", "/v1/users/1/invalidate", "L1", 0},
		{"GET", "/v1/users/1", "origin", 1},
	} {
		const route = "GET /v1/users/{id}/why"
		r := send(t, s, "GET", "/v1/users/1/why", "")
		if err := d.CheckExchange(openapi.Exchange{Route: route, Status: r.StatusCode, Answer: r.Header, Content: r.body}); err != nil {
			t.Error(err)
		}
		var w node.Why
		if err := json.Unmarshal([]byte(r.body), &w); err != nil {
			t.Fatal(err)
		}
		if w.Read.Tier != step.tier || len(w.Past.Events) != step.events || w.Origin.Profile == nil || w.RedisError != "" || w.PastError != "" {
			t.Errorf("before %s: %s; want an answer of %s, and %d events", step.target, r.body, step.tier, step.events)
		}
		send(t, s, step.method, step.target, "", jsonType)
	}
}
