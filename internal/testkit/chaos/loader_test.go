package chaos

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// calm is an origin that counts.
type calm struct{ asked int }

func (c *calm) Load(_ context.Context, id string) (*profile.Profile, error) {
	c.asked++
	return &profile.Profile{ID: id}, nil
}

func (c *calm) LoadBatch(context.Context, []string) (profile.Batch, error) {
	c.asked++
	return profile.Batch{Found: map[string]*profile.Profile{"1": {ID: "1"}}}, nil
}

func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		faults Faults
		err    error
		asked  int
		took   time.Duration // at most
	}{
		"none":  {Faults{}, nil, 2, 0},
		"fail":  {Faults{Fail: 1}, ErrFailed, 0, 0},
		"lose":  {Faults{Lose: 1}, ErrLost, 2, 0},
		"hang":  {Faults{Hang: 1}, context.DeadlineExceeded, 0, 2 * time.Second},
		"delay": {Faults{Delay: 100 * time.Millisecond}, nil, 2, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var origin calm
				l := Spoil(&origin, 1)
				l.Set(tc.faults)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				p, err := l.Load(ctx, "1")
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				b, errBatch := l.LoadBatch(ctx, []string{"1"})
				cancel()
				if !errors.Is(err, tc.err) || !errors.Is(errBatch, tc.err) || (p == nil) != (err != nil) || (len(b.Found) == 0) != (err != nil) {
					t.Errorf("%v, %v and %v, %v; want %v", p, err, b, errBatch, tc.err)
				}
				if origin.asked != tc.asked || time.Since(began) > tc.took {
					t.Errorf("asked %d times in %v, want %d in at most %v", origin.asked, time.Since(began), tc.asked, tc.took)
				}
			})
		})
	}
}

func TestPanic(t *testing.T) {
	l := Spoil(new(calm), 1)
	l.Set(Faults{Panic: 1})
	defer func() {
		if recover() == nil || l.Spoilt.Load() != 1 {
			t.Error("no panic")
		}
	}()
	_, _ = l.Load(t.Context(), "1")
}
