package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// modelNode is a node with its ways to the server, and what the model knows of it.
type modelNode struct {
	*Node
	judge      *oracle.Node
	data, tail *wire
	shadow     shadow
	flushed    int       // flushes that the model did by its own hand
	cutUntil   time.Time // its way to the stream is not whole before
	// dir is of its store, "" for none; marks is what the shadow was at each checkpoint.
	dir   string
	marks map[string]shadow
}

// model is three nodes over one server in virtual time.
type model struct {
	t      *testing.T
	server *modelRedis
	nodes  []*modelNode
	wire   *wire // of the source's announcements
	truth  *modelOrigin
	source.RedisAnnouncer
	oracle *oracle.Oracle

	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	versions map[string]int64
	direct   map[string]int   // changes of a user that a node is to tell of, and has not yet
	newest   map[string]int64 // the newest change that was acknowledged
	// what a failover lost is forgiven: the user is another one for the oracle
	generations map[string]int
	told        []modelChange
	last        map[string]chan struct{} // closed when a user's last change has been told
	unjudged    time.Time                // nothing is promised before
	downSince   time.Time                // zero while the server is up
	misled      bool                     // by news above the truth
	lives       int                      // how often a node was started again
	past        []*keyspace
	journal     *journal
}

// journal is what happened, by user, for the reader of a failure.
type journal struct {
	mu    sync.Mutex
	start time.Time
	lines []journalLine
}

type journalLine struct {
	at   time.Duration
	user string
	text string
	args []any
}

func (j *journal) note(user, text string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, journalLine{time.Since(j.start), user, text, args})
}

// of returns what is to be told of a user and of what concerns all.
func (j *journal) of(user string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, l := range j.lines {
		if l.user == "" || l.user == user {
			fmt.Fprintf(&b, "%12v %s\n", l.at, fmt.Sprintf(l.text, l.args...))
		}
	}
	return b.String()
}

// modelChange is one change at the origin, and how it is announced.
type modelChange struct {
	source.Change
	invalidate bool
	// hint says that another service tells of it, whose clock is wrong by skew.
	hint bool
	skew time.Duration
}

// event is what the stream says of a change.
func (c modelChange) event() stream.Event {
	switch {
	case c.hint:
		return c.others()
	case c.invalidate:
		return stream.Event{Kind: profile.Invalidated, UserID: c.ID, Version: c.Version}
	case c.Kind == profile.Deleted:
		return stream.Event{Kind: profile.Deleted, UserID: c.ID, Version: c.Version}
	}
	return stream.Event{Kind: profile.Updated, UserID: c.ID, Version: c.Version, Profile: c.Profile}
}

// others is the event of a service that changed the user in the origin's database by itself.
func (c modelChange) others() stream.Event {
	e := stream.Event{Kind: profile.Deleted, UserID: c.ID, Version: time.Now().Add(c.skew).UnixMilli(), Hint: true}
	if c.Kind != profile.Deleted {
		e.Kind, e.Patch = profile.Updated, &profile.Patch{ID: c.ID, Version: e.Version, FullName: &c.Profile.FullName}
	}
	return e
}

const (
	modelUsers = 3
	// modelStride is how far apart the versions of a user are, which leaves room for versions that
	// there are not.
	modelStride = 10
)

func newModel(t *testing.T, c *compiled) *model {
	m := &model{
		t: t, server: newModelRedis(c), oracle: oracle.New(oracle.Config{Bound: bound, MaxBound: unjudged}),
		versions: map[string]int64{}, newest: map[string]int64{}, direct: map[string]int{}, generations: map[string]int{}, last: map[string]chan struct{}{},
	}
	m.journal = &journal{start: time.Now()}
	m.server.journal = m.journal
	m.ctx, m.end = context.WithCancel(context.Background())
	m.truth = &modelOrigin{people: newPeople(modelUsers), asked: map[string]int{}, journal: m.journal}
	m.wire = m.server.wire("source", nil)
	client := m.wire.client(t, redisconn.Open)
	t.Cleanup(func() { _ = client.Close() })
	lower, err := l2.New(l2.Config{Client: client})
	check(t, err)
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: client})
	check(t, err)
	m.RedisAnnouncer = source.RedisAnnouncer{L2: lower, Publisher: publisher}
	m.update("1")
	m.running.Wait() // so that there is a stream
	for i := range 3 {
		m.nodes = append(m.nodes, m.newNode(i))
	}
	return m
}

