package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	// statesEvery is how often a node looks how it does.
	statesEvery = 100 * time.Millisecond
	// reportEvery is how often it tells the others.
	reportEvery = time.Second
	// settleFor is how long a Redis that answers again is waited for to feed the memory as well.
	settleFor = 5 * time.Second
)

// RedisStats tells whether Redis answers a node.
type RedisStats struct {
	// Down says that it does not: loads go to the origin.
	Down bool `json:"down"`
	// Since is when it was lost; zero while it is there.
	Since time.Time `json:"since,omitzero"`
	// Losses is how often it was lost.
	Losses uint64 `json:"losses"`
}

// states says in words, once each, what becomes of a node: Redis lost and back, fenced and
// unfenced, members that come and go.
type states struct {
	log      *slog.Logger
	symptoms *held

	mu    sync.Mutex // guards redis
	redis RedisStats

	// The rest belongs to the goroutine that looks.
	before   tier.Stats // when Redis was lost
	answers  time.Time  // since when Redis answers again; zero while it does not
	proven   bool       // the node was not fenced once
	fenced   time.Time  // since when it is; zero while it is not
	members  map[string]gossip.Member
	reported time.Time
	short    string // the last run for which memory was said to be too small
}

// watchStates looks until ctx ends.
func (n *Node) watchStates(ctx context.Context) {
	tick := time.NewTicker(statesEvery)
	defer tick.Stop()
	defer n.states.symptoms.end()
	for {
		select {
		case now := <-tick.C:
			n.lookAround(now)
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) lookAround(now time.Time) {
	s := &n.states
	down, fenced := n.conf.Tier.L2.Down(), !n.cache.Fresh()
	s.lookAtRedis(now, down, fenced, n.cache.Stats)
	s.lookAtFence(now, fenced)
	if now.Sub(s.reported) >= reportEvery {
		s.reported = now
		stats := n.Stats()
		s.lookAtMemory(stats.MemoryShort, stats.Prewarm.Run)
		n.tellReport(&stats, now)
	}
}

// lookAtMemory says once for each run that memory is too small for it.
func (s *states) lookAtMemory(short, run string) {
	if short != "" && s.short != run {
		s.short = run
		s.log.Warn("prewarm: "+short+" (--l1-mib)", "run", run)
	}
}

// lookAtRedis notices that Redis was lost, or is back: it answers, and the node is not fenced for
// want of it.
func (s *states) lookAtRedis(now time.Time, down, fenced bool, stats func() tier.Stats) {
	lost := !s.since().IsZero()
	switch {
	case down && !lost:
		s.answers, s.before = time.Time{}, stats()
		s.setRedis(true, now)
		s.log.Warn("Redis is lost: loads go to the origin, and memory answers until the fence falls",
			"error", s.symptoms.begin())
	case down:
		s.answers = time.Time{}
	case lost && s.answers.IsZero():
		s.answers = now
	}
	if !down && lost && (!fenced || now.Sub(s.answers) > settleFor) {
		s.redisIsBack(now, stats())
	}
}

// redisIsBack says for how long Redis was away, and what that meant.
func (s *states) redisIsBack(now time.Time, after tier.Stats) {
	away := now.Sub(s.since())
	s.setRedis(false, time.Time{})
	if !s.fenced.IsZero() {
		away = max(away, now.Sub(s.fenced))
		s.fenced = time.Time{} // this line says it
	}
	b := s.before
	s.log.Info("Redis is back: memory answers as fresh again", "after", away.Round(10*time.Millisecond).String(),
		"from memory", after.L1Hits-b.L1Hits, "from the origin", after.OriginLoads-b.OriginLoads,
		"unanswered", after.OriginUnanswered-b.OriginUnanswered, "stale", after.Stale-b.Stale,
		"flushes", after.Flushes-b.Flushes, "lines left out", s.symptoms.end())
}

func (s *states) since() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.redis.Since
}

func (s *states) setRedis(down bool, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redis.Down, s.redis.Since = down, since; down {
		s.redis.Losses++
	}
}

func (s *states) redisStats() RedisStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.redis
}

