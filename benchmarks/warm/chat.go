package warm

import (
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/trace"
	"github.com/chatapp-ngomna/edgecache/prewarm"
)

const activeFor = 7 * 24 * time.Hour

// lookup is one profile that one node has to show.
type lookup struct {
	node   int
	id     string
	active bool // in the seven days before the restart
}

// chat is what a recorded chat means for the minute after the restart.
type chat struct {
	restart time.Time
	// active holds who wrote or was mentioned in the seven days before the restart, and when last.
	active map[string]time.Time
	// lookups follow the restart, in order.
	lookups []lookup
}

// readChat reads the trace twice: to find where the restart is, then what came before and after it.
// A node shows a message to the members of the room that it serves; a user who has spoken in a room
// is a member.
func readChat(p params) (*chat, error) {
	total, err := each(p.trace, func(int, trace.Message) bool { return true })
	if err != nil {
		return nil, err
	}
	first := int(p.at * float64(total))
	c := &chat{active: map[string]time.Time{}}
	if _, err := each(p.trace, func(i int, m trace.Message) bool {
		if i == first {
			c.restart = m.At
		}
		return i < first
	}); err != nil {
		return nil, err
	}
	want := int(p.lasts.Seconds() * float64(p.rate))
	rooms := map[string]uint64{}
	_, err = each(p.trace, func(i int, m trace.Message) bool {
		rooms[m.Room] |= 1 << home(m.User, p.nodes)
		if i < first {
			if c.restart.Sub(m.At) <= activeFor {
				for _, id := range m.Shown {
					c.active[id] = m.At
				}
			}
			return true
		}
		for n := range p.nodes {
			if rooms[m.Room]&(1<<n) == 0 {
				continue
			}
			for _, id := range m.Shown {
				_, active := c.active[id]
				c.lookups = append(c.lookups, lookup{n, id, active})
			}
		}
		return len(c.lookups) < want
	})
	if err == nil && len(c.lookups) < want {
		err = fmt.Errorf("only %d lookups follow the restart; want %d: -at, -rate or -for is too high", len(c.lookups), want)
	}
	return c, err
}

// each hands over the messages until f returns false, and returns how many there were.
func each(path string, f func(i int, m trace.Message) bool) (n int, err error) {
	r, err := trace.Open(path)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for r.Next() {
		if !f(n, r.Message) {
			return n, nil
		}
		n++
	}
	return n, r.Err
}

// home is the node that serves a user.
func home(id string, nodes int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % uint32(nodes))
}

// Name implements prewarm.Source.
func (c *chat) Name() string { return "chat" }

// Active implements prewarm.Source: the chat's past ends now.
func (c *chat) Active(_ context.Context, since time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		now := time.Now()
		for id, at := range c.active {
			u := prewarm.User{ID: id, LastActive: now.Add(at.Sub(c.restart))}
			// the seven days have moved on by the moment that it took to begin
			if u.LastActive.Before(since) {
				u.LastActive = since
			}
			if !yield(u, nil) {
				return
			}
		}
	}
}
