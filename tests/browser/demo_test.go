package browser

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/ui"
)

// killer is a demonstration that kills a Redis, and promises that it lives.
type killer struct {
	redis *redistest.Proc
	on    atomic.Bool
}

func (k *killer) State() ui.DemoState {
	on := k.on.Load()
	return ui.DemoState{Faults: []ui.Fault{{Name: "redis", Title: map[bool]string{false: "Kill Redis", true: "Start Redis again"}[on],
		Says: "Memory is fenced after 3 s.", On: on}}, Promises: []ui.Promise{{Says: "Redis lives.", Kept: !on, Seen: "It was looked at."}}}
}

func (k *killer) Break(fault string, on bool) error {
	if fault != "redis" {
		return fmt.Errorf("%w: %q", ui.ErrFault, fault)
	}
	k.on.Store(on)
	if on {
		return k.redis.Kill()
	}
	return k.redis.Restart()
}

// A button breaks something, the promises beside it turn red, and all is well again afterwards.
func TestTheDashboardBreaksThings(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{demo: true})
	r.traffic(400, time.Millisecond)
	p := openTab(t, r.url+"/ui", look{width: 1280, height: 860, dark: true})
	p.says("promises", "✓ kept Redis lives.")
	p.do(chromedp.Click(`#faults button`))
	p.says("promises", "✕ broken Redis lives.")
	p.says("faults", "Start Redis again")
	p.says("checks", "Redis does not answer")
	p.says("checks", "Fenced: for")
	for _, faint := range eval[[]string](p, contrast) {
		t.Error("too faint:", faint)
	}
	p.shoot("demo", false)
	p.do(chromedp.Click(`#faults button`))
	p.says("promises", "✓ kept Redis lives.")
	p.says("checks", "Memory answers")
	p.quiet(r.url)
}
