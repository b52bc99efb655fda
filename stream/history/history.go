// Package history shows people what the stream of changes says: entry by entry, and of one user.
package history

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/stream"
)

const (
	// span is how many entries Of looks through at most, in pages of page.
	span = 10_000
	page = 500
)

// Line is what an entry says, for people.
type Line struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind,omitempty"`
	User    string    `json:"user,omitempty"`
	Version int64     `json:"version,omitempty"`
	// Form is "whole" for an event with the whole profile, "patch" for one with parts of it, "bare"
	// for one with nothing of it, "malformed" for what is no event.
	Form string `json:"form"`
	// Hint says that another service wrote it, so that its version is none of the origin's.
	Hint   bool   `json:"hint,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// LineOf reads an entry. The id of a user is there also when the rest is malformed.
func LineOf(entry redis.XMessage) Line {
	e, err := stream.Decode(entry.Values)
	l := Line{ID: entry.ID, At: at(entry.ID), User: e.UserID, Version: e.Version, Hint: e.Hint}
	switch {
	case err != nil:
		l.Form, l.Reason = "malformed", strings.TrimPrefix(err.Error(), "stream: ")
		return l
	case e.Profile != nil:
		l.Form = "whole"
	case e.Patch != nil:
		l.Form = "patch"
	default:
		l.Form = "bare"
	}
	if l.Kind = e.Kind.Event(); e.Degraded {
		l.Reason = "its whole profile is not readable"
	}
	return l
}

// at is when an entry was added, by the clock of the server.
func at(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseInt(ms, 10, 64) // as Redis writes it
	return time.UnixMilli(n).UTC()
}

// Past is what the stream has of one user.
type Past struct {
	// Events are the entries about the user, the latest first.
	Events []Line `json:"events"`
	// Searched is how many of the stream's last entries were looked through, Since when the first
	// of these was added; the zero time when there was none.
	Searched int       `json:"searched"`
	Since    time.Time `json:"since,omitzero"`
}

// Of looks for the last events of a user, at most most of them, among the last 10,000 entries of
// the stream under key; "" stands for "events:users". It changes nothing. Errors are the client's;
// what was found before comes with them.
func Of(ctx context.Context, client redis.UniversalClient, key, user string, most int) (Past, error) {
	key = cmp.Or(key, stream.Name)
	past := Past{Events: []Line{}}
	for to := "+"; past.Searched < span && len(past.Events) < most; {
		entries, err := client.XRevRangeN(ctx, key, to, "-", page).Result()
		if err != nil {
			return past, fmt.Errorf("stream: history of %q: %w", user, err)
		}
		for _, entry := range entries {
			line := LineOf(entry)
			past.Searched, past.Since = past.Searched+1, line.At
			if line.User == user && len(past.Events) < most {
				past.Events = append(past.Events, line)
			}
		}
		if len(entries) < page {
			break
		}
		to = "(" + entries[len(entries)-1].ID
	}
	return past, nil
}
