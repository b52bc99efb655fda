// Package pgtest starts private PostgreSQL servers for tests and benchmarks: in a temporary folder,
// on a free port of 127.0.0.1, without passwords, and gone with the process that started them.
//
// Start returns errors and leaves closing to the caller; Server does the same for a test, which it
// ends when something is missing. Goroutine leak checks belong after its clean-up: a running server
// keeps one goroutine.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// ReadyTimeout is how long a server may take to answer after its start, recovery included.
	// Generous: a loaded two-core machine runs other tests meanwhile.
	ReadyTimeout = 60 * time.Second

	pollEvery = 10 * time.Millisecond
	// a port found free may be taken by another test before the server binds it
	portAttempts = 8
	maxLogTail   = 2 << 10 // bytes of the server's log that an error quotes
)

var (
	// ErrMissing says that there is no PostgreSQL server on this machine and how to get one.
	ErrMissing = errors.New("pgtest: PostgreSQL is not installed: run `make deps`, or `apt-get install postgresql` on Debian")
	// ErrClosed is returned by every method that needs the server after Close.
	ErrClosed = errors.New("pgtest: server is closed")

	errPortTaken = errors.New("pgtest: port is taken")
	errBusy      = errors.New("pgtest: what is left of the killed server is still ending")
)

// Options describes one server. The zero value commits as a server in production does.
type Options struct {
	// NoSync leaves it to the operating system when commits reach the disk. Killing the server
	// still loses nothing.
	NoSync bool
	// Lines are appended to postgresql.conf and win over the package's own.
	Lines []string
}

// Proc is a private PostgreSQL server. Its methods may be called concurrently; those that stop and
// start it wait for each other.
type Proc struct {
	// Addr is host:port, the same over restarts.
	Addr string

	options Options
	bin     string // folder of initdb and postgres
	dir     string
	port    int
	owner   *syscall.Credential // the user that the server runs as, nil for this process's user

	mu     sync.Mutex
	child  *child // nil while stopped; guarded by mu
	closed bool   // guarded by mu
}

// Start makes a database cluster, runs a server on it and returns once it answers. The caller
// closes it. Errors: ErrMissing, the context's, or what the server logged before it gave up.
func Start(ctx context.Context, o Options) (*Proc, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	owner, err := serverUser()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "edgecache-postgres-")
	if err != nil {
		return nil, fmt.Errorf("pgtest: temporary folder: %w", err)
	}
	p := &Proc{options: o, bin: bin, dir: dir, owner: owner}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(p.initLocked(ctx), p.firstLaunchLocked(ctx)); err != nil {
		return nil, errors.Join(err, p.closeLocked())
	}
	return p, nil
}

// binaries finds the newest installed server: Debian keeps it out of PATH.
func binaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	best, newest := "", 0
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	for _, path := range found {
		dir := filepath.Dir(path)
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && v > newest {
			best, newest = dir, v
		}
	}
	if best == "" {
		return "", ErrMissing
	}
	return best, nil
}

// URL is the address of the database postgres as its superuser, who needs no password.
func (p *Proc) URL() string { return "postgres://postgres@" + p.Addr + "/postgres?sslmode=disable" }

// Pid is the process id of the running server, 0 while it is stopped.
func (p *Proc) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return 0
	}
	return p.child.pid
}

// Kill ends the server with SIGKILL, as a crash would. Its processes for single connections see
// that within moments.
func (p *Proc) Kill() error { return p.end(syscall.SIGKILL) }

// StopImmediate is pg_ctl stop -m immediate: connections are cut, nothing is written that was not
// yet.
func (p *Proc) StopImmediate() error { return p.end(syscall.SIGQUIT) }

// end sends a signal that ends the server and returns when it is gone. Ending one that does not run
// does nothing.
func (p *Proc) end(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.endLocked(sig)
}

func (p *Proc) endLocked(sig syscall.Signal) error {
	if p.child == nil {
		return nil
	}
	if err := syscall.Kill(p.child.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("pgtest: %v: %w", sig, err)
	}
	<-p.child.ended
	p.child = nil
	return nil
}

// Restart starts the server again, after ending it as a crash would if it runs, and returns once it
// answers.
func (p *Proc) Restart() error {
	ctx, cancel := context.WithTimeout(context.Background(), ReadyTimeout)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if err := p.endLocked(syscall.SIGKILL); err != nil {
		return err
	}
	for {
		err := p.launchLocked(ctx)
		if !errors.Is(err, errBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollEvery):
		}
	}
}

// Close kills the server and removes its folder. It may be called twice.
func (p *Proc) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closeLocked()
}

func (p *Proc) closeLocked() error {
	p.closed = true
	return errors.Join(p.endLocked(syscall.SIGQUIT), os.RemoveAll(p.dir))
}

// Log returns the end of what the server has logged, for the message of a failing test.
func (p *Proc) Log() string {
	b, err := os.ReadFile(p.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-maxLogTail):])
}

func (p *Proc) path(name string) string { return filepath.Join(p.dir, name) }

// initLocked makes the database cluster.
func (p *Proc) initLocked(ctx context.Context) error {
	if p.owner != nil {
		if err := os.Chown(p.dir, int(p.owner.Uid), int(p.owner.Gid)); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "-D", p.path("data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	cmd.Dir, cmd.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: p.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// firstLaunchLocked looks for a port that stays free until the server has it.
func (p *Proc) firstLaunchLocked(ctx context.Context) (err error) {
	for range portAttempts {
		if p.port, err = freePort(); err != nil {
			return err
		}
		p.Addr = "127.0.0.1:" + strconv.Itoa(p.port)
		if err = p.launchLocked(ctx); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

func (p *Proc) arguments() []string {
	args := []string{"-D", p.path("data"), "-p", strconv.Itoa(p.port)}
	for _, line := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200",
		"fsync=" + map[bool]string{true: "off", false: "on"}[p.options.NoSync]}, p.options.Lines...) {
		args = append(args, "-c", line)
	}
	return args
}

// launchLocked starts the process and waits until it, and nobody else on its port, answers.
func (p *Proc) launchLocked(ctx context.Context) error {
	_ = os.Remove(p.path("log")) // what is left of a killed server goes on writing into its own
	log, err := os.OpenFile(p.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("pgtest: open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), p.arguments()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner}
	if p.child, err = spawn(cmd); err != nil {
		return fmt.Errorf("pgtest: start postgres: %w", err)
	}
	for {
		err := p.answersLocked(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.child.ended:
			return p.diedLocked()
		case <-ctx.Done():
			return fmt.Errorf("pgtest: server at %s did not answer: %w", p.Addr, errors.Join(context.Cause(ctx), err))
		case <-time.After(pollEvery):
		}
	}
}

// answersLocked asks the server that listens for its folder, since a server of another test may
// have the port.
func (p *Proc) answersLocked(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var dir string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir); err != nil {
		return err
	}
	if dir != p.path("data") {
		return errPortTaken
	}
	return nil
}

// diedLocked explains a server that ended before it answered.
func (p *Proc) diedLocked() error {
	p.child = nil
	text := p.Log()
	switch {
	case strings.Contains(text, "Address already in use"):
		return errPortTaken
	case strings.Contains(text, "pre-existing shared memory block"), strings.Contains(text, "lock file \"postmaster.pid\" already exists"):
		return errBusy
	}
	return fmt.Errorf("pgtest: server ended at its start: %s", strings.TrimSpace(text))
}
