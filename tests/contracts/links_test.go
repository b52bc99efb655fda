package contracts

import (
	"os/exec"
	"strings"
	"testing"
)

// TestTheTruthLinksNoMemoryTier: what needs the Redis tier alone does not link a node's memory.
func TestTheTruthLinksNoMemoryTier(t *testing.T) {
	for _, pkg := range []string{"./source", "./stream", "./tier/l2", "./verify"} {
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg)
		list.Dir = "../.."
		out, err := list.Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", pkg, err)
		}
		if strings.Contains(string(out), "github.com/dgraph-io/ristretto") {
			t.Errorf("%s links ristretto", pkg)
		}
	}
}
