package node

import (
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// flushes counts what a tail tells.
type flushes struct{ flushed, alive, handled atomic.Int64 }

func (f *flushes) Handle(stream.Event) { f.handled.Add(1) }
func (f *flushes) Flush(string)        { f.flushed.Add(1) }
func (f *flushes) Alive(time.Duration) { f.alive.Add(1) }

// TestNoFlushInAnHour lets a tail read a healthy stream for an hour of virtual time.
func TestNoFlushInAnHour(t *testing.T) {
	hour := pick(10*time.Minute, time.Hour)
	for name, traffic := range map[string]struct {
		every time.Duration // between two entries
		// length to which the stream is trimmed after each, once it has been read; 0: never
		trim int
	}{
		"idle": {every: 2 * hour}, "trimmed while read": {every: 250 * time.Millisecond, trim: 1}, "busy": {every: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newModelRedis(new(compiled))
				s.journal = &journal{start: time.Now()}
				publish := func(n int) {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.command("XADD", []string{stream.Name, "*", "payload", `{"event":"user.profile.invalidated","userId":"` + strconv.Itoa(n) + `"}`})
				}
				publish(0)
				var f flushes
				tail, err := stream.NewTail(stream.TailConfig{Client: s.wire("tail", &shadow{}).client(t, redisconn.OpenTail), Handler: &f})
				check(t, err)
				check(t, tail.Start(t.Context()))
				published := 1
				for began := time.Now(); time.Since(began) < hour; published++ {
					time.Sleep(min(traffic.every, hour))
					publish(published)
					synctest.Wait()
					if traffic.trim > 0 {
						s.mu.Lock()
						s.trim(s.data.streams[stream.Name], traffic.trim)
						s.mu.Unlock()
					}
				}
				check(t, tail.Close())
				s.wires[0].cut()
				t.Logf("result: %v of virtual time, %s | no flush | %d entries, %d flushes, alive %d times",
					hour, name, f.handled.Load(), f.flushed.Load(), f.alive.Load())
				if f.flushed.Load() > 0 || f.handled.Load() != int64(published) || f.alive.Load() < int64(hour/time.Second)*7/4 {
					t.Errorf("%d of %d entries, %d flushes, alive %d times", f.handled.Load(), published, f.flushed.Load(), f.alive.Load())
				}
			})
		})
	}
}
