package node

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// DeadLetter is an entry of the stream that no worker could apply, without its content.
type DeadLetter struct {
	// ID is its id among the dead letters, Entry the one that it had in the stream.
	ID    string `json:"id"`
	Entry string `json:"entry"`
	// At is when it was moved there, by Redis's clock.
	At time.Time `json:"at"`
	// Reason says why, Deliveries how often it was tried.
	Reason     string `json:"reason"`
	Deliveries int64  `json:"deliveries"`
	// User is the one that it is about, "" when that cannot be read.
	User string `json:"user,omitempty"`
	// Cut says that it was too large to be kept whole, so that it cannot be put back.
	Cut bool `json:"cut,omitempty"`
}

// DeadLetters returns up to count entries that no worker could apply, the newest first, at most
// 1,000. It asks Redis, whose errors it returns.
func (n *Node) DeadLetters(ctx context.Context, count int) ([]DeadLetter, error) {
	dead, err := stream.NewDeadLetters(stream.DeadConfig{Client: n.client})
	if err != nil {
		return nil, err
	}
	letters, err := dead.List(ctx, "+", count)
	if err != nil {
		return nil, err
	}
	out := make([]DeadLetter, len(letters))
	for i, l := range letters {
		out[i] = DeadLetter{ID: l.ID, Entry: l.Entry, At: l.At.UTC(), Reason: l.Reason, Deliveries: l.Deliveries,
			User: userIn(l.Fields["payload"]), Cut: l.Cut}
	}
	return out, nil
}

// userIn returns the id of the user that a payload names as text or number, "" for none.
func userIn(payload string) string {
	var named struct {
		UserID json.RawMessage `json:"userId"`
		ID     json.RawMessage `json:"id"`
	}
	if json.Unmarshal([]byte(payload), &named) != nil {
		return ""
	}
	id := strings.Trim(cmp.Or(string(named.UserID), string(named.ID)), `"`)
	if id == "null" || profile.CheckID(id) != nil {
		return ""
	}
	return id
}
