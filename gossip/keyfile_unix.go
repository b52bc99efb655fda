//go:build unix

package gossip

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives temp the owner of old, as far as this process may: root who turns keys must not
// lock the node out.
func keepOwner(temp *os.File, old fs.FileInfo) {
	if s, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = temp.Chown(int(s.Uid), int(s.Gid))
	}
}
