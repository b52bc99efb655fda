package source_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/source"
)

// trouble is an Announcer that cannot announce users whose ids begin with "bad" until it is over.
type trouble struct {
	*truth.Recorder
	hangs bool          // instead of failing
	takes time.Duration // until it fails
	over  atomic.Bool
	tries atomic.Int64
}

func (tr *trouble) Announce(ctx context.Context, c source.Change) error {
	if strings.HasPrefix(c.ID, "bad") && !tr.over.Load() {
		tr.tries.Add(1)
		if tr.hangs {
			<-ctx.Done()
		}
		pass(tr.takes)
		return errors.New("refused")
	}
	return tr.Recorder.Announce(ctx, c)
}

func TestRelayStuckUsers(t *testing.T) {
	for _, n := range []int{1, 10, 100, 1000} {
		for _, hangs := range []bool{false, true} {
			inBubble(t, fmt.Sprintf("%d users, who hang: %v", n, hangs), func(t *testing.T) { stick(t, n, hangs) })
		}
	}
}

// stick has n users fail, and wants changes of others to be announced at once, tries of the n to be
// few, and all to be announced soon after the trouble is over.
func stick(t *testing.T, n int, hangs bool) {
	tr := &trouble{Recorder: truth.NewRecorder(nil), hangs: hangs}
	box := newMemOutbox()
	r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: tr})
	var bad []string
	for u := range n {
		bad = append(bad, fmt.Sprint("bad", u))
		box.commit(bad[u])
	}
	for i := range 100 {
		box.commit(bad[i%n])
		pass(10 * time.Millisecond)
		c := box.commit("good")
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		if !r.Wait(ctx, c) {
			t.Errorf("change %d of another user waits behind those who cannot be announced", i)
		}
		cancel()
	}
	pass(time.Minute) // all quiet, so that nobody can be announced
	before := tr.tries.Load()
	pass(time.Minute)
	least, most := triesInAMinute(r.Config(), n, hangs)
	if tries := int(tr.tries.Load() - before); tries < least || tries > most {
		t.Errorf("%d tries in a minute; want %d to %d", tries, least, most)
	}
	if st := r.Stats(); st.Blocked != int64(n) || st.Down != (n > 1) {
		t.Errorf("stats %+v", st)
	}
	tr.over.Store(true)
	pass(r.Config().MaxPause + r.Config().Timeout)
	tr.Check(t, 100, "good")
	if b, _ := box.Backlog(t.Context()); b.Rows != 0 || len(tr.Bad) > 0 {
		t.Errorf("%d rows left, %v", b.Rows, tr.Bad)
	}
	if st := r.Stats(); st.Blocked != 0 || st.Down {
		t.Errorf("after the trouble: %+v", st)
	}
}

// triesInAMinute bounds how often n users are tried who fail at once, or hang until the timeout.
// One pauses for half of MaxPause to the whole of it; several, who are all there are, for half a
// second at least, and together they keep to ProbeRate.
func triesInAMinute(conf source.RelayConfig, n int, hangs bool) (least, most int) {
	takes := time.Duration(0)
	if hangs {
		takes = conf.Timeout
	}
	pause := conf.MaxPause / 2
	if n > 1 {
		pause = time.Second / 2
	}
	least, most = n*int(time.Minute/(conf.MaxPause+takes)), n*int(1+time.Minute/(pause+takes))
	all := 60 * source.ProbeRate
	return min(least, all-source.ProbeRate), min(most, all+source.ProbeRate)
}

// TestRelayAnnouncesFirstWhatIsWaitedFor has many users fail that the relay has not met yet when
// others are changed again.
func TestRelayAnnouncesFirstWhatIsWaitedFor(t *testing.T) {
	for _, takes := range []time.Duration{0, 80 * time.Millisecond, 5 * time.Second} {
		inBubble(t, fmt.Sprint("users who fail after ", takes), func(t *testing.T) {
			tr := &trouble{Recorder: truth.NewRecorder(nil), takes: takes}
			box := newMemOutbox()
			r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: tr})
			for u := range 5000 {
				box.commit(fmt.Sprint("bad", u))
			}
			pass(5 * time.Second)
			var writing sync.WaitGroup
			for w := range 4 {
				writing.Go(func() {
					for i := range 50 {
						c := box.commit(fmt.Sprint("good", w))
						ctx, cancel := context.WithTimeout(t.Context(), 140*time.Millisecond)
						if !r.Wait(ctx, c) {
							t.Errorf("change %d of writer %d is late", i, w)
						}
						cancel()
						pass(time.Millisecond)
					}
				})
			}
			writing.Wait()
			tr.Check(t, 50, "good0", "good1", "good2", "good3")
			c := box.commit("unseen") // nobody waits for it
			pass(5 * time.Second)
			tr.Check(t, 1, c.ID)
		})
	}
}
