// Package hot is the list of users who were visited lately, which the nodes keep together in Redis:
// a prewarm.Source that needs no other database.
package hot

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"hash/maphash"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	shards = 64
	// batch is how many users one script call updates: about a millisecond of Redis's time.
	batch = 200
	// flushTimeout bounds one flush, the last one too.
	flushTimeout = 2 * time.Second
)

//go:embed scripts/hot.lua
var source string

var script = redis.NewScript(source)

// Config configures a List. Client is required; the zero value of everything else is a default.
type Config struct {
	// Client is where the list is. The caller closes it, after the List.
	Client redis.UniversalClient
	// Key is the list's key. Default "edgecache:hot".
	Key string
	// Max is how many users the list keeps, those with the highest scores. Default 100,000.
	Max int
	// Tau is how long it takes until a visit weighs 1/e of a new one. Default 12 h, at least 1 min.
	Tau time.Duration
	// TTL is how long the list outlives its last update. Default 30 days.
	TTL time.Duration
	// FlushEvery is how often what was noted goes to Redis, a quarter more or less at random.
	// Default 3 s.
	FlushEvery time.Duration
	// MaxPending is how many users are held until then; visits beyond are dropped and counted.
	// Default 65,536.
	MaxPending int
	// Logger gets failed flushes. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Key = cmp.Or(c.Key, "edgecache:hot")
	c.Max = cmp.Or(c.Max, 100_000)
	c.Tau = cmp.Or(c.Tau, 12*time.Hour)
	c.TTL = cmp.Or(c.TTL, 30*24*time.Hour)
	c.FlushEvery = cmp.Or(c.FlushEvery, 3*time.Second)
	c.MaxPending = cmp.Or(c.MaxPending, 65_536)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return fmt.Errorf("%w: hot: Config.Client is nil; want a Redis client", prewarm.ErrConfig)
	case c.Max < 1:
		return fmt.Errorf("%w: hot: Config.Max is %d; want at least 1", prewarm.ErrConfig, c.Max)
	case c.Tau < time.Minute:
		return fmt.Errorf("%w: hot: Config.Tau is %v; want at least 1m", prewarm.ErrConfig, c.Tau)
	case c.TTL < time.Second:
		return fmt.Errorf("%w: hot: Config.TTL is %v; want at least 1s", prewarm.ErrConfig, c.TTL)
	case c.FlushEvery < time.Millisecond:
		return fmt.Errorf("%w: hot: Config.FlushEvery is %v; want at least 1ms", prewarm.ErrConfig, c.FlushEvery)
	case c.MaxPending < shards:
		return fmt.Errorf("%w: hot: Config.MaxPending is %d; want at least %d", prewarm.ErrConfig, c.MaxPending, shards)
	}
	return nil
}

// List is the list of users who were visited lately, which all nodes keep together in Redis, and a
// prewarm.Source. A user's score is the time at which one visit would weigh as much as all of his
// together, when the weight of a visit falls by forward decay (Cormode, Shkapenyuk, Srivastava, Xu:
// Forward Decay, ICDE 2009): one visit scores its own time, more push it later. So scores never
// have to be brought up to date, the newest come first, and one compares them with a time. Its
// methods may be called concurrently.
type List struct {
	conf   Config
	seed   maphash.Seed
	shards [shards]struct {
		mu     sync.Mutex
		scores map[string]float64 // milliseconds since 1970
	}
	noted, dropped, lost, sent atomic.Uint64

	life life.Life
}

// Stats is what a List has done since it was made.
type Stats struct {
	// Noted counts the visits taken, Dropped those that were not: no room, or no valid id or
	// weight.
	Noted   uint64 `json:"noted"`
	Dropped uint64 `json:"dropped"`
	// Sent counts the updates of users that Redis took, Lost those that it did not.
	Sent uint64 `json:"sent"`
	Lost uint64 `json:"lost"`
}

// New checks conf and returns a List that takes notes but sends nothing until Start.
//
// Errors wrap prewarm.ErrConfig.
func New(conf Config) (*List, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	return &List{conf: conf, seed: maphash.MakeSeed()}, nil
}

// Start asks Redis for the list's size, and sends what was noted from then on. It returns Redis's
// error, and may be called again then.
func (h *List) Start(ctx context.Context) error {
	return h.life.Start(ctx, func(ctx context.Context) error {
		if err := h.conf.Client.ZCard(ctx, h.conf.Key).Err(); err != nil {
			return fmt.Errorf("prewarm: hot list: %w", err)
		}
		h.life.Go(h.flushForEver)
		return nil
	})
}

// Close sends what was noted and ends. It may be called twice and before Start, when there is
// nobody to send.
func (h *List) Close() error { return h.life.Close(nil) }

