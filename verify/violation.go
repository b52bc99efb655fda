package verify

import (
	"fmt"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Violation is an answer that contradicts a change of which the node had time to hear, with all
// that is known of it.
type Violation struct {
	Node string `json:"node"`
	User string `json:"user"`
	// After is the checkpoint, and Entry the id of the oldest change that the answer contradicts.
	After profile.Millis `json:"afterMs"`
	Entry string         `json:"entry"`
	// Rule says what the answer should have been.
	Rule string `json:"rule"`
	// Version, Absent, Tier and Age are the answer.
	Version int64          `json:"version"`
	Absent  bool           `json:"absent,omitempty"`
	Tier    string         `json:"tier,omitempty"`
	Age     profile.Millis `json:"ageMs"`
	// Lag is for how long the change had been known when the node last gave a wrong answer. Over is
	// true once the node was seen to be right again, or was asked for as long as it would be: then
	// Lag is final.
	Lag  profile.Millis `json:"lagMs"`
	Over bool           `json:"over"`
	// Still is true beside Over if the node was wrong to the end.
	Still bool `json:"still,omitempty"`
	// History has the user's last changes, Nodes what every node said of him right after.
	History []HistoryEntry `json:"history"`
	Nodes   []NodeAnswer   `json:"nodes"`
}

// HistoryEntry is one change in a Violation.
type HistoryEntry struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Version int64     `json:"version"`
	At      time.Time `json:"at"`
	// Known is how long before the wrong answer was asked for the entry had been read.
	Known profile.Millis `json:"knownMs"`
}

// NodeAnswer is what a node says of one user when it is asked for him alone; Age is the header, in
// seconds.
type NodeAnswer struct {
	Node        string         `json:"node"`
	Version     int64          `json:"version"`
	Absent      bool           `json:"absent,omitempty"`
	Age         profile.Millis `json:"ageMs,omitempty"`
	ETag        string         `json:"etag,omitempty"`
	CacheStatus string         `json:"cacheStatus,omitempty"`
	Error       string         `json:"error,omitempty"`
}

func newViolation(node string, u *user, c *change, history []*change, a *answer) *Violation {
	v := &Violation{Node: node, User: u.id, Entry: c.id, Rule: c.rule(), Version: a.version, Absent: a.absent, Tier: a.tier,
		Age: profile.Millis(a.age), Lag: profile.Millis(a.sent.Sub(c.known))}
	for _, h := range history {
		v.History = append(v.History, HistoryEntry{h.id, h.kind.Event(), h.version, h.at.UTC(), profile.Millis(a.sent.Sub(h.known))})
	}
	return v
}

// rule says what a change demands.
func (c *change) rule() string {
	switch {
	case c.version == 0:
		return "an answer that was asked for after the invalidation"
	case c.gone():
		return fmt.Sprintf("no such user, or one above version %d", c.version)
	}
	return fmt.Sprintf("version %d or above", c.version)
}

// String returns the violation for people, several lines.
func (v Violation) String() string {
	var b strings.Builder
	if v.Over {
		fmt.Fprintf(&b, "over: user %s on %s", v.User, v.Node)
		if v.Still {
			fmt.Fprintf(&b, " is still wrong %v after the change; not asked for any more\n", v.Lag.Duration().Round(time.Millisecond))
		} else {
			fmt.Fprintf(&b, " was last wrong %v after the change\n", v.Lag.Duration().Round(time.Millisecond))
		}
		return b.String()
	}
	fmt.Fprintf(&b, "VIOLATION  user %s on %s, %v after the change (checkpoint %v)\n", v.User, v.Node, v.Lag.Duration().Round(time.Millisecond), v.After)
	fmt.Fprintf(&b, "  want  %s, by entry %s\n  got   %s\n", v.Rule, v.Entry, v.answer())
	for _, h := range v.History {
		fmt.Fprintf(&b, "  event %s  %s  %s  version %d, read %v before\n", h.ID, h.At.Format("15:04:05.000"), h.Kind, h.Version, h.Known.Duration().Round(time.Millisecond))
	}
	for _, n := range v.Nodes {
		fmt.Fprintf(&b, "  now   %s  %s\n", n.Node, n)
	}
	return b.String()
}

func (v Violation) answer() string {
	if v.Absent {
		return "no such user"
	}
	return fmt.Sprintf("version %d from %s, %v old", v.Version, v.Tier, v.Age.Duration().Round(time.Millisecond))
}

// String returns the answer in words.
func (n NodeAnswer) String() string {
	switch {
	case n.Error != "":
		return "failed: " + n.Error
	case n.Absent:
		return "no such user"
	}
	return fmt.Sprintf("version %d, %v old, %s", n.Version, n.Age, n.CacheStatus)
}