// newNode starts a node; one of them has a store.
func (m *model) newNode(i int) *modelNode {
	if i == stored {
		return m.startNode(i, m.t.TempDir(), map[string]shadow{})
	}
	return m.startNode(i, "", nil)
}

// startNode starts a node that has the model's wires in place of the network, as soon as that lets
// it.
func (m *model) startNode(i int, dir string, marks map[string]shadow) *modelNode {
	name := "node " + strconv.Itoa(i+1)
	if len(m.nodes) > i {
		m.lives++
		name += " again, " + strconv.Itoa(m.lives)
	}
	n := &modelNode{judge: m.oracle.Node(name), data: m.server.wire(name, nil)}
	n.tail = m.server.wire(name, &n.shadow)
	n.Node = new(Node)
	n.configure(Config{
		RedisURL: "redis://model:6379", Origin: m.truth, NoWatch: true, NoWorker: true, NoPrewarm: true, Tier: tier.Config{L1Bytes: 1 << 20},
	}.withDefaults())
	if dir != "" {
		n.conf.Store = m.giveStore(n, dir, marks)
	}
	n.client, n.streams[0] = n.data.client(m.t, redisconn.Open), n.tail.client(m.t, redisconn.OpenTail)
	check(m.t, n.compose())
	var err error
	conf := stream.TailConfig{Client: n.streams[0], Handler: listener{feed{n.cache}, m, n}}
	if dir == "" {
		n.Node.tail, err = stream.NewTail(conf)
	} else {
		n.Node.tail, err = m.storeTail(n, conf)
	}
	check(m.t, err)
	for n.Start(m.ctx) != nil {
		time.Sleep(20 * time.Millisecond)
	}
	return n
}

// close ends everything, so that the bubble can.
func (m *model) close() {
	m.end()
	m.running.Wait()
	for _, n := range m.nodes {
		check(m.t, n.Close())
	}
	for _, w := range m.server.wires {
		w.heal()
		w.cut()
	}
	m.server.lua.Close()
}

// listener tells the oracle what the node has been told.
type listener struct {
	stream.Handler
	m *model
	n *modelNode
}

func (l listener) Handle(e stream.Event) {
	l.Handler.Handle(e)
	l.m.journal.note(e.UserID, "%s: handled %v %d", l.n.judge.Name, e.Kind, e.Version)
	l.m.mu.Lock()
	// it may be one whose other half a failover has just undone
	half := time.Now().Before(l.m.unjudged)
	l.m.mu.Unlock()
	if half {
		return
	}
	switch e.Kind {
	case profile.Deleted:
		if !e.Hint && e.Version%modelStride == 1 { // else it is news above the truth
			l.n.judge.Told(l.m.key(e.UserID), e.Version+1)
		}
	case profile.Invalidated:
		l.n.judge.Told(l.m.key(e.UserID), e.Version)
	}
}

// modelOrigin is an origin that may be slow, silent or down. It reads before it waits, as one whose
// answer is long on its way.
type modelOrigin struct {
	*people
	mu    sync.Mutex
	down  bool
	delay time.Duration
	asked map[string]int

	journal *journal
}

// clearAsked returns how often the origin was asked for each user since it was called last.
func (o *modelOrigin) clearAsked() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := o.asked
	o.asked = map[string]int{}
	return asked
}

// Flush is noted as well.
func (l listener) Flush(reason string) {
	l.m.journal.note("", "%s: flush, %s", l.n.judge.Name, reason)
	l.Handler.Flush(reason)
}

func (o *modelOrigin) spoil(down bool, delay time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down, o.delay = down, delay
}

