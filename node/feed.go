package node

import (
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// feed turns what the tail reads into what the cache must know.
type feed struct{ cache *tier.Cache }

// Handle takes one event. One that the store has been through is news to the memory alone. A hint
// has the origin asked; an announcement with the whole profile refreshes it in place, and one of a
// deletion ends its validity.
func (f feed) Handle(e stream.Event) {
	switch {
	case e.Hint:
		f.cache.Heed(e.UserID, tier.Hint{
			Order: e.Order(), At: e.Version, Says: e.Patch, Deleted: e.Kind == profile.Deleted,
		})
	case e.Known && e.Profile != nil:
		f.cache.Remind(e.UserID, e.Version)
	case e.Kind == profile.Deleted:
		f.cache.Forget(e.UserID, e.Version)
	default:
		f.cache.Refresh(e.Profile)
	}
}

// Flush is called when events may have been missed.
func (f feed) Flush(string) { f.cache.Flush() }

// Alive is called after each successful read of the stream.
func (f feed) Alive(age time.Duration) { f.cache.Alive(age) }
