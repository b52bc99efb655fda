package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// The steps of the model.

// newsEnds is how long a version above the truth counts.
const newsEnds = time.Minute

func (m *model) do(s step) {
	m.server.mu.Lock()
	m.past = append(m.past, m.server.data.clone())
	m.past = m.past[max(0, len(m.past)-6):]
	m.server.mu.Unlock()
	m.bind()
	for _, k := range steps {
		if k.what == s.what {
			k.do(m, s)
		}
	}
	m.bind()
}

func (m *model) lookAtAll() {
	for _, n := range m.nodes {
		for id := 1; id <= modelUsers; id++ {
			m.look(n, strconv.Itoa(id))
		}
	}
}

// tellAgain puts an event on the stream once more, so that it comes twice, and after others. The
// last change is told in full, as a relay does that was killed before it could note that it had.
func (m *model) tellAgain(back int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if back >= len(m.told) {
		return
	}
	c := m.told[len(m.told)-1-back]
	if c.Version == m.versions[c.ID] && !c.invalidate {
		m.running.Go(func() { m.tell(c, nil) })
		return
	}
	e := c.event()
	m.running.Go(func() { _, _ = m.Publisher.Publish(m.ctx, e) })
}

// later does what ends a fault.
func (m *model) later(d time.Duration, heal func()) {
	m.running.Go(func() {
		wait(m.ctx, d)
		heal()
	})
}

// tailFault breaks a node's way to the stream.
func (m *model) tailFault(s step, fault func(*wire)) {
	n := m.nodes[s.node]
	if until := time.Now().Add(s.lasts); until.After(n.cutUntil) {
		n.cutUntil = until
	}
	fault(n.tail)
	if s.lasts > 0 {
		m.later(s.lasts, n.tail.heal)
	}
}

func (m *model) dataFault(s step, fault func(*wire)) {
	fault(m.nodes[s.node].data)
	m.later(s.lasts, m.nodes[s.node].data.heal)
}

// overtake has a node look twice for a user that it is made to forget in between, with a change
// just after that, of which it hears late. The first look is done after the change and the second
// before, and the first is answered first.
func (m *model) overtake(n *modelNode, s step) {
	s.lasts = swayLate
	m.dataFault(s, func(w *wire) { w.overtake(1) })
	m.tailFault(s, func(w *wire) { w.hush(true) })
	n.cache.Forget(s.user, 0)
	m.look(n, s.user)
	synctest.Wait()
	n.cache.Forget(s.user, 0)
	m.look(n, s.user)
	synctest.Wait()
	m.update(s.user)
	time.Sleep(swayLate * 2 / 3)
	m.look(n, s.user)
}

// news has an origin announce a deletion that its database has lost since, above the version of a
// user that is not in Redis: the floor is raised.
func (m *model) news(id string) {
	m.mu.Lock()
	version := max(m.versions[id], 1) + modelStride/2
	m.mu.Unlock()
	m.server.mu.Lock()
	key := profile.Key(id)
	guard, there := "{"+key+"}:guard", m.server.data.count(key) > 0
	if !there {
		m.server.command("HSET", []string{guard, "floor", strconv.FormatInt(version, 10)})
		m.server.command("HDEL", []string{guard, "absent"})
		m.server.command("PEXPIRE", []string{guard, "600000"})
		m.server.command("DEL", []string{"{" + key + "}:lease"})
	}
	m.server.mu.Unlock()
	if !there {
		m.misled = true
		m.journal.note(id, "news of %d", version)
		e := stream.Event{Kind: profile.Deleted, UserID: id, Version: version}
		m.running.Go(func() { _, _ = m.Publisher.Publish(m.ctx, e) })
	}
}

// skews is how wrong the clocks of other services are.
var skews = []time.Duration{0, 30 * time.Millisecond, 3 * time.Second, 5 * time.Minute, -5 * time.Minute, 24 * time.Hour}

// byOthers has another service change a user in the origin's database, or delete it, and say so on
// the stream, with the time of its own clock.
func (m *model) byOthers(id string, n int, deleted bool) {
	v := m.next(id)
	c := modelChange{Change: source.Change{Kind: profile.Deleted, ID: id, Version: v}, hint: true, skew: skews[n]}
	if deleted {
		m.oracle.Removing(m.key(id))
		m.truth.remove(id)
	} else {
		c.Kind, c.Profile = profile.Updated, person(id, v)
		m.truth.set(c.Profile)
	}
	m.announce(c, nil)
}

