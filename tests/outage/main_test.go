package outage

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
)

var long = flag.Bool("long", false, "run the tests in full instead of in seconds")

// pick returns the short or the long form of a figure.
func pick[T any](short, full T) T {
	if *long {
		return full
	}
	return short
}

// result writes a line for benchmarks/record.sh.
func result(t *testing.T, demanded, format string, args ...any) {
	t.Helper()
	t.Logf("RESULT | %s | %s | `%s` |", demanded, fmt.Sprintf(format, args...), t.Name())
}

// mute takes the Redis client's own lines, one per refused connection, out of the output.
type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(mute{})
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m,
		// fasthttp keeps one goroutine for the Date header of all servers, and one a server sleeps
		// up to 10 s longer than it.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// of the default dialer, one per process
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*TCPDialer).tcpAddrsClean"),
		// sleeps up to 10 s longer than its client
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// closing closes c at the end of the test.
func closing(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// wait waits for d or for the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); wait(t.Context(), 2*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", within, what)
		}
	}
}

// within is eventually with a bound that the machine may excuse.
func within(t *testing.T, bird *canary.Canary, bound time.Duration, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	eventually(t, bound+time.Minute, what, ok)
	bird.Within(t, what, began, bound)
}
