package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// asCommand makes this test binary the command itself, for tests that need a process of their own.
const asCommand = "TEST_BINARY_IS_EDGECACHE"

// TestMain finds goroutines that do not end. memberlist ends its own without being awaited, a probe
// that is under way some seconds later: so what is left is looked at again for a while.
func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	logging.Disable()
	code := m.Run()
	for deadline := time.Now().Add(10 * time.Second); code == 0; {
		err := goleak.Find(
			// one per process, for ever
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
			// ends up to 10 s after its server
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// outcome is what one command did.
type outcome struct {
	stdout, stderr string
	err            error
}

// command runs one command line to its end, without the environment of the test.
func command(t *testing.T, stdin string, env map[string]string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout, stderr buffer
	p := &program{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr, getenv: func(name string) string { return env[name] }}
	err := p.run(ctx, args)
	return outcome{stdout.String(), stderr.String(), err}
}

// background is a command that runs until it is stopped.
type background struct {
	stdout, stderr buffer
	stop           context.CancelFunc
	done           chan error
}

// start runs a command until the end of the test, and waits until it is ready.
func start(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &background{stop: cancel, done: make(chan error, 1)}
	p := &program{stdin: strings.NewReader(""), stdout: &b.stdout, stderr: &b.stderr, getenv: func(string) string { return "" }}
	go func() { b.done <- p.run(ctx, args) }()
	t.Cleanup(func() { b.end(t) })
	b.await(t, args)
	return b
}

// await waits until the command says that it is ready.
func (b *background) await(t *testing.T, args []string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(b.stdout.String(), "ready on"); <-tick.C {
		select {
		case err := <-b.done:
			b.done <- err
			t.Fatalf("edgecache %s ended: %v\n%s", strings.Join(args, " "), err, b.stderr.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("edgecache %s is not ready\n%s", strings.Join(args, " "), b.stderr.String())
		}
	}
}

// end stops the command, waits, and fails the test unless it ended in order within 5 s.
func (b *background) end(t *testing.T) {
	t.Helper()
	began := time.Now()
	b.stop()
	err := <-b.done
	b.done <- err
	if err != nil {
		t.Errorf("the command ended with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the command took %v to end", took)
	}
}

var urlPattern = regexp.MustCompile(`http://[0-9.]+:\d+`)

// urls returns the addresses that a command said it serves on, each once.
func (b *background) urls() (out []string) {
	seen := make(map[string]bool)
	for _, u := range urlPattern.FindAllString(b.stdout.String(), -1) {
		if !seen[u] {
			seen[u] = true
			out = append(out, u)
		}
	}
	return out
}

func readAll(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
