package life

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitEndsWithItsTimeOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !Wait(t.Context(), time.Hour) || time.Since(began) != time.Hour {
			t.Errorf("an hour took %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if Wait(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("what ends in a minute took %v", time.Since(began))
		}
	})
}

func TestBackoffDoublesUpToItsMost(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 100, 2: 200, 3: 400, 5: 1000, 31: 1000, 32: 1000, 1 << 40: 1000} {
		for range 100 {
			if d := Backoff(n, 100, 1000); d < want/2 || d > want {
				t.Errorf("after failure %d: %d; want %d to %d", n, d, want/2, want)
			}
		}
	}
	if d := Backoff(40, time.Second, time.Minute); d < 30*time.Second || d > time.Minute {
		t.Errorf("after failure 40: %v; want up to a minute", d)
	}
}
