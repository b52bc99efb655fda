package oracle

import (
	"fmt"
	"strings"
	"time"
)

// Kind is which promise was broken.
type Kind uint8

const (
	// Old is a version below one whose acknowledgement had bound.
	Old Kind = iota + 1
	// Resurrected is a version whose removal had bound.
	Resurrected
	// Lost is no answer for a key whose write had bound and that nobody removed.
	Lost
	// Back is a version below one that an earlier read on the same node returned.
	Back
	// Told is a version that the node itself had been told not to show.
	Told
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Old:
		return "old version"
	case Resurrected:
		return "removed version"
	case Lost:
		return "lost"
	case Back:
		return "went back"
	case Told:
		return "knew better"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Violation is one read that broke a promise.
type Violation struct {
	Kind Kind
	Key  string
	// Node is the name of the node that answered, empty for a read without one.
	Node string
	// Version that was returned; 0 when Kind is Lost.
	Version int64
	// Stale is whether the answer was marked so.
	Stale bool
	// Oldest is the oldest version that would have been right.
	Oldest int64
	// Start of the read.
	Start time.Time
	// Lag is how long before Start the answer had been overtaken by an acknowledged change; 0 when
	// it had not been.
	Lag time.Duration
	// History is the end of what was acknowledged for the key, by time.
	History []Ack
}

// String prints the violation with the key's history, times relative to the start of the read.
func (v *Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: key %q", v.Kind, v.Key)
	if v.Node != "" {
		fmt.Fprintf(&b, " on %s", v.Node)
	}
	fmt.Fprintf(&b, " returned version %d (stale %t), want at least %d; overtaken %v before the read began\n",
		v.Version, v.Stale, v.Oldest, v.Lag)
	for _, a := range v.History {
		what := "acked"
		if a.Removed {
			what = "removed"
		}
		fmt.Fprintf(&b, "  %12v %s %d\n", a.At.Sub(v.Start), what, a.Version)
	}
	return b.String()
}
