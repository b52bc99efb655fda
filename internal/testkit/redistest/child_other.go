//go:build !linux

package redistest

import "syscall"

// Only Linux ends a child with its parent. Elsewhere a server outlives a test binary that was
// killed; one that ends on its own still closes its servers.
func dieWithParent(*syscall.SysProcAttr) {}

func (c *child) awaitStopped() error { return nil }
