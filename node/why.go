package node

import (
	"context"
	"time"

	"github.com/chatapp-ngomna/edgecache/stream/history"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// whyEvents is how many events Why tells of, whyStream bounds the look for them.
	whyEvents = 10
	whyStream = time.Second
)

// Why is what a node knows about its answers for one user.
type Why struct {
	// Node is the name of the node that tells, At its time.
	Node string    `json:"node"`
	At   time.Time `json:"at"`
	look.Why
	// Past is what the stream has of the user, PastError why it could not be looked through.
	Past      history.Past `json:"past"`
	PastError string       `json:"pastError,omitempty"`
}

// Why says what each tier holds of a user, what the stream has of it, and what a read would be
// answered and why; see tier.Cache.Why. It asks Redis and the origin, which may take as long as a
// load. Errors wrap profile.ErrInvalidID or tier.ErrClosed.
func (n *Node) Why(ctx context.Context, id string) (Why, error) {
	w := Why{Node: n.name(), At: time.Now().UTC()}
	looked := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, whyStream)
		defer cancel()
		var err error
		w.Past, err = history.Of(ctx, n.client, "", id, whyEvents)
		looked <- err
	}()
	why, err := n.cache.Why(ctx, id)
	past := <-looked
	if w.Why = why; past != nil {
		w.PastError = past.Error()
	}
	return w, err
}

// name is the node's in the cluster.
func (n *Node) name() string {
	if n.gossip == nil {
		return alone
	}
	return n.gossip.Self().Name
}