// Note notes that a user was visited just now, weight times; a sampled visit weighs as many as it
// stands for. It takes well under a microsecond and waits for nothing but other calls of Note. An
// id that lies in a reused buffer is copied.
func (h *List) Note(id string, weight float64) {
	if !(weight > 0) || math.IsInf(weight, 1) || profile.CheckID(id) != nil {
		h.dropped.Add(1)
		return
	}
	if h.note(id, scoreOf(time.Now(), weight, h.conf.Tau)) {
		h.noted.Add(1)
	} else {
		h.dropped.Add(1)
	}
}

func (h *List) note(id string, score float64) bool {
	s := &h.shards[maphash.String(h.seed, id)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.scores) >= h.conf.MaxPending/shards {
		// without a look at who is held: a node that shows so many is not to pay for each
		return false
	}
	if old, ok := s.scores[id]; ok {
		s.scores[id] = bothScores(old, score, h.conf.Tau)
		return true
	}
	if s.scores == nil {
		s.scores = make(map[string]float64)
	}
	s.scores[strings.Clone(id)] = score
	return true
}

// scoreOf is the score of weight visits at one time, in milliseconds since 1970.
func scoreOf(at time.Time, weight float64, tau time.Duration) float64 {
	return float64(at.UnixMilli()) + ms(tau)*math.Log(weight)
}

// bothScores is the score of all visits behind two scores: the logarithm of a sum of exponentials,
// taken from the larger, so that no exponential overflows.
func bothScores(a, b float64, tau time.Duration) float64 {
	most, least := max(a, b), min(a, b)
	return most + ms(tau)*math.Log1p(math.Exp((least-most)/ms(tau)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Stats returns what was noted and sent so far.
func (h *List) Stats() Stats {
	return Stats{Noted: h.noted.Load(), Dropped: h.dropped.Load(), Sent: h.sent.Load(), Lost: h.lost.Load()}
}

func (h *List) flushForEver(ctx context.Context) {
	for ended := false; !ended; {
		life.Wait(ctx, h.conf.FlushEvery*3/4+rand.N(h.conf.FlushEvery/2+1))
		ended = ctx.Err() != nil // before the flush, which then is the last
		h.flush(context.WithoutCancel(ctx))
	}
}

// flush sends what was noted, a shard after the other, each taken out at once. What Redis does not
// take is lost: by the time it answers again there is more.
func (h *List) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	var args []any
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		scores := s.scores
		s.scores = nil
		s.mu.Unlock()
		for id, score := range scores {
			args = append(args, strconv.FormatFloat(score, 'f', 3, 64), id)
			if len(args) == 2*batch {
				h.send(ctx, args)
				args = args[:0]
			}
		}
	}
	h.send(ctx, args)
}

func (h *List) send(ctx context.Context, pairs []any) {
	if len(pairs) == 0 {
		return
	}
	args := append([]any{h.conf.Tau.Milliseconds(), h.conf.Max, h.conf.TTL.Milliseconds()}, pairs...)
	n := uint64(len(pairs) / 2)
	if err := script.Run(ctx, h.conf.Client, []string{h.conf.Key}, args...).Err(); err != nil {
		h.lost.Add(n)
		h.conf.Logger.WarnContext(ctx, "prewarm: hot list", "link", "hot list", "lost", n, "error", err)
		return
	}
	h.sent.Add(n)
}

// Name returns "hot".
func (h *List) Name() string { return "hot" }

// Active implements prewarm.Source: the users whose score is since or later. LastActive is the
// score, which for many visits may lie after now. A user who is in the list during the whole
// reading is yielded. What this List has noted is sent first.
func (h *List) Active(ctx context.Context, since time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		h.flush(ctx)
		for cursor := uint64(0); ; {
			pairs, next, err := h.conf.Client.ZScan(ctx, h.conf.Key, cursor, "", 1000).Result()
			if err != nil {
				yield(prewarm.User{}, fmt.Errorf("prewarm: hot list: %w", err))
				return
			}
			for i := 0; i+1 < len(pairs); i += 2 {
				u, err := user(pairs[i], pairs[i+1])
				if err == nil && u.LastActive.Before(since) {
					continue
				}
				if !yield(u, err) || err != nil {
					return
				}
			}
			if cursor = next; cursor == 0 {
				return
			}
		}
	}
}

func user(id, score string) (prewarm.User, error) {
	at, err := strconv.ParseFloat(score, 64)
	if err != nil || !(math.Abs(at) <= profile.MaxVersion) {
		return prewarm.User{}, fmt.Errorf("prewarm: hot list: %w: the score of %.40q is %.40q; want milliseconds since 1970", prewarm.ErrMalformed, id, score)
	}
	return prewarm.User{ID: id, LastActive: time.UnixMilli(int64(at))}, nil
}
