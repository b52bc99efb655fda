package edge

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/internal/nodename"
)

const (
	// syncEvery is how often Redis is asked although nothing was heard.
	syncEvery = 5 * time.Second
	// syncTimeout bounds one look at Redis.
	syncTimeout = 2 * time.Second
	// catchUpWait is how long a lookup waits for Redis to say which versions serve. After a failure
	// none does until it has answered again, for which it is asked every retryEvery.
	catchUpWait = 500 * time.Millisecond
	retryEvery  = 100 * time.Millisecond
	// unusedFor is how long a module is kept that serves no more. No lookup takes so long.
	unusedFor = 30 * time.Second
)

// FunctionsConfig configures Functions. Client and Announce are required; the zero value of the
// rest is a default.
type FunctionsConfig struct {
	Config
	// Client is Redis, where functions are kept.
	Client redis.UniversalClient
	// Announce tells all nodes that a function changed, so that they call Changed.
	Announce func(ctx context.Context, name string) error
	// Node is this node's name, unique among all. Default: host name, process id and a number.
	Node string
	// Keys are the keys that functions must be signed by, one of them each. Default: no signature
	// is wanted.
	Keys []ed25519.PublicKey
	// PushWait is how long a push waits for all nodes to have compiled the module before it makes
	// it serve. Default 15 s.
	PushWait time.Duration
	// Logger gets what an operator should know. Default: none.
	Logger *slog.Logger
}

func (c FunctionsConfig) withDefaults() FunctionsConfig {
	c.Node = cmp.Or(c.Node, nodename.New())
	c.PushWait = cmp.Or(c.PushWait, 15*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c FunctionsConfig) validate() error {
	switch {
	case c.Client == nil:
		return fmt.Errorf("%w: FunctionsConfig.Client is nil", errConfig)
	case c.Announce == nil:
		return fmt.Errorf("%w: FunctionsConfig.Announce is nil", errConfig)
	case c.PushWait < 0:
		return fmt.Errorf("%w: FunctionsConfig.PushWait is %v; want a positive duration", errConfig, c.PushWait)
	}
	for i, key := range c.Keys {
		if len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: FunctionsConfig.Keys[%d] has %d bytes; want %d", errConfig, i, len(key), ed25519.PublicKeySize)
		}
	}
	return nil
}

// Functions is what a node knows of the cluster's functions. Its methods may be called
// concurrently.
//
// Which version serves is in Redis. A change is announced on the stream; from the moment on at
// which this node has heard of it, no lookup is answered by what served before: it waits until
// Redis has been asked.
type Functions struct {
	cfg    FunctionsConfig
	engine *Engine
	store  store
	life   life.Life
	wake   chan struct{}
	ids    atomic.Uint64

	// want counts the reasons to ask Redis, and have is what it was when the answer that counts was
	// asked for.
	want, have atomic.Uint64
	// when Redis last did not answer, in nanoseconds since 1970; 0 when it last did
	failed atomic.Int64
	table  atomic.Pointer[table]

	compiling sync.Mutex // one at a time, so that lookups keep a processor

	mu sync.Mutex
	// guarded by mu: closed when Redis has been asked once more, whatever it said
	asked   chan struct{}
	modules map[moduleID]*module // guarded by mu
}

// moduleID says which compiled module.
type moduleID struct {
	name, sum string
	fuel      int64
}

// NewFunctions returns Functions that know none until Start.
func NewFunctions(cfg FunctionsConfig) (*Functions, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	engine, err := NewEngine(cfg.Config)
	if err != nil {
		return nil, err
	}
	f := &Functions{cfg: cfg, engine: engine, store: store{cfg.Client}, wake: make(chan struct{}, 1),
		asked: make(chan struct{}), modules: make(map[moduleID]*module)}
	f.table.Store(newTable(nil))
	return f, nil
}

// Start asks Redis for the functions, compiles them in the background, and follows changes until
// Close. It returns Redis's error, and may be called again then.
func (f *Functions) Start(ctx context.Context) error {
	return f.life.Start(ctx, func(ctx context.Context) error {
		switch err := f.sync(ctx); {
		case err != nil && f.failed.Load() != 0:
			return err
		case err != nil: // some record is broken; the others are there
			f.cfg.Logger.Warn("edge: ask for the functions", "error", err)
		}
		f.life.Go(f.follow)
		f.life.Go(f.judge)
		return nil
	})
}

