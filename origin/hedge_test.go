package origin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// laggard is a service of which one lookup can be told to hang until it is cancelled or released.
type laggard struct {
	asked, hung, cancelled atomic.Int64
	hang                   atomic.Bool // the next lookup
	slow                   atomic.Bool // every lookup takes lag
	release                chan struct{}
}

const lag = 30 * time.Millisecond

func (l *laggard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.asked.Add(1)
	if l.slow.Load() {
		select {
		case <-time.After(lag):
		case <-r.Context().Done():
		}
	}
	if l.hang.CompareAndSwap(true, false) {
		l.hung.Add(1)
		select {
		case <-l.release:
		case <-r.Context().Done():
			l.cancelled.Add(1)
		}
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/batch"):
		reply(200, `{"users":{"7":{"id":"7"}}}`)(w, r)
	default:
		reply(200, `{"id":"7"}`)(w, r)
	}
}

// startHedged returns a client that knows what is usual of the service.
func startHedged(t *testing.T, cfg ClientConfig) (*Client, *laggard) {
	t.Helper()
	l := &laggard{release: make(chan struct{})}
	t.Cleanup(func() { close(l.release) })
	cfg.Timeout = 20 * time.Second
	c := startClient(t, cfg, l.ServeHTTP)
	for range hedgeWindow {
		_, err := c.Load(t.Context(), "7")
		_, batchErr := c.LoadBatch(t.Context(), []string{"7"})
		if err := errors.Join(err, batchErr); err != nil {
			t.Fatal(err)
		}
	}
	return c, l
}

func TestClientHedgesSlowLookups(t *testing.T) {
	c, l := startHedged(t, ClientConfig{Hedge: true})
	for name, load := range map[string]func(context.Context) error{
		"one":   func(ctx context.Context) error { _, err := c.Load(ctx, "7"); return err },
		"batch": func(ctx context.Context) error { _, err := c.LoadBatch(ctx, []string{"7"}); return err },
	} {
		before, hung := c.Stats(), l.hung.Load()
		l.hang.Store(true)
		if err := load(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		testkit.Eventually(t, 5*time.Second, "the loser is cancelled", func() bool { return l.cancelled.Load() == hung+1 })
		after := c.Stats()
		if after.HedgesWon != before.HedgesWon+1 || after.Requests != before.Requests+2 {
			t.Errorf("%s: %+v, then %+v", name, before, after)
		}
		if after.Breaker != "closed" || after.Failures != 0 || after.Retries != 0 {
			t.Errorf("%s: a request that was cancelled counts: %+v", name, after)
		}
	}
}

func TestClientHedgesWithinABudget(t *testing.T) {
	c, l := startHedged(t, ClientConfig{Hedge: true})
	before := c.Stats()
	l.slow.Store(true)
	const lookups = 60 // so many that 95 of 100 are slow only in the end
	for range lookups {
		if _, err := c.Load(t.Context(), "7"); err != nil {
			t.Fatal(err)
		}
	}
	st := c.Stats()
	if n := st.Hedges - before.Hedges; n == 0 || n > hedgeSaved+lookups/hedgeEvery {
		t.Errorf("%d hedges of %d lookups of a service that is slow as a whole", n, lookups)
	}
	if 100*st.Hedges > 5*(st.Requests-st.Hedges) {
		t.Errorf("more than 5 %%: %+v", st)
	}
}

func TestClientDoesNotHedge(t *testing.T) {
	t.Run("unless told to", func(t *testing.T) {
		c, l := startHedged(t, ClientConfig{})
		l.hang.Store(true)
		waiting := make(chan error, 1)
		go func() { _, err := c.Load(t.Context(), "7"); waiting <- err }()
		testkit.Eventually(t, 5*time.Second, "the lookup hangs", func() bool { return l.hung.Load() == 1 })
		l.release <- struct{}{}
		if err := <-waiting; err != nil || c.Stats().Hedges != 0 {
			t.Errorf("%v, %+v", err, c.Stats())
		}
	})
	t.Run("writes", func(t *testing.T) {
		c, l := startHedged(t, ClientConfig{Hedge: true})
		l.slow.Store(true)
		before := c.Stats()
		if _, err := c.Put(t.Context(), "7", Update{Nom: testkit.Ptr("x")}); err != nil {
			t.Fatal(err)
		}
		if st := c.Stats(); st.Hedges != before.Hedges || st.Requests != before.Requests+1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestClientDoesNotHedgeAProbe(t *testing.T) {
	t.Run("of a breaker", func(t *testing.T) {
		var down atomic.Bool
		l := &laggard{release: make(chan struct{})}
		c := startClient(t, ClientConfig{Hedge: true, Retries: -1, OpenFor: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(500)
				return
			}
			l.ServeHTTP(w, r)
		})
		defer close(l.release)
		load := func() error { _, err := c.Load(t.Context(), "7"); return err }
		for range hedgeWindow {
			if err := load(); err != nil {
				t.Fatal(err)
			}
		}
		down.Store(true)
		for range tripAfter {
			_ = load()
		}
		before := c.Stats()
		l.slow.Store(true)
		down.Store(false)
		testkit.Eventually(t, 5*time.Second, "the breaker closes", func() bool {
			if err := load(); err != nil && !errors.Is(err, profile.ErrUnavailable) {
				t.Error(err)
			}
			return c.Stats().Breaker == "closed"
		})
		if st := c.Stats(); st.Requests != before.Requests+1 || st.Hedges != before.Hedges {
			t.Errorf("%+v, then %+v", before, st)
		}
	})
	t.Run("a panic of the tokens' maker is the caller's", func(t *testing.T) {
		c := startClient(t, ClientConfig{Hedge: true, Token: func() (string, error) { panic("no token") }}, reply(200, ""))
		defer func() {
			if recover() == nil {
				t.Error("it went nowhere")
			}
		}()
		_, _ = c.Load(t.Context(), "7")
	})
}

func TestHedgeKnowsWhatIsSlow(t *testing.T) {
	h := new(hedge)
	for i := range hedgeWindow + hedgeRenew {
		if i < hedgeRenew && h.begin() != 0 {
			t.Fatalf("slow is known after %d lookups", i)
		}
		h.note(time.Duration(i%100+1) * time.Millisecond)
	}
	if slow := h.begin(); slow < 90*time.Millisecond || slow > 98*time.Millisecond {
		t.Errorf("of 1-100 ms slow is %v; want about 95", slow)
	}
}
