//go:build !linux

package pgtest

import "syscall"

// Only Linux ends a child with its parent. Elsewhere a server outlives a test binary that was
// killed; one that ends on its own still closes its servers.
func dieWithParent(*syscall.SysProcAttr) {}
