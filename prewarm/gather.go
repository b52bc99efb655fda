package prewarm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// gathering folds what sources stream into the newest users. It holds at most a few times as many
// as it is to return, however many there are.
type gathering struct {
	most  int
	since time.Time
	// seen is when a user was last active. A user who was forgotten was older than most others, and
	// comes back if a newer time of his turns up.
	seen map[string]int64
}

// roomFactor is how many times the users wanted are held before the older ones are forgotten.
const roomFactor = 3

func newGathering(most int, since time.Time) *gathering {
	return &gathering{most: most, since: since, seen: make(map[string]int64)}
}

func (g *gathering) add(u User) {
	at := u.LastActive.UnixMilli()
	old, ok := g.seen[u.ID]
	if ok && old >= at {
		return
	}
	id := u.ID
	if !ok {
		id = strings.Clone(id)
	}
	g.seen[id] = at
	if len(g.seen) >= roomFactor*g.most+1000 {
		g.forget()
	}
}

// forget keeps the newest.
func (g *gathering) forget() {
	for _, u := range g.sorted()[g.most:] {
		delete(g.seen, u.ID)
	}
}

// sorted returns all users, newest first, those of one time by their ids.
func (g *gathering) sorted() []User {
	users := make([]User, 0, len(g.seen))
	for id, at := range g.seen {
		users = append(users, User{id, time.UnixMilli(at)})
	}
	slices.SortFunc(users, func(a, b User) int {
		if c := b.LastActive.Compare(a.LastActive); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return users
}

// newest returns the users wanted, newest first.
func (g *gathering) newest() []User {
	users := g.sorted()
	return users[:min(len(users), g.most)]
}

// from reads one source to its end. Its error is in the count.
func (g *gathering) from(ctx context.Context, s Source) (c SourceCount) {
	began := time.Now()
	c.Name = s.Name()
	defer func() {
		if r := recover(); r != nil {
			c.Error = fmt.Sprintf("it panicked: %v", r)
		}
		c.Duration = time.Since(began).Milliseconds()
	}()
	for u, err := range s.Active(ctx, g.since) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			c.Error = err.Error()
			break
		}
		c.Users++
		switch invalid := profile.CheckID(u.ID); {
		case invalid != nil:
			c.Invalid++
			c.because(invalid)
		case u.LastActive.Before(g.since):
			c.Old++
		default:
			g.add(u)
		}
	}
	if s, ok := s.(interface{ Skipped() (int64, []error) }); ok {
		var reasons []error
		c.Skipped, reasons = s.Skipped()
		for _, why := range reasons {
			c.because(why)
		}
	}
	return c
}

// because adds why one was passed over, if there is room.
func (c *SourceCount) because(why error) {
	const most, longest = 10, 200
	if len(c.Reasons) < most {
		text := strings.ToValidUTF8(strings.TrimPrefix(why.Error(), "profile: "), "")
		c.Reasons = append(c.Reasons, strings.ToValidUTF8(text[:min(len(text), longest)], ""))
	}
}

// gather reads all sources. One that fails costs its users; the error says that all have failed.
func gather(ctx context.Context, sources []Source, o Options, now time.Time, note func([]SourceCount)) ([]User, error) {
	g := newGathering(o.MaxUsers, now.AddDate(0, 0, -o.DaysBack))
	var counts []SourceCount
	failed := 0
	for _, s := range sources {
		c := g.from(ctx, s)
		counts = append(counts, c)
		note(counts)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("prewarm: plan: %w", context.Cause(ctx))
		}
		if c.Error != "" {
			failed++
		}
	}
	if failed > 0 && failed == len(sources) {
		return nil, fmt.Errorf("prewarm: plan: no source could be read to its end; %s: %s", counts[0].Name, counts[0].Error)
	}
	return g.newest(), nil
}
