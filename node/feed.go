package node

import (
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// feed turns what the tail reads into what the cache must know.
type feed struct{ cache *tier.Cache }

// Handle takes one event. An event with the whole profile refreshes it in place; any other ends its validity. The
// timestamp of an invalidation is no version: what it forgets may come back as it was.
func (f feed) Handle(e stream.Event) {
	switch {
	case e.Kind == profile.Invalidated:
		f.cache.Forget(e.UserID, 0)
	case e.Kind != profile.Deleted && e.Profile != nil:
		f.cache.Refresh(e.Profile)
	default:
		f.cache.Forget(e.UserID, e.Version)
	}
}

// Flush is called when events may have been missed.
func (f feed) Flush(string) { f.cache.Flush() }

// Alive is called after each successful read of the stream.
func (f feed) Alive(age time.Duration) { f.cache.Alive(age) }