// Close ends the following and frees all functions. No lookup may be under way or follow. It may be
// called twice and before Start.
func (f *Functions) Close() error {
	return f.life.Close(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), syncTimeout)
		defer cancel()
		if f.life.Started() {
			_ = f.store.left(ctx, f.cfg.Node) // it is found out in time anyway
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, m := range f.modules {
			m.free()
		}
		return f.engine.Close()
	})
}

func (m *module) free() {
	if m.finished() && m.fn != nil {
		m.fn.Close()
	}
}

// Changed says that a function changed, or may have: what is known no longer counts until Redis has
// been asked.
func (f *Functions) Changed() {
	f.want.Add(1)
	f.ask()
}

// ask has Redis asked, at once.
func (f *Functions) ask() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// follow asks Redis when something was heard, and now and then; more often while it does not
// answer.
func (f *Functions) follow(ctx context.Context) {
	timer := time.NewTimer(syncEvery)
	defer timer.Stop()
	wake := f.wake
	for {
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		pause := syncEvery
		wake = f.wake
		if err := f.sync(ctx); err != nil && ctx.Err() == nil {
			if f.failed.Load() != 0 {
				pause, wake = retryEvery, nil
			}
			f.cfg.Logger.Warn("edge: ask for the functions", "link", "functions", "error", err, "pause", pause)
		}
		timer.Reset(pause)
	}
}

// sync asks Redis which functions there are, and makes what is known that.
func (f *Functions) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	want := f.want.Load()
	records, err := f.store.records(ctx)
	if records == nil {
		f.failed.Store(time.Now().UnixNano())
		f.wakeWaiters()
		return err
	}
	dropped := f.take(records)
	f.failed.Store(0)
	f.have.Store(want)
	f.wakeWaiters()
	for _, id := range dropped {
		err = errors.Join(err, f.store.unreadied(ctx, id, f.cfg.Node))
	}
	if bad := f.store.seen(ctx, f.cfg.Node); err == nil {
		err = bad
	}
	return err
}

func (f *Functions) wakeWaiters() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.asked)
	f.asked = make(chan struct{})
}

// take makes records what is known. Versions that are new are compiled in the background. It
// returns the modules that were dropped.
func (f *Functions) take(records map[string]Record) (dropped []moduleID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, now := f.table.Load().byName, make(map[string]*Serving, len(records))
	used := make(map[moduleID]bool)
	for name, r := range records {
		if v, ok := r.Find(r.Next); ok {
			f.moduleLocked(name, v, used)
		}
		v, ok := r.Find(r.Current)
		if !ok {
			continue
		}
		s := old[name]
		if s == nil || s.Version != v {
			s = f.newServing(name, v)
		}
		s.module.Store(f.moduleLocked(name, v, used))
		f.onTrialLocked(s, r, used)
		now[name] = s
	}
	f.table.Store(newTable(now))
	return f.dropLocked(used)
}

func (f *Functions) newServing(name string, v Version) *Serving {
	return &Serving{Name: name, Version: v, ID: f.ids.Add(1), Tag: tagOf(name, v), warn: f.warnFenced}
}

func tagOf(name string, v Version) uint64 {
	sum := sha256.Sum256(Signed(name, v))
	return binary.LittleEndian.Uint64(sum[:])
}

func (f *Functions) warnFenced(name string, err error) {
	f.cfg.Logger.Warn("edge: a function is not called for a while, because it fails", "function", name, "error", err)
}

// moduleLocked returns the module of a version, and has it compiled if it is not, or could not be.
func (f *Functions) moduleLocked(name string, v Version, used map[moduleID]bool) *module {
	id := moduleID{name, v.Sum, v.Fuel}
	if used[id] {
		return f.modules[id]
	}
	used[id] = true
	if err := verify(f.cfg.Keys, name, v); err != nil {
		return &module{done: closed, err: err}
	}
	if m := f.modules[id]; m != nil && (!m.finished() || m.err == nil) {
		return m
	}
	m := &module{done: make(chan struct{})}
	f.modules[id] = m
	if !f.life.Go(func(ctx context.Context) { f.load(ctx, id, m) }) {
		m.err = ErrClosed
		close(m.done)
	}
	return m
}

