package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

const envOrphan = "EDGECACHE_REDISTEST_ORPHAN"

// TestMain runs this binary as the parent that gets killed when TestNoServerOutlivesItsTest asks.
func TestMain(m *testing.M) {
	if os.Getenv(envOrphan) != "" {
		os.Exit(orphan())
	}
	goleak.VerifyTestMain(m)
}

// orphan starts servers, says their process ids, and waits to be killed.
func orphan() int {
	ctx := context.Background()
	alone, err := Start(ctx, Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	paused, err := Start(ctx, Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := paused.Pause(); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(alone.Pid(), paused.Pid(), alone.dir, paused.dir)
	var b [1]byte
	_, _ = os.Stdin.Read(b[:]) // for ever: the test holds the other end
	return 0
}

func TestNoServerOutlivesItsTest(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envOrphan+"=1")
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	var dirs [2]string
	if _, err := fmt.Fscanln(out, &pids[0], &pids[1], &dirs[0], &dirs[1]); err != nil {
		t.Fatalf("the child did not start its servers: %v", err)
	}
	for _, dir := range dirs {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != nil {
			t.Fatalf("server %d does not run: %v", pid, err)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for _, pid := range pids {
		eventually(t, "server ends with the killed test", func() bool { return gone(pid) })
	}
}

// gone is true also for a process that has ended and that nobody has reaped yet.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ")
}

func TestServerAnswersWithItsOwnClientAndURL(t *testing.T) {
	p := Server(t)
	ctx := t.Context()
	if err := p.Client().Set(ctx, "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	o, err := redis.ParseURL(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	if got, err := c.Get(ctx, "a").Result(); err != nil || got != "1" {
		t.Fatalf("through %s: %q, %v", p.URL(), got, err)
	}
	if first := p.Client(); first != p.Client() {
		t.Error("Client made a second client")
	}
}

func TestOptionsReachTheServer(t *testing.T) {
	p := ServerWith(t, Options{Password: "open", Lines: []string{"maxmemory 64mb", "appendonly no"}})
	got, err := p.Client().ConfigGet(t.Context(), "maxmemory").Result()
	if err != nil || got["maxmemory"] != strconv.Itoa(64<<20) {
		t.Fatalf("maxmemory is %v, %v", got, err)
	}
	c := redis.NewClient(&redis.Options{Addr: p.Addr, MaintNotificationsConfig: quiet()})
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Fatalf("a client without the password got %v", err)
	}
}

func TestKilledServerRestartsOnItsPort(t *testing.T) {
	for _, aof := range []bool{true, false} {
		t.Run(fmt.Sprintf("aof %t", aof), func(t *testing.T) {
			p := ServerWith(t, Options{AOF: aof})
			ctx, addr := t.Context(), p.Addr
			if err := p.Client().Set(ctx, "a", "1", 0).Err(); err != nil {
				t.Fatal(err)
			}
			must(t, p.Kill())
			must(t, p.Kill())
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				t.Fatal("a killed server accepts connections")
			}
			if p.Pid() != 0 {
				t.Error("a killed server has a process id")
			}
			must(t, p.Restart())
			err := p.Client().Get(ctx, "a").Err()
			if kept := err == nil; p.Addr != addr || kept != aof {
				t.Fatalf("at %s, was %s; the value is kept: %t, %v", p.Addr, addr, kept, err)
			}
		})
	}
}

func TestRestartReplacesARunningServer(t *testing.T) {
	p := Server(t)
	before := p.Pid()
	must(t, p.Restart())
	if p.Pid() == before {
		t.Fatal("the same process goes on")
	}
}

func TestPausedServerIsSilentUntilResumed(t *testing.T) {
	p := Server(t)
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must(t, p.Pause())
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 7)
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(reply); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a paused server answered %q, %v", reply[:n], err)
	}
	must(t, p.Resume())
	_ = c.SetReadDeadline(time.Now().Add(ReadyTimeout))
	if n, err := c.Read(reply); err != nil || string(reply[:n]) != "+PONG\r\n" {
		t.Fatalf("after resume: %q, %v", reply[:n], err)
	}
}

func TestPausedServerCanBeKilledAndClosed(t *testing.T) {
	p, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	must(t, p.Pause())
	must(t, p.Restart())
	must(t, p.Pause())
	must(t, p.Close())
}

func TestCloseRemovesEverythingAndEndsUse(t *testing.T) {
	p, err := Start(t.Context(), Options{AOF: true})
	if err != nil {
		t.Fatal(err)
	}
	pid := p.Pid()
	must(t, p.Close())
	must(t, p.Close())
	if _, err := os.Stat(p.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if !gone(pid) {
		t.Error("the process is still there")
	}
	if err := p.Restart(); !errors.Is(err, ErrClosed) {
		t.Errorf("restart after close: %v", err)
	}
	if err := p.Pause(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("pause after close: %v", err)
	}
}

func TestStartExplainsItself(t *testing.T) {
	t.Run("a bad line is quoted from the server's log", func(t *testing.T) {
		_, err := Start(t.Context(), Options{Lines: []string{"no-such-directive 1"}})
		if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a missing binary names the package to install", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := Start(t.Context(), Options{})
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "apt-get install redis-server") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a cancelled context ends the wait", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestTakenPortIsNotMistakenForOurs(t *testing.T) {
	first := Server(t)
	second := &Proc{Addr: first.Addr, port: first.port, dir: t.TempDir()}
	must(t, os.WriteFile(second.path("redis.conf"), second.config(), 0o600))
	second.mu.Lock()
	defer second.mu.Unlock()
	if err := second.launchLocked(t.Context()); !errors.Is(err, errPortTaken) {
		t.Fatalf("got %v", err)
	}
}

func TestServersOfManyTestsRunSideBySide(t *testing.T) {
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			p := Server(t)
			if n, err := p.Client().Incr(t.Context(), "n").Result(); err != nil || n != 1 {
				t.Fatalf("this server is not private: %d, %v", n, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(ReadyTimeout); !reached(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, ReadyTimeout)
		}
		<-time.After(pollEvery)
	}
}