// lookAtFence notices that the fence fell, or is up again.
func (s *states) lookAtFence(now time.Time, fenced bool) {
	switch {
	case !fenced && !s.proven:
		s.proven = true // it has heard the stream for the first time
	case fenced && s.proven && s.fenced.IsZero():
		s.fenced = now
		s.log.Warn("fenced: the stream of changes is silent, so memory does not answer as fresh")
	case !fenced && !s.fenced.IsZero():
		after := now.Sub(s.fenced)
		if s.fenced = (time.Time{}); s.since().IsZero() {
			s.log.Info("unfenced: memory answers as fresh again", "after", after.Round(10*time.Millisecond).String())
		}
	}
}

// tellReport tells the others how this node does, and the log who has come and gone.
func (n *Node) tellReport(s *Stats, now time.Time) {
	if n.gossip == nil {
		return
	}
	n.gossip.SetReport(n.report(s, now))
	n.states.lookAtMembers(n.gossip.Members(), n.gossip.Gone(), n.gossip.Self().Name)
}

// report is what the others are told.
func (n *Node) report(s *Stats, now time.Time) gossip.Report {
	r := gossip.Report{
		Fenced: s.Cache.Fenced, RedisLost: s.Redis.Down, Functions: uint16(min(len(s.Functions), 1<<16-1)),
		Memory:   float64(s.Cache.L1Bytes) / float64(s.Cache.L1Capacity),
		Capacity: uint32(s.Cache.L1Capacity >> 20), MemoryWarmth: s.MemoryWarmth, Version: n.conf.Version,
	}
	r.Memory = float64(int(r.Memory*20)) / 20 // in steps, or there would be news each second
	if lag := s.Silence(now); lag >= time.Second {
		r.Lag = lag.Truncate(time.Second)
	}
	r.Store, r.StoreEntries = s.Store.told()
	if s.Origin != nil {
		r.Origin = uint8(map[string]int{"half-open": 1, "open": 2}[s.Origin.Breaker])
	}
	return r
}

// lookAtMembers says who has come, who has left and who died.
func (s *states) lookAtMembers(alive, gone []gossip.Member, self string) {
	now := make(map[string]gossip.Member, len(alive))
	for _, m := range alive {
		now[m.Name] = m
		if before, ok := s.members[m.Name]; m.Name != self && (!ok || !before.Since.Equal(m.Since)) {
			s.log.Info("joined: another node", "node", m.Name, "address", m.Addr, "members", len(alive))
		}
	}
	for name := range s.members {
		if _, ok := now[name]; !ok && name != self {
			s.went(name, gone, len(alive))
		}
	}
	s.members = now
}

func (s *states) went(name string, gone []gossip.Member, members int) {
	for _, m := range gone {
		if m.Name == name && m.Report.Leaving {
			s.log.Info("left: another node", "node", name, "members", members)
			return
		}
	}
	s.log.Warn("died: another node does not answer any more", "node", name, "members", members)
}

// Silence is how long ago the stream last proved that it has caught up; 0 when it never did.
func (s *Stats) Silence(now time.Time) time.Duration {
	if s.Stream.LastAlive.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.Stream.LastAlive))
}

const (
	// silentFor is how long a calm stream may be silent, manyPending how many entries may wait for
	// the workers, and countedFor how long such a count is worth something.
	silentFor   = 1500 * time.Millisecond
	manyPending = 1000
	countedFor  = time.Minute
)

// Troubles says in words what keeps a node from answering as it should; none for a healthy one.
func (s *Stats) Troubles(now time.Time) []string {
	var all []string
	if s.Redis.Down {
		all = append(all, fmt.Sprintf("Redis has not answered for %v: loads go to the origin", now.Sub(s.Redis.Since).Round(time.Second)))
	}
	silence := s.Silence(now)
	switch {
	case s.Cache.Fenced && silence > 0:
		all = append(all, fmt.Sprintf("fenced: the stream of changes has been silent for %v, so memory does not answer as fresh", silence.Round(time.Second)))
	case s.Cache.Fenced:
		all = append(all, "fenced: nothing was heard of the stream of changes yet, so memory does not answer as fresh")
	case silence > silentFor:
		all = append(all, fmt.Sprintf("the stream of changes has been silent for %v", silence.Round(100*time.Millisecond)))
	}
	if s.Origin != nil && s.Origin.Breaker != "closed" && s.Origin.Breaker != "" {
		all = append(all, "the origin fails, and is asked once a second: its breaker is "+s.Origin.Breaker)
	}
	if w := s.Worker; w != nil && w.Pending > manyPending && now.Sub(w.CountedAt) < countedFor {
		all = append(all, fmt.Sprintf("%d events of other services wait for the workers", w.Pending))
	}
	return all
}
