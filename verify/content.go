package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// contentTick is how often users are compared.
	contentTick = time.Second
	// settleFor is how long the truth must have stood before an answer that differs counts: an
	// origin that lags is asked again after 3 s, and a node shows what it has learned 250 ms later.
	settleFor = 4 * time.Second
	// maxSuspects bounds the users who are compared once more.
	maxSuspects = 4096
)

// Truth says what the profiles are. *origin.Client is one.
type Truth interface {
	// LoadBatch answers for many users.
	LoadBatch(ctx context.Context, ids []string) (profile.Batch, error)
}

// ContentCounts is what came of comparing answers with the truth.
type ContentCounts struct {
	// Users counts users compared; one who is compared again later counts again.
	Users uint64 `json:"users"`
	// Checks counts answers of nodes that were compared, Mismatches those of them that differed
	// from a truth that had stood for 4 s.
	Checks     uint64 `json:"checks"`
	Mismatches uint64 `json:"mismatches"`
	// Stale counts answers marked stale, Failed users for which the truth or a node gave no answer.
	Stale  uint64 `json:"stale"`
	Failed uint64 `json:"failed"`
}

func (c *ContentCounts) add(d ContentCounts) {
	c.Users += d.Users
	c.Checks += d.Checks
	c.Mismatches += d.Mismatches
	c.Stale += d.Stale
	c.Failed += d.Failed
}

func (c ContentCounts) minus(d ContentCounts) ContentCounts {
	return ContentCounts{c.Users - d.Users, c.Checks - d.Checks, c.Mismatches - d.Mismatches, c.Stale - d.Stale, c.Failed - d.Failed}
}

// String returns the counts in words.
func (c ContentCounts) String() string {
	verdict := "no mismatch"
	if c.Mismatches > 0 {
		verdict = grouped(c.Mismatches) + " mismatches"
	}
	return fmt.Sprintf("%s in %s answers for %s users%s", verdict, grouped(c.Checks), grouped(c.Users),
		Counts{Stale: c.Stale, Failed: c.Failed}.others())
}

// Mismatch is an answer that differs from what the truth has said for 4 s at least.
type Mismatch struct {
	Node string `json:"node"`
	User string `json:"user"`
	// Fields names what differs, in the order of the profile; "user" alone when one of the two
	// knows no such user. Values are not told: they are somebody's data.
	Fields []string `json:"fields"`
	// Version and Truth are the versions of both, 0 for no such user; Tier and Age (nanoseconds)
	// are the answer's.
	Version int64          `json:"version"`
	Truth   int64          `json:"truth"`
	Tier    string         `json:"tier,omitempty"`
	Age     profile.Millis `json:"ageMs"`
}

// String returns the mismatch for people, one line.
func (m Mismatch) String() string {
	said := func(version int64) string {
		if version == 0 && slices.Equal(m.Fields, []string{"user"}) {
			return "no such user"
		}
		return fmt.Sprintf("version %d", version)
	}
	return fmt.Sprintf("MISMATCH  user %s on %s: %s differs; the node says %s, the origin %s\n",
		m.User, m.Node, strings.Join(m.Fields, ", "), said(m.Version), said(m.Truth))
}

// suspect is a user that a node and the truth differed about.
type suspect struct {
	id    string
	truth *profile.Profile // what the truth said, nil for no such user
	since time.Time        // when it had said so first
	tries int
}

// content compares answers with the truth: those for users who changed and those for users in
// Redis, of which nobody may have heard for days.
type content struct {
	v        *Verifier
	rate     int
	keys     keyWalk
	suspects []suspect // in the order in which they are due

	mu     sync.Mutex
	counts ContentCounts
	before ContentCounts // when the window began
	nodes  []ContentCounts
}

func newContent(v *Verifier) *content {
	return &content{v: v, rate: v.cfg.ContentRate, keys: keyWalk{client: v.cfg.Client}, nodes: make([]ContentCounts, len(v.lanes))}
}

func (c *content) run(ctx context.Context) {
	tick := time.NewTicker(contentTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.round(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// round compares some users, and once more those that are due.
func (c *content) round(ctx context.Context) {
	ids := c.v.book.latest(c.rate / 2)
	walked, err := c.keys.next(ctx, c.rate-len(ids))
	if err != nil && ctx.Err() == nil {
		c.v.cfg.Logger.Warn("verify: cannot walk the keys of Redis", "error", err)
	}
	known := map[string]suspect{}
	for len(c.suspects) > 0 && time.Since(c.suspects[0].since) >= settleFor {
		known[c.suspects[0].id] = c.suspects[0]
		c.suspects = c.suspects[1:]
	}
	for _, s := range c.suspects {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == s.id })
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(ids, walked, slices.Collect(maps.Keys(known))))))
	if len(all) > 0 {
		c.compare(ctx, all, known)
	}
}

