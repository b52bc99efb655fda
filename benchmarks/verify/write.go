package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

const (
	// writers make the changes; each owns its share of the users, so that versions rise in the
	// order of the stream.
	writers = 8
	seed    = 1
)

// made is how many changes of each kind were made.
type made struct{ whole, parts, forgotten int }

// write makes the changes at a steady rate: whole profiles and invalidations as
// source.RedisAnnouncer does, Redis first and then the stream.
func write(ctx context.Context, url string, p params) (total made, took time.Duration, err error) {
	client, err := redisconn.Open(url)
	if err != nil {
		return made{}, 0, err
	}
	defer client.Close()
	lower, err := l2.New(l2.Config{Client: client})
	if err != nil {
		return made{}, 0, err
	}
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: client})
	if err != nil {
		return made{}, 0, err
	}
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var writing sync.WaitGroup
	var mu sync.Mutex
	for i := range writers {
		w := &writer{params: p, index: i, l2: lower, publisher: publisher, versions: map[int]int64{}, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		writing.Go(func() {
			if err := w.run(ctx, began); err != nil {
				cancel(err)
			}
			mu.Lock()
			defer mu.Unlock()
			total.whole, total.parts, total.forgotten = total.whole+w.made.whole, total.parts+w.made.parts, total.forgotten+w.made.forgotten
		})
	}
	writing.Wait()
	return total, time.Since(began), context.Cause(ctx)
}

type writer struct {
	params
	index     int
	l2        *l2.Redis
	publisher *stream.Publisher
	versions  map[int]int64 // by user, of those who were changed
	rnd       *rand.Rand
	turn      int // of the users with parts, who are changed in turn
	made      made
}

// run makes this writer's share, never ahead of the rate.
func (w *writer) run(ctx context.Context, began time.Time) error {
	for n := w.index; n < w.changes; n += writers {
		due := began.Add(time.Duration(float64(n) / float64(w.rate) * float64(time.Second)))
		if wait := time.Until(due); wait > time.Millisecond {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
		}
		if err := w.change(ctx); err != nil {
			return err
		}
	}
	return nil
}

// change makes one change: five in ten are whole profiles, two are parts and three tell no version.
// Each kind has a third of the users: the origin knows nothing of these changes, so nobody may be
// sent to it for a user whose version it does not have. Those whose parts change take turns,
// because workers that apply two changes of one user in the other order drop his record.
func (w *writer) change(ctx context.Context) error {
	third := w.users / 3
	i := 1 + w.index + writers*w.rnd.IntN(third/writers)
	kind := w.rnd.IntN(10)
	switch {
	case kind < 3:
		return w.forget(ctx, i)
	case kind < 5:
		w.turn++
		i = 1 + w.index + writers*(w.turn%(third/writers)) + third
	default:
		i += 2 * third
	}
	version, first := max(time.Now().UnixMilli(), w.versions[i]+1), w.versions[i] == 0
	w.versions[i] = version
	if kind < 5 && !first {
		return w.patch(ctx, i, version)
	}
	return w.whole(ctx, i, version)
}

func (w *writer) whole(ctx context.Context, i int, version int64) error {
	p := sample.User(seed, i)
	p.UpdatedAt = version
	if stored, err := w.l2.Apply(ctx, p); err != nil || !stored {
		return fmt.Errorf("apply %s at %d: stored %v, %w", p.ID, version, stored, err)
	}
	w.made.whole++
	return w.publish(ctx, stream.Event{Kind: profile.Updated, UserID: p.ID, Version: version, Profile: p})
}

// patch does what other services do: it announces, and leaves it to the nodes' workers to change
// Redis.
func (w *writer) patch(ctx context.Context, i int, version int64) error {
	avatar := "/avatars/" + strconv.FormatInt(version, 10) + ".webp"
	id := strconv.Itoa(i)
	w.made.parts++
	return w.publish(ctx, stream.Event{Kind: profile.Updated, UserID: id, Version: version,
		Patch: &profile.Patch{ID: id, Version: version, Avatar: &avatar}})
}

func (w *writer) forget(ctx context.Context, i int) error {
	id := strconv.Itoa(i)
	if err := w.l2.Invalidate(ctx, id); err != nil {
		return err
	}
	w.made.forgotten++
	return w.publish(ctx, stream.Event{Kind: profile.Invalidated, UserID: id})
}

func (w *writer) publish(ctx context.Context, e stream.Event) error {
	_, err := w.publisher.Publish(ctx, e)
	return err
}