// closed is the channel of what is done from the beginning. Never changed.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// load compiles a module and says so to the others.
func (f *Functions) load(ctx context.Context, id moduleID, m *module) {
	m.fn, m.err = f.compile(ctx, id)
	m.ready.Store(m.fn)
	close(m.done)
	if m.err != nil {
		f.cfg.Logger.Warn("edge: a function cannot be used", "function", id.name, "sha256", id.sum, "error", m.err)
		return
	}
	if err := f.store.ready(ctx, id, f.cfg.Node); err != nil && ctx.Err() == nil {
		f.cfg.Logger.Warn("edge: a push will wait in vain for this node", "error", err)
	}
}

func (f *Functions) compile(ctx context.Context, id moduleID) (*Function, error) {
	wasm, err := f.store.module(ctx, id.sum)
	if err != nil {
		return nil, err
	}
	f.compiling.Lock()
	defer f.compiling.Unlock()
	return f.engine.Compile(ctx, id.name, wasm, id.fuel)
}

// dropLocked frees the modules that no version has needed for unusedFor: lookups that began before
// still have them.
func (f *Functions) dropLocked(used map[moduleID]bool) (dropped []moduleID) {
	now := time.Now()
	for id, m := range f.modules {
		switch {
		case used[id]:
			m.unused = time.Time{}
		case m.unused.IsZero():
			m.unused = now
		case now.Sub(m.unused) > unusedFor && m.finished():
			m.free()
			delete(f.modules, id)
			dropped = append(dropped, id)
		}
	}
	return dropped
}

// Lookup returns what serves under a name. fresh says that the stream is known to have told all
// changes; without that Redis is asked first, if it answers within half a second. When it does not,
// sure is false: another version may have taken the place of this one. Errors are a *Failure that
// wraps ErrUnknown, or the cause of ctx.
func (f *Functions) Lookup(ctx context.Context, name string, fresh bool) (s *Serving, sure bool, err error) {
	sure = fresh && f.have.Load() == f.want.Load()
	if !sure {
		if sure, err = f.catchUp(ctx, fresh); err != nil {
			return nil, false, err
		}
	}
	if s := f.table.Load().find(name); s != nil {
		return s, sure, nil
	}
	return nil, sure, &Failure{Function: name, Err: ErrUnknown}
}

// Plain is Lookup for the usual case: the one version that serves, and its function. Both are nil
// when Redis has to be asked first, while another version is on trial, and when there is none.
func (f *Functions) Plain(name string, fresh bool) (*Serving, *Function) {
	if !fresh || f.have.Load() != f.want.Load() {
		return nil, nil
	}
	s := f.table.Load().find(name)
	if s == nil || s.trial.Load() != nil {
		return nil, nil
	}
	fn := s.module.Load().ready.Load()
	if fn == nil {
		return nil, nil
	}
	return s, fn
}

// catchUp waits until Redis has answered a question that was asked after now, and reports whether
// it has.
func (f *Functions) catchUp(ctx context.Context, fresh bool) (bool, error) {
	if !fresh {
		f.want.Add(1)
	}
	f.ask()
	before := f.failed.Load()
	if before != 0 && !fresh {
		return false, nil // it did not answer, and is asked again all the time
	}
	want := f.want.Load()
	timer := time.NewTimer(catchUpWait)
	defer timer.Stop()
	for {
		f.mu.Lock()
		asked := f.asked
		f.mu.Unlock()
		if f.have.Load() >= want {
			return true, nil
		}
		if now := f.failed.Load(); now != 0 && now != before {
			return false, nil
		}
		select {
		case <-asked:
		case <-timer.C:
			f.failed.Store(time.Now().UnixNano())
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// Stats returns a snapshot of all functions, by name; a version on trial follows the one that
// serves.
func (f *Functions) Stats() []FunctionStats {
	table := f.table.Load().byName
	stats := make([]FunctionStats, 0, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		stats = append(stats, table[name].Stats())
		if t := table[name].trial.Load(); t != nil {
			on := t.serving.Stats()
			on.Share = t.share
			stats = append(stats, on)
		}
	}
	return stats
}
