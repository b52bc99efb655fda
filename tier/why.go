package tier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// whyRedis bounds what Redis may take of a Why.
const whyRedis = time.Second

// explained is a Why, as it is filled in.
type explained struct{ look.Why }

// Why says what this node, Redis and the origin hold of a user, and what a read would be answered
// and why. It changes nothing that a reader could see: no load begins, nothing in Redis is
// repaired, and the copy that is held has been used once more. Redis and the origin are asked each
// time, also when they count as down; what they do not answer is in the result.
//
// Errors wrap profile.ErrInvalidID or ErrClosed.
func (c *Cache) Why(ctx context.Context, id string) (look.Why, error) {
	if err := profile.CheckID(id); err != nil {
		return look.Why{}, fmt.Errorf("tier: why: %w", err)
	}
	s := c.counters.stripe()
	s.entered.Add(1)
	defer s.leaveAgain()
	if c.closed.Load() {
		return look.Why{}, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, c.conf.LoadDeadline)
	defer cancel()
	w := explained{look.Why{ID: id, RedisDown: c.l2.Down()}}
	held := c.whyMemory(&w)
	kept := c.whyStore(&w)
	c.whyRedis(ctx, &w)
	c.whyOrigin(ctx, &w)
	where := "in memory"
	if held == nil {
		held, where = kept, "on disk"
	}
	w.Read = c.whyRead(&w, held, where)
	return w.Why, nil
}

// whyMemory fills in what this node knows without asking, and returns the copy that it would show
// for want of a better one.
func (c *Cache) whyMemory(w *explained) (held *entry) {
	now, h := c.clock.tick(), c.l1.hash(w.ID)
	pair := c.l1.stamps.of(h)
	w.Fenced = !c.alive(now)
	w.News = c.recent.floor(w.ID, now)
	if hint := c.hints.last(w.ID, now); hint != nil {
		w.Hint = hint.Order
	}
	if at := c.flushed.Load(); at > 0 {
		w.Flushed = max(1, (now-at)/1e6)
	}
	e := c.l1.peek(h)
	ended, loading := c.flights.look(h, pair)
	w.Loading, w.Memory = loading, c.copyOf(e, pair, now)
	if ended != nil && c.alive(now) && w.Memory.State != look.CopyValid {
		e = ended // memory shows it in a moment, and readers are given it until then
		w.Memory = c.copyOf(e, pair, now)
	}
	if e != nil && e.pair == pair && !e.absent && now-e.loaded <= int64(c.conf.MaxStale) {
		return e
	}
	return nil
}

// whyStore fills in what the store holds, and returns it if it would be shown for want of a better
// copy.
func (c *Cache) whyStore(w *explained) (kept *entry) {
	if !c.store.On() {
		return nil
	}
	now, e := c.clock.tick(), (*entry)(nil)
	if e, _ = c.stored(w.ID); e != nil {
		e.pair = c.l1.stamps.of(c.l1.hash(w.ID))
	}
	held := c.copyOf(e, c.l1.stamps.of(c.l1.hash(w.ID)), now)
	if held.State == look.CopyValid && !c.storeCounts() {
		held.State = look.CopyFenced
	}
	w.Store = &held
	if e == nil || e.profile.UpdatedAt < w.News || now-e.loaded > int64(c.conf.MaxStale) {
		return nil
	}
	return e
}

// copyOf describes what memory holds; now is the node's clock.
func (c *Cache) copyOf(e *entry, current pair, now int64) look.Copy {
	if e == nil {
		return look.Copy{State: look.CopyNone}
	}
	out := look.Copy{
		State: look.CopyValid, Absent: e.absent, Age: (now - e.loaded) / 1e6, Origin: e.origin,
		Left: (c.expires(e) - now) / 1e6, Bytes: e.cost(),
	}
	if !e.absent {
		out.Profile = &e.profile
	}
	switch {
	case e.pair.epoch != current.epoch:
		out.State = look.CopyFlushed
	case e.pair != current:
		out.State = look.CopyInvalidated
	case now >= c.expires(e):
		out.State = look.CopyExpired
	case !c.fresh(e, now):
		out.State = look.CopyFenced
	}
	return out
}

// look returns what readers of a key would find or join: the entry of a load that has ended, and
// whether one is under way.
func (f *flights) look(h hash, p pair) (ended *entry, loading bool) {
	s := f.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.openLocked(flightKey{h, p})
	if c == nil {
		return nil, false
	}
	if !c.finished {
		return nil, true
	}
	return c.entry, false
}

func (c *Cache) whyRedis(ctx context.Context, w *explained) {
	ctx, cancel := context.WithTimeout(ctx, whyRedis)
	defer cancel()
	held, err := c.l2.Look(ctx, w.ID)
	if w.Redis = held; err != nil {
		w.RedisError = err.Error()
	}
}

func (c *Cache) whyOrigin(ctx context.Context, w *explained) {
	began := time.Now()
	found, errs := c.origin(ctx, []leased{{&call{id: w.ID}, ""}})
	w.Origin = look.Truth{Profile: found[0], Took: time.Since(began).Milliseconds()}
	if err := errs[0]; errors.Is(err, profile.ErrNotFound) {
		w.Origin.Absent = true
	} else if err != nil {
		w.Origin.Error = err.Error()
	}
}

// whyRead goes the way of a read over what was found; held is shown for want of a better copy, and
// is where.
func (c *Cache) whyRead(w *explained, held *entry, where string) look.Reading {
	if r, ok := w.readMemory(); ok {
		return r
	}
	why := w.notMemory()
	if r, ok := w.readStore(why); ok {
		return r
	}
	if r, ok := w.readRedis(why); ok {
		return r
	}
	return w.readOrigin(why+"; "+w.notRedis(), held, where)
}

