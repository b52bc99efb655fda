package origin

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// switched is a service that is "down", "up" without any user, or hangs until release, as mode
// says.
func switched(mode *atomic.Value, asked *atomic.Int64, hung, release chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch mode.Load() {
		case "down":
			w.WriteHeader(500)
		case "hang":
			hung <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		default:
			reply(404, "")(w, r)
		}
	}
}

func TestClientBreaker(t *testing.T) {
	var mode atomic.Value // "down", "up" or "hang"
	var asked atomic.Int64
	hung := make(chan struct{}, 100)
	mode.Store("down")
	release := make(chan struct{})
	defer close(release)
	c := startClient(t, ClientConfig{Retries: -1, OpenFor: 100 * time.Millisecond}, switched(&mode, &asked, hung, release))
	state := func() string { return c.Stats().Breaker }
	load := func(ctx context.Context) error { _, err := c.Load(ctx, "7"); return err }
	for range 3 { // that users are not there is no reason to open
		mode.Store("up")
		for range 2 * tripAfter {
			_ = load(t.Context())
		}
		mode.Store("down")
		for range tripAfter - 1 {
			_ = load(t.Context())
		}
	}
	if state() != "closed" {
		t.Fatalf("open too early: %+v", c.Stats())
	}
	_ = load(t.Context())
	before := asked.Load()
	for range 50 {
		err := load(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, profile.ErrUnavailable) || e.RetryAfter != 100*time.Millisecond {
			t.Fatalf("while open: %v", err)
		}
	}
	if state() != "open" || asked.Load() != before || c.Stats().Opened != 1 {
		t.Fatalf("asked %d times while open, %+v", asked.Load()-before, c.Stats())
	}
	testkit.Eventually(t, 5*time.Second, "half-open", func() bool { return state() == "half-open" })
	mode.Store("hang")
	ctx, cancel := context.WithCancel(t.Context())
	probe := make(chan error, 1)
	go func() { probe <- load(ctx) }()
	<-hung
	for range 20 {
		if err := load(t.Context()); !errors.Is(err, profile.ErrUnavailable) {
			t.Errorf("beside the probe: %v", err)
		}
	}
	cancel()
	if err := <-probe; !errors.Is(err, context.Canceled) || errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("cancelled probe: %v", err)
	}
	if n := asked.Load() - before; n != 1 || state() != "open" {
		t.Errorf("%d probes at once, then %s", n, state())
	}
	mode.Store("up")
	testkit.Eventually(t, 5*time.Second, "closed again", func() bool {
		return errors.Is(load(t.Context()), profile.ErrNotFound) && state() == "closed"
	})
}

func TestClientBreakerIgnoresCallersWhoLeave(t *testing.T) {
	release := make(chan struct{})
	began := make(chan struct{}, 1)
	c := startClient(t, ClientConfig{}, func(http.ResponseWriter, *http.Request) {
		began <- struct{}{}
		<-release
	})
	defer close(release)
	for range 3 * tripAfter {
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := c.Load(ctx, "7")
			left <- err
		}()
		<-began
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if st := c.Stats(); st.Breaker != "closed" || st.Failures != 0 || st.Requests != 3*tripAfter {
		t.Errorf("stats %+v", st)
	}
}

func TestClientBreakerOpensWhenHalfOfCallsFail(t *testing.T) {
	var n atomic.Int64
	c := startClient(t, ClientConfig{Retries: -1}, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 0 {
			w.WriteHeader(500)
			return
		}
		reply(200, `{"id":"7"}`)(w, r)
	})
	for range tripRequests {
		_, _ = c.Load(t.Context(), "7")
	}
	if st := c.Stats(); st.Breaker != "open" || st.Requests != tripRequests {
		t.Errorf("stats %+v", st)
	}
}

// The HTTP library repeats a lookup on its own when an old connection breaks under it. A probe must
// be one request.
func TestClientProbesOnce(t *testing.T) {
	// lookups that are answered only once the breaker is open, on connections that are idle from
	// then on
	const slow = 5
	var down atomic.Bool
	var asked atomic.Int64
	release := make(chan struct{})
	c := startClient(t, ClientConfig{Retries: -1, OpenFor: 300 * time.Millisecond, Timeout: 10 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		<-release
		reply(200, `{"id":"7"}`)(w, r)
	})
	loaded := make(chan error, slow)
	for range slow {
		go func() { _, err := c.Load(t.Context(), "7"); loaded <- err }()
	}
	testkit.Eventually(t, 5*time.Second, "the slow lookups are under way", func() bool { return asked.Load() == slow })
	down.Store(true)
	for c.Stats().Breaker == "closed" {
		_, _ = c.Load(t.Context(), "7")
	}
	close(release)
	for range slow {
		if err := <-loaded; err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 5*time.Second, "half-open", func() bool { return c.Stats().Breaker == "half-open" })
	before := asked.Load()
	if _, err := c.Load(t.Context(), "7"); !errors.Is(err, profile.ErrUnavailable) {
		t.Error(err)
	}
	if n := asked.Load() - before; n != 1 {
		t.Errorf("the probe arrived %d times", n)
	}
}
