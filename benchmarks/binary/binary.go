// Package binary builds the program that is measured.
package binary

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds edgecache from the tree beside this module, and returns the file, which is in dir.
func Build(ctx context.Context, dir string) (string, error) {
	file := filepath.Join(dir, "edgecache")
	text, err := exec.CommandContext(ctx, "go", "build", "-C", "..", "-o", file, "./cmd/edgecache").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build edgecache: %w: %s", err, text)
	}
	return file, nil
}
