package node

import (
	"strconv"
	"testing"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// BenchmarkKept looks 10,000 users up in L1, as they are and as functions show them.
func BenchmarkKept(b *testing.B) {
	n, err := New(Config{RedisURL: redistest.Server(b).URL(), Origin: registered(10_000), Functions: &edge.FunctionsConfig{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close() })
	if err := n.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	look := map[string]Through{"hit": {}, "hide-matricule": {Request: edge.Request{Claims: edge.Map{"role": "guest"}}},
		"display-name": {Request: edge.Request{Locale: "fr-CM"}}, "avatar-size": {Request: edge.Request{Args: edge.Map{"size": "64"}}}}
	for _, name := range []string{"hit", "hide-matricule", "display-name", "avatar-size"} {
		through := look[name]
		if name != "hit" {
			through.Functions = []string{name}
			if _, err := n.Functions().Push(b.Context(), name, example(b, name), edge.PushOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		view := func(i int) {
			if _, err := n.View(b.Context(), ids[i%len(ids)], through, tier.Want{}); err != nil {
				b.Fatal(err)
			}
		}
		for i := range 2 * len(ids) {
			view(i)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				view(i)
			}
		})
	}
}
