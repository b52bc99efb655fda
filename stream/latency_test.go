package stream

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

const benchReaders = 3

// stopwatch measures from the start of a change until the last of three readers has it.
type stopwatch struct {
	mu    sync.Mutex
	took  []time.Duration
	began time.Time
	left  int
	done  chan struct{}
}

func newStopwatch() *stopwatch { return &stopwatch{done: make(chan struct{}, 1)} }

// measure runs one change and waits for the readers.
func (s *stopwatch) measure(change func()) {
	s.mu.Lock()
	s.began, s.left = time.Now(), benchReaders
	s.mu.Unlock()
	change()
	<-s.done
}

func (s *stopwatch) seen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left--; s.left == 0 {
		s.took = append(s.took, time.Since(s.began))
		s.done <- struct{}{}
	}
}

// report reports percentiles, which it returns: the median and the 99th.
func (s *stopwatch) report(b *testing.B, name string) (p50, p99 float64) {
	slices.Sort(s.took)
	at := func(perMille int) float64 {
		return float64(s.took[(len(s.took)-1)*perMille/1000].Nanoseconds()) / 1000
	}
	b.ReportMetric(at(500), name+"-p50-µs")
	b.ReportMetric(at(990), name+"-p99-µs")
	return at(500), at(990)
}

func (s *stopwatch) Handle(Event)        { s.seen() }
func (s *stopwatch) Flush(string)        {}
func (s *stopwatch) Alive(time.Duration) {}

// BenchmarkChangeToReader compares the time from a change to the last of three readers: bare XADD
// and XREAD, with what they carry left packed, against a Publisher and three Tails, with their
// checks and decoding. The two take turns on one server, so that whatever else the machine does
// falls on both.
//
//	go test -run '^$' -bench ChangeToReader -benchtime 10000x ./stream
func BenchmarkChangeToReader(b *testing.B) {
	server := redistest.Server(b)
	values, err := Encode(updated("7", 1))
	must(b, err)
	p, err := NewPublisher(PublisherConfig{Client: server.Client()})
	must(b, err)
	for _, pause := range []time.Duration{0, 2 * time.Millisecond} {
		b.Run("pause "+pause.String(), func(b *testing.B) {
			bare, ours := newStopwatch(), newStopwatch()
			stop := bareReaders(b, server.URL(), bare)
			defer stop()
			for range benchReaders {
				startTailWith(b, TailConfig{Client: tailClient(b, server.URL()), Handler: ours, Replay: -1})
			}
			for i := 0; b.Loop(); i++ {
				<-time.After(pause)
				bare.measure(func() {
					must(b, server.Client().XAdd(b.Context(), &redis.XAddArgs{Stream: "bare", Values: values, MaxLen: DefaultMaxLen, Approx: true}).Err())
				})
				<-time.After(pause)
				ours.measure(func() {
					_, err := p.Publish(b.Context(), updated("7", int64(i+1)))
					must(b, err)
				})
			}
			bare50, bare99 := bare.report(b, "bare")
			ours50, ours99 := ours.report(b, "tail")
			b.ReportMetric(ours50/bare50, "p50-ratio")
			b.ReportMetric(ours99/bare99, "p99-ratio")
		})
	}
}

// bareReaders starts three readers of a stream of its own, and returns what ends them.
func bareReaders(b *testing.B, url string, s *stopwatch) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	for range benchReaders {
		c := tailClient(b, url)
		last := "0-0"
		if newest, _ := c.XRevRangeN(ctx, "bare", "+", "-", 1).Result(); len(newest) > 0 {
			last = newest[0].ID
		}
		group.Go(func() {
			for ctx.Err() == nil {
				got, err := c.XRead(ctx, &redis.XReadArgs{Streams: []string{"bare", last}, Count: defaultCount, Block: 100 * time.Millisecond}).Result()
				if err != nil {
					continue
				}
				for _, m := range got[0].Messages {
					last = m.ID
					s.seen()
				}
			}
		})
	}
	return func() { cancel(); group.Wait() }
}
