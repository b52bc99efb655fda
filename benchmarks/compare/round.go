package compare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// contender is one way to get decoded profiles.
type contender struct {
	name string
	// pass looks up every id of a chunk and returns the sum of touch over the profiles. It is
	// called from several goroutines at once. Each contender brings its own loop, so that none is
	// called through a pointer for every lookup.
	pass func(c *chunk) (uint64, error)
	// fetch returns the profiles of a chunk's ids for the comparison of all fields.
	fetch func(c *chunk) ([]*profile.Profile, error)
	// strays returns how many lookups so far were not answered from where the row says; nil when
	// that is an error of pass.
	strays func() uint64
	// goal is the highest ratio to the bare contender, 0 for none.
	goal float64
	// close may be nil.
	close func()
}

func closeAll(all []contender) {
	for _, c := range all {
		if c.close != nil {
			c.close()
		}
	}
}

// contest is one row of the target table: contenders, of which the first is the bare one, over the
// same chunks.
type contest struct {
	title, note string
	contenders  []contender
	// lanes are the chunks of each goroutine; perPass is how many operations a pass over one is.
	lanes   [][]chunk
	perPass int
	round   time.Duration
	rig     *rig
}

// turn is what was measured in one turn of one contender.
type turn struct {
	nanos, allocs, bytes float64 // per operation
	ops                  uint64
}

// maxStrays is the share of lookups that may be answered from elsewhere before a row is worthless.
const maxStrays = 0.05

func (c *contest) run(ctx context.Context) (Table, error) {
	turns, strays, ops := make([][]turn, len(c.contenders)), make([]uint64, len(c.contenders)), make([]uint64, len(c.contenders))
	rnd := rand.New(rand.NewPCG(c.rig.Seed, 4))
	for round := range c.rig.Rounds {
		for _, i := range rnd.Perm(len(c.contenders)) {
			one := &c.contenders[i]
			if err := c.check(one, &c.lanes[0][round%len(c.lanes[0])]); err != nil {
				return Table{}, fmt.Errorf("%s, %s: %w", c.title, one.name, err)
			}
			before := one.strayed()
			t, err := c.turn(ctx, one, round)
			if err != nil {
				return Table{}, fmt.Errorf("%s, %s: %w", c.title, one.name, err)
			}
			turns[i] = append(turns[i], t)
			strays[i] += one.strayed() - before
			ops[i] += t.ops * uint64(len(c.lanes[0][0].ids)/c.perPass)
		}
	}
	for i, n := range strays {
		if float64(n) > maxStrays*float64(ops[i]) {
			return Table{}, fmt.Errorf("%s, %s: %d of %d lookups were answered from elsewhere", c.title, c.contenders[i].name, n, ops[i])
		}
	}
	return c.table(turns, strays, ops), nil
}

func (c *contender) strayed() uint64 {
	if c.strays == nil {
		return 0
	}
	return c.strays()
}

// check compares all fields with the truth.
func (c *contest) check(one *contender, k *chunk) error {
	got, err := one.fetch(k)
	if err != nil {
		return err
	}
	if len(got) != len(k.ids) {
		return fmt.Errorf("%d profiles for %d ids", len(got), len(k.ids))
	}
	for i, p := range got {
		if err := c.rig.check(k.ids[i], p); err != nil {
			return err
		}
	}
	return nil
}

var errSum = errors.New("the profiles that were looked up are not the right ones")

// turn measures one contender in all lanes at once for the length of a round.
func (c *contest) turn(ctx context.Context, one *contender, round int) (t turn, err error) {
	pprof.Do(ctx, pprof.Labels("contender", one.name, "contest", c.title), func(context.Context) {
		runtime.GC() // each pays for its own garbage only
		if _, err = one.pass(&c.lanes[0][0]); err != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		passes, e := c.drive(one, round, began.Add(c.round))
		elapsed := time.Since(began)
		runtime.ReadMemStats(&after)
		t.ops = passes * uint64(c.perPass)
		n := float64(t.ops)
		t.nanos = float64(elapsed) / n
		t.allocs, t.bytes = float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n
		err = e
	})
	return t, err
}

// drive runs passes in all lanes until end, each lane from another chunk in each round.
func (c *contest) drive(one *contender, round int, end time.Time) (passes uint64, err error) {
	counts, errs := make([]uint64, len(c.lanes)), make([]error, len(c.lanes))
	var all sync.WaitGroup
	for l, lane := range c.lanes {
		all.Go(func() {
			done := uint64(0)
			for i := round * len(lane) / c.rig.Rounds; ; i++ {
				k := &lane[i%len(lane)]
				sum, err := one.pass(k)
				if err == nil && sum != k.want {
					err = errSum
				}
				if err != nil {
					errs[l] = err
					break
				}
				if done++; !time.Now().Before(end) {
					break
				}
			}
			counts[l] = done // once, so that lanes do not share a cache line while they run
		})
	}
	all.Wait()
	for _, n := range counts {
		passes += n
	}
	return passes, errors.Join(errs...)
}

func (c *contest) table(turns [][]turn, strays, ops []uint64) Table {
	t := Table{Title: c.title, Note: c.note, Unit: "ns/op", Goroutines: len(c.lanes)}
	for i, one := range c.contenders {
		row := newRow(one.name, column(turns[i], func(t turn) float64 { return t.nanos }))
		row.Extras = append(row.Extras,
			Extra{"allocs/op", median(column(turns[i], func(t turn) float64 { return t.allocs }))},
			Extra{"B/op", median(column(turns[i], func(t turn) float64 { return t.bytes }))},
			Extra{"strays %", 100 * float64(strays[i]) / float64(ops[i])})
		row.against(&t, one.goal)
		t.Rows = append(t.Rows, row)
	}
	return t
}

func column(turns []turn, of func(turn) float64) []float64 {
	out := make([]float64, len(turns))
	for i, t := range turns {
		out[i] = of(t)
	}
	return out
}
