package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

const envOrphan = "EDGECACHE_PGTEST_ORPHAN"

// TestMain runs this binary as the parent that gets killed when TestNoServerOutlivesItsTest asks.
func TestMain(m *testing.M) {
	if os.Getenv(envOrphan) != "" {
		os.Exit(orphan())
	}
	goleak.VerifyTestMain(m)
}

// orphan starts a server, says its process id and folder, and waits to be killed.
func orphan() int {
	p, err := Start(context.Background(), Options{NoSync: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(p.Pid(), p.dir)
	var b [1]byte
	_, _ = os.Stdin.Read(b[:]) // for ever: the test holds the other end
	return 0
}

func exec1(t *testing.T, p *Proc, query string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.URL())
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
	defer conn.Close(t.Context())
	if strings.HasPrefix(query, "SELECT") {
		err = conn.QueryRow(t.Context(), query).Scan(&n)
	} else {
		_, err = conn.Exec(t.Context(), query)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestServerKeepsWhatWasCommittedHoweverItEnds(t *testing.T) {
	p := ServerWith(t, Options{Lines: []string{"work_mem=5MB"}})
	exec1(t, p, "CREATE TABLE t (n int)")
	for i, end := range []func() error{p.Kill, p.StopImmediate, p.StopImmediate} {
		exec1(t, p, "INSERT INTO t VALUES (1)")
		if err := errors.Join(end(), end()); err != nil || p.Pid() != 0 {
			t.Fatalf("end %d: pid %d, %v", i, p.Pid(), err)
		}
		if conn, err := pgx.Connect(t.Context(), p.URL()); err == nil {
			_ = conn.Close(t.Context())
			t.Errorf("end %d: somebody still answers", i)
		}
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
		if n := exec1(t, p, "SELECT count(*) FROM t"); n != i+1 {
			t.Errorf("end %d: %d rows left", i, n)
		}
	}
	dir := p.dir
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder after Close: %v", err)
	}
	if err := p.Restart(); !errors.Is(err, ErrClosed) {
		t.Errorf("Restart after Close: %v", err)
	}
}

func TestServerSaysWhyItDidNotStart(t *testing.T) {
	_, err := Start(t.Context(), Options{Lines: []string{"no_such_setting=1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("a broken configuration: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start: %v", err)
	}
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
	var pid int
	var dir string
	_, scanErr := fmt.Fscan(out, &pid, &dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if scanErr != nil || pid == 0 {
		t.Fatalf("the orphan's server: %v", scanErr)
	}
	defer os.RemoveAll(dir)
	deadline := time.After(20 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-deadline:
			t.Fatalf("server %d is still there", pid)
		case <-time.After(pollEvery):
		}
	}
}
