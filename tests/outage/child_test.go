package outage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// childEnv makes the test binary a process of an origin, or of a node; its value is "crash STEPS",
// "serve", "disk" or "node".
const childEnv = "EDGECACHE_OUTAGE_CHILD"

// dbEnv and redisEnv are its database, postgres://… or the folder of a SQLite file, and its Redis.
// A node's dbEnv is the address of its origin.
const (
	dbEnv    = "EDGECACHE_OUTAGE_DB"
	redisEnv = "EDGECACHE_OUTAGE_REDIS"
)

// child is that process; what it cannot do ends it with a panic, which its parent shows.
func child() {
	switch os.Getenv(childEnv) {
	case "disk":
		diskChild()
		return
	case "node":
		nodeChild()
		return
	}
	store, err := newStore(os.Getenv(dbEnv))
	must(err)
	must(store.Start(context.Background()))
	truth, client, err := newTruth(store, os.Getenv(redisEnv))
	must(err)
	if steps, ok := strings.CutPrefix(os.Getenv(childEnv), "crash "); ok {
		n, err := strconv.Atoi(steps)
		must(err)
		crash(store, truth, client, int64(n))
	}
	must(truth.Start(context.Background()))
	_, _ = fmt.Println(truth.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it, or is gone
	must(errors.Join(truth.Close(), store.Close(), client.Close()))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newStore(db string) (source.Store, error) {
	if strings.HasPrefix(db, "postgres://") {
		return postgres.New(postgres.Config{URL: db})
	}
	return sqlite.New(sqlite.Config{Path: filepath.Join(db, "origin.db")})
}

// killer is a hook of the Redis client: a step before each XADD, and one after it.
type killer struct{ step func() }

// DialHook implements redis.Hook.
func (killer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (k killer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "xadd" {
			return next(ctx, cmd)
		}
		k.step()
		defer k.step()
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (killer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// crash changes users until its steps are used up, then kills the process where it stands: after a
// commit, before an XADD, or after it, when the note that it was made is not yet written.
func crash(store source.Store, truth *source.Source, client redis.UniversalClient, steps int64) {
	var left atomic.Int64
	left.Store(steps)
	step := func() {
		if left.Add(-1) <= 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	client.AddHook(killer{step})
	must(truth.Start(context.Background()))
	var writing sync.WaitGroup
	for w := range 4 {
		writing.Go(func() {
			for i := 0; ; i++ {
				c, err := changeSomehow(store, fmt.Sprint("user-", w), i)
				must(err)
				_, _ = fmt.Fprintf(os.Stdout, "%s %d\n", c.ID, c.Version)
				step()
			}
		})
	}
	writing.Wait()
}

func changeSomehow(store source.Store, id string, i int) (source.Change, error) {
	ctx := context.Background()
	if _, err := store.Get(ctx, id); errors.Is(err, profile.ErrNotFound) {
		return store.Create(ctx, &profile.Profile{ID: id})
	}
	if i%10 == 9 {
		return store.Delete(ctx, id, nil)
	}
	nom := strconv.Itoa(i)
	return store.Update(ctx, id, origin.Update{Nom: &nom})
}

// process prepares the test binary to be a child.
func process(t *testing.T, what, db, redisURL string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	// the test's context ends before its clean-up, and would kill it
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what, dbEnv+"="+db, redisEnv+"="+redisURL)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	return cmd, stderr
}

// runUntilKilled returns the changes, "id version", that a process acknowledged before it killed
// itself.
func runUntilKilled(t *testing.T, steps int, db, redisURL string) (acked []string) {
	t.Helper()
	cmd, stderr := process(t, fmt.Sprint("crash ", steps), db, redisURL)
	out, err := cmd.Output()
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process should have killed itself: %v\n%s", err, stderr.Bytes())
	}
	for scan := bufio.NewScanner(bytes.NewReader(out)); scan.Scan(); {
		acked = append(acked, scan.Text())
	}
	return acked
}

// serveOrigin starts an origin in a process of its own until the end of the test, and returns its
// address.
func serveOrigin(t *testing.T, db, redisURL string) string {
	t.Helper()
	addr, _ := startProcess(t, "serve", db, redisURL)
	return addr
}

// startProcess starts a child that tells its address, until the end of the test.
func startProcess(t *testing.T, what, db, redisURL string) (addr string, pid int) {
	t.Helper()
	cmd, stderr := process(t, what, db, redisURL)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %q: %v\n%s", what, err, stderr.Bytes())
		}
	})
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("process %q: %v\n%s", what, err, stderr.Bytes())
	}
	return strings.TrimSpace(addr), cmd.Process.Pid
}