func (o *modelOrigin) Load(ctx context.Context, id string) (*profile.Profile, error) {
	p, err := o.people.Load(ctx, id)
	o.journal.note(id, "origin reads %v", p)
	o.mu.Lock()
	o.asked[id]++
	down, delay := o.down, o.delay
	o.mu.Unlock()
	if wait(ctx, delay); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if down {
		return nil, errors.New("model: the origin is down")
	}
	return p, err
}

// key is the name under which the oracle knows a user.
func (m *model) key(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keyLocked(id)
}

func (m *model) keyLocked(id string) string { return fmt.Sprintf("%s.%d", id, m.generations[id]) }

func (m *model) next(id string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.versions[id] = max(m.versions[id], 1) + modelStride
	return m.versions[id]
}

// bind sets the bounds that hold at this moment.
func (m *model) bind() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, n := range m.nodes {
		if n.tail.losing() {
			n.cutUntil = now.Add(time.Second) // a loss, and the pause after it, may still come
		}
		switch {
		case now.Before(m.unjudged):
			n.judge.SetBound(unjudged)
		case !m.downSince.IsZero() || now.Before(n.cutUntil.Add(time.Second)):
			n.judge.SetBound(cutBound)
		default:
			n.judge.SetBound(bound)
		}
	}
}

// isDown reports whether the server is away.
func (m *model) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.downSince.IsZero()
}

// look has one answer judged, whenever it comes.
func (m *model) look(n *modelNode, id string) {
	m.mu.Lock()
	generation, began := m.generations[id], time.Now()
	judged := n.judge.Begin(m.keyLocked(id))
	m.mu.Unlock()
	m.running.Go(func() {
		got, err := n.Get(context.Background(), id)
		m.journal.note(id, "%s: answer %d from %v, begun %v ago: %v", n.judge.Name, version(got), got.Tier, time.Since(began), err)
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case m.generations[id] != generation || time.Now().Before(m.unjudged):
		case err == nil && m.foreignLocked(id, got.Version()):
			// another service wrote the record
		case err == nil:
			judged.End(got.Version(), got.Tier == look.FromStale)
		case errors.Is(err, profile.ErrNotFound):
			judged.Missing()
		}
	})
}

// foreignLocked reports whether a user never had this version at the origin.
func (m *model) foreignLocked(id string, v int64) bool {
	return v != 1 && v%modelStride != 1 && v%modelStride != 1+modelStride/2 || v > m.versions[id]+modelStride
}

func version(r tier.Result) int64 {
	if r.Profile == nil {
		return 0
	}
	return r.Version()
}

// settled is called when nothing happens: it reports what is wrong.
func (m *model) settled() error {
	if err := m.oracle.Err(); err != nil {
		user, _, _ := strings.Cut(m.oracle.Violations()[0].Key, ".")
		return fmt.Errorf("%w\nuser %s:\n%s", err, user, m.journal.of(user))
	}
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	for i, n := range m.nodes {
		if got, want := int(n.cache.Stats().Flushes)-n.flushed, n.shadow.flushes; got != want {
			return fmt.Errorf("node %d flushed %d times, want %d: %+v, want%s", i+1, got, want, n.Node.tail.Stats(), n.shadow.reasons)
		}
	}
	return nil
}

// update changes a user at the origin, who may have been deleted, and tells the cluster.
func (m *model) update(id string) {
	v := m.next(id)
	p := person(id, v)
	m.truth.set(p)
	m.announce(modelChange{Change: source.Change{Kind: profile.Updated, ID: id, Version: v, Profile: p}}, nil)
}

func (m *model) delete(id string) {
	v := m.next(id)
	m.oracle.Removing(m.key(id))
	m.truth.remove(id)
	m.announce(modelChange{Change: source.Change{Kind: profile.Deleted, ID: id, Version: v}}, nil)
}

// invalidate changes a user without telling the cluster more than that.
func (m *model) invalidate(id string) {
	v := m.next(id)
	p := person(id, v)
	m.truth.set(p)
	m.announce(modelChange{Change: source.Change{Kind: profile.Updated, ID: id, Version: v, Profile: p}, invalidate: true}, nil)
}

