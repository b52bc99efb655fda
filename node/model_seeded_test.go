//go:build seeded

package node

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/chatapp-ngomna/edgecache/internal/seeded"
)

// TestSeededBugsAreSeenByTheModel removes one safeguard at a time. The model must see each within a minute.
func TestSeededBugsAreSeenByTheModel(t *testing.T) {
	c := new(compiled)
	for run := 1; run <= 100; run++ { // or what is seen may not be the bug
		if err := tryModel(t, c, run); err != nil {
			t.Fatalf("without any bug, in run %d: %v", run, err)
		}
	}
	for name, on := range map[string]*bool{
		"no stamp check": &seeded.NoStamp, "Set over Set": &seeded.SetOverSet, "DEL instead of the guard": &seeded.NoGuard,
		"event before L2": &seeded.EventFirst, "no gap check": &seeded.NoGap, "no fence": &seeded.NoFence,
		"$ on reconnect": &seeded.EndOnReconnect, "Del only": &seeded.DelOnly,
	} {
		t.Run(name, func(t *testing.T) {
			*on = true
			defer func() { *on = false }()
			began := time.Now()
			for run := 1; time.Since(began) < time.Minute; run++ {
				if err := tryModel(t, c, run); err != nil {
					t.Logf("seen after %v, in run %d: %.200v", time.Since(began).Round(time.Millisecond), run, err)
					return
				}
			}
			t.Error("not seen in a minute")
		})
	}
}

// tryModel does one run from a seed.
func tryModel(t *testing.T, c *compiled, seed int) (err error) {
	steps := rapid.Custom(func(rt *rapid.T) []step {
		all, list := kinds(), make([]step, modelSteps)
		for i := range list {
			list[i] = drawStep(rt, all)
		}
		return list
	}).Example(seed)
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, c)
		defer m.close()
		for _, s := range steps {
			m.do(s)
			time.Sleep(s.pause)
			synctest.Wait()
			if err = m.settled(); err != nil {
				return
			}
		}
		err = m.finish()
	})
	return err
}
