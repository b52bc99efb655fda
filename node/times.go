package node

import (
	"github.com/chatapp-ngomna/edgecache/internal/histo"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// Times are how long things have taken on this node since it was made.
type Times struct {
	look.Times
	// Events are how old the entries of the stream were when they had been handled.
	Events *histo.Snapshot
}

// Times returns a snapshot.
func (n *Node) Times() Times { return Times{n.cache.Times(), n.tail.Ages()} }