// through changes a user and lets a node tell the cluster; if it cannot the source does.
func (m *model) through(n *modelNode, id string, invalidate bool) {
	v := m.next(id)
	p := person(id, v)
	m.truth.set(p)
	m.announce(modelChange{Change: source.Change{Kind: profile.Updated, ID: id, Version: v, Profile: p}, invalidate: invalidate}, func() error {
		if !invalidate {
			return n.Put(m.ctx, p)
		}
		err := n.Invalidate(m.ctx, id)
		if err == nil {
			n.judge.Told(m.key(id), v)
		}
		return err
	})
}

// announce tells the cluster of a change until that has succeeded within one life of the server, at
// first by first, if there is one. A user's changes are told in the order of their versions, as the
// origin's relay does. There is no worker, which would mend an announcement that a failover has cut
// in half.
func (m *model) announce(c modelChange, first func() error) {
	key, made, told := m.key(c.ID), time.Now(), make(chan struct{})
	m.mu.Lock()
	before := m.last[c.ID]
	m.last[c.ID] = told
	direct := first != nil
	if direct {
		m.direct[c.ID]++
	}
	m.mu.Unlock()
	m.running.Go(func() {
		defer close(told)
		if before != nil {
			<-before
		}
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if direct {
				m.direct[c.ID]--
			}
		}()
		for m.ctx.Err() == nil && !m.tell(c, first) {
			first = nil
			wait(m.ctx, 20*time.Millisecond)
		}
	})
	m.running.Go(func() {
		select {
		case <-told:
		case <-time.After(relayWait):
			m.mu.Lock()
			// a node's Put says that it failed instead
			late := !m.downSince.IsZero() && !m.downSince.After(made) && m.direct[c.ID] == 0
			m.mu.Unlock()
			if !late {
				<-told
			} // else the writer is told so, and nodes that are cut off must know within their bound
		}
		if m.ctx.Err() == nil {
			m.acknowledge(c, key)
		}
	})
}

func (m *model) tell(c modelChange, first func() error) bool {
	ctx, cancel := context.WithTimeout(m.ctx, time.Second)
	defer cancel()
	before := m.server.life()
	var err error
	switch {
	case first != nil:
		err = first()
	case c.hint:
		err = m.hint(ctx, c)
	case c.invalidate:
		if err = m.L2.Invalidate(ctx, c.ID); err == nil {
			_, err = m.Publisher.Publish(ctx, c.event())
		}
	default:
		err = m.Announce(ctx, c.Change)
	}
	return err == nil && m.server.life() == before
}

// hint puts on the stream what another service says. Some worker hears of it after a while.
func (m *model) hint(ctx context.Context, c modelChange) error {
	e := c.others()
	var err error
	if e.ID, err = m.Publisher.Publish(ctx, e); err != nil {
		return err
	}
	m.running.Go(func() {
		for wait(m.ctx, c.skew.Abs()%(2*time.Second)); m.ctx.Err() == nil; wait(m.ctx, 20*time.Millisecond) {
			ctx, cancel := context.WithTimeout(m.ctx, time.Second)
			_, err := m.L2.Hint(ctx, c.ID, e.Order(), e.Patch)
			if cancel(); err == nil {
				return
			}
		}
	})
	return nil
}

func (m *model) acknowledge(c modelChange, begun string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, c)
	m.journal.note(c.ID, "%v %d is acknowledged", c.event().Kind, c.Version)
	if c.Version < m.newest[c.ID] {
		// the newer change says more, and maybe said it before a failover after which it is not
		// said again
		return
	}
	m.newest[c.ID] = c.Version
	key := m.keyLocked(c.ID)
	if c.Kind != profile.Deleted {
		m.oracle.Acked(key, c.Version, time.Now())
		return
	}
	if key != begun {
		m.oracle.Removing(key)
	}
	m.oracle.Removed(key, c.Version, time.Now())
}