// writeOver has another service write what it likes over a user's record, or what is no record.
func (m *model) writeOver(id string, n int) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	far := strconv.FormatInt(time.Now().Add(skews[n]).UnixMilli(), 10)
	m.server.command("HSET", [][]string{
		{profile.Key(id), "updatedAt", far},
		{profile.Key(id), "updatedAt", far + "000"},
		{profile.Key(id), "updatedAt", "inf"},
		{profile.Key(id), "fullName", "of others", "updatedAt", far},
		{profile.Key(id), "nom", "of", "prenom", "others", "updatedAt", "253402300799000"},
		{profile.Key(id), "avatar", "of others"},
	}[n])
	m.journal.note(id, "another service writes over the record")
}

// sourceFault breaks the way of the announcements, unless the server is down: what it cannot be
// told of is not promised then.
func (m *model) sourceFault(s step, fault func(*wire)) {
	if !m.isDown() {
		fault(m.wire)
		m.later(s.lasts, m.wire.heal)
	}
}

func (m *model) originFault(s step, down bool, delay time.Duration) {
	m.truth.spoil(down, delay)
	m.later(s.lasts, func() { m.truth.spoil(false, 0) })
}

// recognized reports whether every node has seen the stream that there is: see shadow.
func (m *model) recognizedLocked(now *log) bool {
	for _, n := range m.nodes {
		if now == nil || n.shadow.born != now.born {
			return false
		}
	}
	return true
}

func (m *model) trim(keep int) {
	defer m.forgiveHints()
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if now := m.server.data.streams[stream.Name]; m.recognizedLocked(now) {
		m.server.trim(now, keep)
	}
}

func (m *model) deleteStream() {
	defer m.forgiveHints()
	// or the next entry may get the id of the last, and be all that there is, as that was
	time.Sleep(time.Millisecond)
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if now := m.server.data.streams[stream.Name]; m.recognizedLocked(now) && !m.behindLocked(now) {
		m.server.data.drop(stream.Name)
	}
}

// rollBack gives the stream the entries of an earlier moment. A node that had not read further than
// that cannot know.
func (m *model) rollBack(n int) {
	time.Sleep(time.Millisecond) // as in deleteStream
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	now := m.server.data.streams[stream.Name]
	if n >= len(m.past) || !m.recognizedLocked(now) || m.behindLocked(now) {
		return
	}
	then := m.past[len(m.past)-1-n].streams[stream.Name]
	if then == nil || then.born != now.born || then.last == now.last {
		return
	}
	for _, n := range m.nodes {
		if n.shadow.upTo < m.server.serial {
			return
		}
	}
	s := *then
	m.server.born++
	s.born = m.server.born
	m.server.data.streams[stream.Name] = &s
}

// restart takes the server away for a while. It comes back as another process, with what it had or
// with nothing.
func (m *model) restart(s step, forgets bool) {
	if m.isDown() {
		return
	}
	m.wire.heal()
	m.mu.Lock()
	m.downSince = time.Now()
	if m.downSince.Before(m.unjudged) {
		// It goes before it was told all that had changed while it was away, which no node that has
		// just followed it can know before its fence falls.
		m.unjudged = m.downSince.Add(cutBound)
	}
	m.mu.Unlock()
	m.switchOff(true)
	m.later(s.lasts, func() { m.bringBack(forgets) })
}

func (m *model) bringBack(forgets bool) {
	m.mu.Lock()
	if m.downSince.IsZero() {
		m.mu.Unlock()
		return
	}
	m.downSince = time.Time{}
	m.unjudged = time.Now().Add(time.Second)
	m.mu.Unlock()
	m.server.mu.Lock()
	now, kept := m.server.data, m.server.data
	if forgets {
		kept = newKeyspace()
	}
	m.server.begin(kept.clone(), false)
	m.past = nil
	m.server.mu.Unlock()
	m.forgive(now, kept)
	m.later(time.Second, func() { m.forgive(now, kept) })
	m.switchOff(false)
}

func (m *model) switchOff(off bool) {
	m.server.mu.Lock()
	m.server.up = !off
	m.server.mu.Unlock()
	if off {
		for _, w := range m.server.wires {
			w.cut()
		}
	}
}

// failover puts a replica in the server's place that has not heard of the last steps. What it thus
// lacks of a user is lost, and no promise about him holds any more that was made before the nodes
// have noticed.
func (m *model) failover(lag int) {
	if m.isDown() || lag >= m.remembered() {
		return
	}
	m.server.mu.Lock()
	now, kept := m.server.data, m.past[len(m.past)-1-lag]
	m.server.begin(kept.clone(), true)
	m.past = nil
	m.server.mu.Unlock()
	m.mu.Lock()
	m.unjudged = time.Now().Add(time.Second)
	m.mu.Unlock()
	m.forgive(now, kept)
	m.later(time.Second, func() { m.forgive(now, kept) })
	for _, w := range m.server.wires {
		w.cut()
	}
}

