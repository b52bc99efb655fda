package verify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/stream"
)

const (
	// markEvery is how often the stream's last id is asked for, and so about how much of an entry's
	// age may be overlooked.
	markEvery = 25 * time.Millisecond
	// maxMarks is how many answers are kept: a reader further behind than that, 100 s, cannot judge
	// changes without a version.
	maxMarks = 4096
)

// mark says that at a moment the stream had given no id above last.
type mark struct {
	at   time.Time
	last string
}

// marks are the last answers to what the stream's last id is.
type marks struct {
	client redis.UniversalClient
	stream string

	mu   sync.Mutex
	ring []mark
	next int // where the next goes once the ring is full
}

// ask makes one mark and returns the stream's last id. The moment is taken before the question, so
// that an entry with a higher id came after it. One that fails leaves a gap and harms nothing.
func (m *marks) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	began := time.Now()
	last, err := stream.LastID(ctx, m.client, m.stream)
	if err != nil {
		return "", fmt.Errorf("verify: %w", err)
	}
	m.add(mark{began, last})
	return last, nil
}

func (m *marks) add(k mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ring) < maxMarks {
		m.ring = append(m.ring, k)
		return
	}
	m.ring[m.next] = k
	m.next = (m.next + 1) % maxMarks
}

// before returns the last known moment at which the entry of id was not there yet, zero when none
// is known.
func (m *marks) before(id string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.ring {
		k := m.ring[(m.next+2*len(m.ring)-1-i)%len(m.ring)]
		if stream.EntryBefore(k.last, id) {
			return k.at
		}
	}
	return time.Time{}
}