// compare asks the truth, then every node, and the truth again about those who differ.
func (c *content) compare(ctx context.Context, ids []string, known map[string]suspect) {
	asked := time.Now()
	truth, err := c.v.cfg.Truth.LoadBatch(ctx, ids)
	if err != nil {
		c.count(ContentCounts{Failed: uint64(len(ids))})
		return
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return truth.Errors[id] != nil })
	c.count(ContentCounts{Users: uint64(len(ids)), Failed: uint64(len(truth.Errors))})
	said := c.askNodes(ctx, ids)
	again := c.differing(ids, truth, said)
	if len(again) == 0 {
		return
	}
	after, err := c.v.cfg.Truth.LoadBatch(ctx, again)
	if err != nil {
		c.count(ContentCounts{Failed: uint64(len(again))})
		return
	}
	for _, id := range again {
		c.settle(known[id], id, truth.Found[id], after.Found[id], asked, said)
	}
}

// askNodes returns what each node says, and counts it.
func (c *content) askNodes(ctx context.Context, ids []string) []map[string]shown {
	said := make([]map[string]shown, len(c.v.lanes))
	var asking sync.WaitGroup
	for i, l := range c.v.lanes {
		asking.Go(func() {
			var err error
			if said[i], err = l.node.profiles(ctx, ids); err != nil {
				said[i] = nil
			}
			c.countNode(i, ids, said[i])
		})
	}
	asking.Wait()
	return said
}

func (c *content) countNode(i int, ids []string, said map[string]shown) {
	var d ContentCounts
	for _, id := range ids {
		switch s, ok := said[id]; {
		case !ok:
			d.Failed++
		case s.stale:
			d.Stale++
		default:
			d.Checks++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.add(d)
	c.nodes[i].add(d)
}

// differing returns the users that a node and the truth differ about.
func (c *content) differing(ids []string, truth profile.Batch, said []map[string]shown) (out []string) {
	for _, id := range ids {
		if slices.ContainsFunc(said, func(by map[string]shown) bool {
			s, ok := by[id]
			return ok && !s.stale && len(differences(s.profile, truth.Found[id])) > 0
		}) {
			out = append(out, id)
		}
	}
	return out
}

// settle judges one who differs. The truth must have been the same for settleFor, before the nodes
// were asked and after; else he is looked at again.
func (c *content) settle(s suspect, id string, before, after *profile.Profile, asked time.Time, said []map[string]shown) {
	stood := s.id != "" && len(differences(s.truth, before)) == 0 && len(differences(before, after)) == 0
	if !stood {
		if s.tries < 3 && len(c.suspects) < maxSuspects {
			c.suspects = append(c.suspects, suspect{id: id, truth: after, since: time.Now(), tries: s.tries + 1})
		}
		return
	}
	for i, by := range said {
		a, ok := by[id]
		if fields := differences(a.profile, after); ok && !a.stale && len(fields) > 0 {
			c.mismatch(i, Mismatch{Node: c.v.lanes[i].node.name, User: id, Fields: fields, Version: version(a.profile),
				Truth: version(after), Tier: a.tier, Age: profile.Millis(a.age)})
		}
	}
}

func (c *content) mismatch(node int, m Mismatch) {
	if c.total().Mismatches < uint64(c.v.cfg.MaxViolations) {
		c.v.cfg.OnMismatch(m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Mismatches++
	c.nodes[node].Mismatches++
}

func (c *content) count(d ContentCounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.add(d)
}

// window returns what was counted since the last call, total since the start.
func (c *content) window() ContentCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.counts.minus(c.before)
	c.before = c.counts
	return d
}

func (c *content) total() ContentCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// byNode returns the counts of each node.
func (c *content) byNode() []ContentCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

func version(p *profile.Profile) int64 {
	if p == nil {
		return 0
	}
	return p.UpdatedAt
}

// differences names the fields in which two profiles differ; nil is no such user.
func differences(a, b *profile.Profile) (fields []string) {
	if a == nil || b == nil {
		if a != b {
			fields = []string{"user"}
		}
		return fields
	}
	for _, f := range []struct {
		name string
		same bool
	}{
		{"nom", a.Nom == b.Nom}, {"prenom", a.Prenom == b.Prenom}, {"fullName", a.FullName == b.FullName},
		{"avatar", a.Avatar == b.Avatar}, {"matricule", a.Matricule == b.Matricule},
		{"ministere", a.Ministere == b.Ministere}, {"sexe", a.Sexe == b.Sexe},
		{"updatedAt", a.UpdatedAt == b.UpdatedAt}, {"attrs", maps.Equal(a.Attrs, b.Attrs)},
	} {
		if !f.same {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// shown is what a node answered for one user; profile is nil for no such user.
type shown struct {
	profile *profile.Profile
	stale   bool
	tier    string
	age     time.Duration
}

// profiles asks for many users whole. An id without an answer is not in the result.
func (c *client) profiles(ctx context.Context, ids []string) (map[string]shown, error) {
	b, err := ask[json.RawMessage](ctx, c, ids)
	if err != nil {
		return nil, err
	}
	out := make(map[string]shown, len(ids))
	for id, raw := range b.Users {
		p, err := profile.DecodeJSON(raw)
		if err != nil {
			continue
		}
		from := b.Sources[id]
		out[id] = shown{p, from.Tier == "stale", from.Tier, time.Duration(from.Age) * time.Millisecond}
	}
	for _, id := range b.Missing {
		out[id] = shown{}
	}
	return out, nil
}