// behindLocked reports whether the server's clock is behind a stream. Then ids follow from the last
// one, so that after a loss an id could come twice, and a new stream begins below the nodes'
// cursors, which they see when their reads end and not at once.
func (m *model) behindLocked(now *log) bool { return m.server.now().UnixMilli() <= int64(now.last.ms) }

// setClock sets the server's clock, or that of what will take its place.
func (m *model) setClock(n int) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if m.recognizedLocked(m.server.data.streams[stream.Name]) {
		m.server.ahead = modelClocks[n]
	}
}

// dieLoading leaves the lease of a node that is dead on a user who was evicted, and then sets the
// clock.
func (m *model) dieLoading(user string, n int) {
	m.server.mu.Lock()
	key := profile.Key(user)
	if data, lease := m.server.data, "{"+key+"}:lease"; data.count(lease) == 0 {
		data.drop(key)
		data.strings[lease] = fmt.Sprintf("%013dthe dead node's", m.server.now().Add(5*time.Second).UnixMilli())
		data.expires[lease] = m.server.now().Add(10 * time.Minute)
	}
	m.server.mu.Unlock()
	m.setClock(n)
}

// remembered is how many moments can be gone back to.
func (m *model) remembered() int {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	return len(m.past)
}

// forgive makes others of the users that then does not know as now does.
func (m *model) forgive(now, then *keyspace) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := 1; id <= modelUsers; id++ {
		id := strconv.Itoa(id)
		key := profile.Key(id)
		guard, lease := "{"+key+"}:guard", "{"+key+"}:lease"
		if !maps.Equal(now.hashes[key], then.hashes[key]) || !maps.Equal(now.hashes[guard], then.hashes[guard]) || now.strings[lease] != then.strings[lease] || m.hintedLocked(id) {
			m.forgiveLocked(id)
		}
	}
}

// forgiveHints makes others of the users that the stream alone told of: until the worker has come
// to what it told, Redis knows nothing, and neither does a node that is started meanwhile.
func (m *model) forgiveHints() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := 1; id <= modelUsers; id++ {
		if id := strconv.Itoa(id); m.hintedLocked(id) {
			m.forgiveLocked(id)
		}
	}
}

// forgiveLocked makes another of a user.
func (m *model) forgiveLocked(id string) {
	m.generations[id]++
	m.told = slices.DeleteFunc(m.told, func(c modelChange) bool { return c.ID == id })
}

// hintedLocked reports whether an event of another service tells of the last change of a user, so
// that the stream alone knows of it.
func (m *model) hintedLocked(id string) bool {
	for _, c := range slices.Backward(m.told) {
		if c.ID == id {
			return c.hint
		}
	}
	return false
}

// finish heals everything: soon after, or once such news is old, every node must answer with what
// is true, and the origin is asked no more.
func (m *model) finish() error {
	m.bringBack(false)
	for _, w := range m.server.wires {
		w.heal()
	}
	m.truth.spoil(false, 0)
	time.Sleep(5 * time.Second)
	if m.misled {
		time.Sleep(newsEnds)
	}
	m.bind()
	m.lookAtAll()
	m.running.Wait()
	synctest.Wait()
	if err := m.settled(); err != nil {
		return err
	}
	if err := m.healed(false); err != nil {
		return err
	}
	m.running.Wait()
	synctest.Wait() // what others wrote has been shown, and the origin asked
	m.truth.clearAsked()
	if err := m.healed(true); err != nil {
		return err
	}
	for id := range m.truth.clearAsked() {
		return fmt.Errorf("the origin is asked for user %s, although all nodes have just answered\n%s", id, m.journal.of(id))
	}
	return nil
}

// healed reports the first node that does not answer for all, unmarked, and the last time with
// what the origin has said.
func (m *model) healed(last bool) error {
	for i, n := range m.nodes {
		for id := 1; id <= modelUsers; id++ {
			got, err := n.GetWith(context.Background(), strconv.Itoa(id), tier.Want{})
			if err != nil && !errors.Is(err, profile.ErrNotFound) || got.Tier == look.FromStale || n.cache.Stats().Fenced {
				return fmt.Errorf("node %d answers for %d: %v from %v, fenced %v\n%s",
					i+1, id, err, got.Tier, n.cache.Stats().Fenced, m.journal.of(strconv.Itoa(id)))
			}
			if id := strconv.Itoa(id); err == nil && last && m.foreignLocked(id, got.Version()) {
				return fmt.Errorf("node %d answers %d for %s, which another service wrote\n%s", i+1, got.Version(), id, m.journal.of(id))
			}
		}
	}
	return nil
}