// readMemory is the answer of a valid copy.
func (w *explained) readMemory() (look.Reading, bool) {
	m := &w.Memory
	if m.State != look.CopyValid {
		return look.Reading{}, false
	}
	r := look.Reading{Tier: look.FromL1.String(), Missing: m.Absent, Because: fmt.Sprintf(
		"memory holds it: loaded %v ago, good for %v, and no news of the user since",
		millis(m.Age), millis(m.Left))}
	if m.Profile != nil {
		r.Version = m.Profile.UpdatedAt
	}
	return r, true
}

// readStore is the answer of the store, which is asked unless memory has as much.
func (w *explained) readStore(why string) (look.Reading, bool) {
	s := w.Store
	if s == nil || s.State != look.CopyValid || w.Memory.State == look.CopyExpired ||
		w.Memory.State == look.CopyFenced || w.Hint != "" || s.Profile.UpdatedAt < w.News {
		return look.Reading{}, false
	}
	return look.Reading{Tier: look.FromStore.String(), Version: s.Profile.UpdatedAt, Because: fmt.Sprintf(
		"%s; the store on disk holds it: loaded %v ago, good for %v", why, millis(s.Age), millis(s.Left))}, true
}

// notMemory says why memory does not answer.
func (w *explained) notMemory() string {
	switch w.Memory.State {
	case look.CopyFlushed:
		return "the copy in memory is from before a flush of everything"
	case look.CopyInvalidated:
		return "the copy in memory was ended by news of the user"
	case look.CopyExpired:
		return fmt.Sprintf("the copy in memory expired %v ago", millis(-w.Memory.Left))
	case look.CopyFenced:
		return "memory is fenced, because the stream of changes is silent"
	}
	why := "memory holds nothing of the user"
	if w.News > 0 {
		why += fmt.Sprintf(", of which version %d was announced in the last minute", w.News)
	}
	if w.Flushed > 0 {
		why += fmt.Sprintf(" since everything was flushed %v ago", millis(w.Flushed))
	}
	return why
}

// readRedis is the answer of Redis, if a reader takes it.
func (w *explained) readRedis(why string) (look.Reading, bool) {
	r := look.Reading{Tier: look.FromL2.String()}
	switch p := w.Redis.Profile; {
	case w.RedisError != "" || w.RedisDown || w.unasked():
		return r, false
	case p != nil && w.Redis.Broken == "" && w.Redis.Trust != profile.Partial.String() && p.UpdatedAt >= w.News:
		r.Version, r.Because = p.UpdatedAt, why+"; Redis has the record"
		if w.Redis.Trust == profile.Hint.String() {
			r.Because += ", which another service wrote: the origin is asked in the background"
		}
		return r, true
	case p == nil && w.Redis.Absent > 0 && w.News <= w.Redis.Floor:
		r.Missing, r.Because = true, why+"; Redis knows that there is no such user"
		return r, true
	}
	return r, false
}

// unasked reports whether another service has said something for which Redis does not know that the
// origin was asked.
func (w *explained) unasked() bool { return w.Hint != "" && w.Hint != w.Redis.Hint }

// notRedis says why Redis does not answer.
func (w *explained) notRedis() string {
	switch p := w.Redis.Profile; {
	case w.RedisError != "":
		return "Redis does not answer"
	case w.RedisDown:
		return "Redis counts as down, and is not asked"
	case w.unasked():
		return "another service said something, for which the origin was not asked yet"
	case w.Redis.Broken != "":
		return "the record in Redis does not decode"
	case p != nil && p.UpdatedAt < w.News:
		return fmt.Sprintf("the record in Redis, version %d, is older than the news, %d", p.UpdatedAt, w.News)
	case p != nil:
		return "the record in Redis lacks a field or its version, as another service left it"
	case w.Redis.Lease != nil && !w.Redis.Lease.Own:
		return fmt.Sprintf("Redis has no record, and another node is loading it, for %v at most", millis(w.Redis.Lease.Left))
	}
	return "Redis has no record"
}

// readOrigin is the answer of the origin, or of what is shown for want of one.
func (w *explained) readOrigin(why string, held *entry, where string) look.Reading {
	r := look.Reading{Tier: look.FromOrigin.String(), Because: why}
	switch o := &w.Origin; {
	case o.Profile != nil:
		if r.Version = o.Profile.UpdatedAt; r.Version < max(w.News, w.Redis.Floor) {
			r.Tier = look.FromStale.String()
			r.Because += fmt.Sprintf("; the origin's answer is older than version %d, which was announced",
				max(w.News, w.Redis.Floor))
		}
		return r
	case o.Absent:
		r.Missing = true
		return r
	}
	r.Because += "; the origin does not answer"
	switch p := w.Redis.Profile; {
	case w.RedisError == "" && !w.RedisDown && p != nil && w.Redis.Trust != profile.Sealed.String() && p.UpdatedAt >= w.News:
		r.Tier, r.Version = look.FromStale.String(), p.UpdatedAt
		r.Because += ": what another service wrote is shown, marked stale"
	case held != nil:
		r.Tier, r.Version = look.FromStale.String(), held.profile.UpdatedAt
		r.Because += ": the copy " + where + " is shown, marked stale"
	default:
		r.Tier = look.FromNone.String()
		r.Because += ", and there is no copy that may be shown"
	}
	return r
}

// millis is a number of milliseconds, as people read it.
func millis(ms int64) time.Duration {
	d := time.Duration(ms) * time.Millisecond
	if d > time.Minute {
		return d.Round(time.Second)
	}
	return d
}
