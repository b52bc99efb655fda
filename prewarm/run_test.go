package prewarm

import (
	"testing"
)

func TestCalmRunAsksEachUserOnceAndWarmsAllNodes(t *testing.T) {
	w := onRedis(t, 3, nil)
	users := people(6000)
	s := w.run(Options{Sources: from(append(users, users[:500]...)), Unlimited: true})
	if asked, again := w.origin.total(); asked != len(users) || again != 0 {
		t.Errorf("%d users were asked for, %d of them again; want each of %d once", asked, again, len(users))
	}
	if s.State != Done || s.Planned != 6000 || s.TotalProcessed != 6000 || s.Cached != 6000 || s.Errors != 0 || s.Share != 1 {
		t.Errorf("status is %+v", s)
	}
	w.warm(users)
	for _, c := range w.living {
		if n := c.Status(); n.State != Done || n.Cached < 1000 || n.Share != 1 {
			t.Errorf("%s did %+v", c.name, n)
		}
	}
}
