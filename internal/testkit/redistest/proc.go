// Package redistest starts private redis-server processes for tests and benchmarks: one alone, a
// cluster of three masters, or a master with a replica under Sentinel. Proxy is the link to one of
// them that a test may delay, hold, cut or reset.
//
// Start, StartCluster, StartSentinel and NewProxy return errors and leave closing to the caller;
// Server, Cluster, Sentinel and ProxyTo do the same for a test, which they end when something is
// missing, and close everything in its clean-up. Goroutine leak checks belong after that clean-up:
// each running process keeps one goroutine.
package redistest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// ReadyTimeout is how long a server may take to answer after its start, and a cluster or the
	// sentinels to agree. Generous: a loaded two-core machine runs other tests meanwhile.
	ReadyTimeout = 30 * time.Second

	pollEvery = 5 * time.Millisecond
	// a port found free may be taken by another test before the server binds it
	portAttempts = 8
	maxLogTail   = 2 << 10 // bytes of the server's log that an error quotes
)

var (
	// ErrMissing says that there is no redis-server on this machine and how to get one.
	ErrMissing = errors.New("redistest: redis-server is not installed: run `make deps`, or `apt-get install redis-server` on Debian")
	// ErrClosed is returned by every method that needs the server after Close.
	ErrClosed = errors.New("redistest: server is closed")

	errPortTaken = errors.New("redistest: port is taken")
)

// Options describes one server. The zero value is a server that keeps nothing on disk and asks
// for no password.
type Options struct {
	// AOF writes every command to disk before it is acknowledged, so that Kill loses nothing that
	// was. Default false: Kill loses everything.
	AOF bool
	// Password is what clients must present; Client and URL do. Default none.
	Password string
	// TLS has the servers speak TLS alone, to each other too, and ask for certificates. Default:
	// plain.
	TLS *TLS
	// Lines are appended to redis.conf and win over the package's own.
	Lines []string

	sentinel bool
}

// TLS are the files of servers and the configuration with which the package's own clients ask them.
type TLS struct {
	Cert, Key, CA string
	Client        *tls.Config
}

// lines are what redis.conf says about TLS on a port.
func (t *TLS) lines(port int) []string {
	return []string{"port 0", fmt.Sprintf("tls-port %d", port), "tls-cert-file " + t.Cert, "tls-key-file " + t.Key, "tls-ca-cert-file " + t.CA,
		"tls-auth-clients yes", "tls-replication yes", "tls-protocols TLSv1.2"}
}

// scheme returns that of URLs: redis or, with TLS, rediss.
func (o Options) scheme() string {
	if o.TLS != nil {
		return "rediss"
	}
	return "redis"
}

func (o Options) clientTLS() *tls.Config {
	if o.TLS == nil {
		return nil
	}
	return o.TLS.Client
}

// Proc is a private redis-server on a free port of 127.0.0.1. Its methods may be called
// concurrently; Kill, Restart and Close wait for each other.
type Proc struct {
	// Addr is host:port, the same over restarts.
	Addr string

	options Options
	dir     string
	port    int

	mu     sync.Mutex
	child  *child // nil while killed
	client *redis.Client
	closed bool
}

// Start runs a server and returns once it answers. The caller closes it.
// Errors: ErrMissing, the context's, or what the server logged before it gave up.
func Start(ctx context.Context, o Options) (*Proc, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrMissing
	}
	for attempt := 1; ; attempt++ {
		p, err := startOnce(ctx, o)
		if err == nil || !errors.Is(err, errPortTaken) || attempt == portAttempts {
			return p, err
		}
	}
}

func startOnce(ctx context.Context, o Options) (*Proc, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "edgecache-redis-")
	if err != nil {
		return nil, fmt.Errorf("redistest: temporary folder: %w", err)
	}
	p := &Proc{Addr: "127.0.0.1:" + strconv.Itoa(port), options: o, dir: dir, port: port}
	if err := os.WriteFile(p.path("redis.conf"), p.config(), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("redistest: write configuration: %w", err), p.Close())
	}
	p.mu.Lock()
	err = p.launchLocked(ctx)
	p.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// URL is the server's address as edgecache's --redis takes it.
func (p *Proc) URL() string {
	if p.options.Password != "" {
		return p.options.scheme() + "://:" + p.options.Password + "@" + p.Addr
	}
	return p.options.scheme() + "://" + p.Addr
}

// Client returns the client of this server that Close closes; the same one every time.
func (p *Proc) Client() *redis.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client == nil {
		p.client = redis.NewClient(p.clientOptions())
	}
	return p.client
}

// Pid is the process id of the running server, 0 while it is killed.
func (p *Proc) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return 0
	}
	return p.child.pid
}

// Kill ends the server with SIGKILL, as a crash would, and returns when it is gone. Killing a
// server that does not run does nothing.
func (p *Proc) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killLocked()
}

// Pause stops the server with SIGSTOP and returns when it has stopped: the system still accepts
// connections for it and nothing answers.
func (p *Proc) Pause() error { return p.signal("pause", (*child).pause) }

// Resume lets a paused server go on.
func (p *Proc) Resume() error { return p.signal("resume", (*child).resume) }

// Restart kills the server if it runs and starts it again with the same port, configuration and
// folder. It returns once the server answers; a cluster's node needs AwaitOK after that.
func (p *Proc) Restart() error {
	ctx, cancel := context.WithTimeout(context.Background(), ReadyTimeout)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if err := p.killLocked(); err != nil {
		return err
	}
	return p.launchLocked(ctx)
}

// Close kills the server and removes its folder. It may be called twice.
func (p *Proc) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	err := p.killLocked()
	if p.client != nil {
		err = errors.Join(err, p.client.Close())
		p.client = nil
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Log returns the end of what the server has logged, for the message of a failing test.
func (p *Proc) Log() string {
	b, err := os.ReadFile(p.path("redis.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-maxLogTail):])
}

func (p *Proc) path(name string) string { return filepath.Join(p.dir, name) }

func (p *Proc) clientOptions() *redis.Options {
	return &redis.Options{
		Addr: p.Addr, Password: p.options.Password, TLSConfig: p.options.clientTLS(),
		DialTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		MaintNotificationsConfig: quiet(),
	}
}

func (p *Proc) config() []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if p.options.TLS == nil {
		line("port %d", p.port)
	} else {
		line("%s", strings.Join(p.options.TLS.lines(p.port), "\n"))
	}
	line("bind 127.0.0.1")
	line("dir %s", p.dir)
	if !p.options.sentinel {
		line("save \"\"")
		line("appendonly %s", map[bool]string{true: "yes", false: "no"}[p.options.AOF])
		line("appendfsync always")
		line("repl-diskless-sync-delay 0")
		line("enable-debug-command local")
	}
	if p.options.Password != "" {
		line("requirepass %s", p.options.Password)
		line("masterauth %s", p.options.Password)
	}
	for _, l := range p.options.Lines {
		line("%s", l)
	}
	return b.Bytes()
}

// launchLocked starts the process and waits until it, and nobody else on its port, answers.
func (p *Proc) launchLocked(ctx context.Context) error {
	log, err := os.OpenFile(p.path("redis.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("redistest: open log: %w", err)
	}
	defer log.Close()
	args := []string{p.path("redis.conf")}
	if p.options.sentinel {
		args = append(args, "--sentinel")
	}
	cmd := exec.Command("redis-server", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	if p.child, err = spawn(cmd); err != nil {
		return fmt.Errorf("redistest: start redis-server: %w", err)
	}
	return p.awaitReadyLocked(ctx)
}

func (p *Proc) awaitReadyLocked(ctx context.Context) error {
	for {
		err := p.answersLocked(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.child.ended:
			return p.diedLocked()
		case <-ctx.Done():
			return fmt.Errorf("redistest: server at %s did not answer: %w", p.Addr, errors.Join(context.Cause(ctx), err))
		case <-time.After(pollEvery):
		}
	}
}

// answersLocked asks the server that listens for its process id. A dial of its own comes first,
// because the client logs every one that is refused.
func (p *Proc) answersLocked(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		return err
	}
	conn.Close()
	o := p.clientOptions()
	o.MaxRetries = -1
	client := redis.NewClient(o)
	defer client.Close()
	info, err := client.Info(ctx, "server").Result()
	if err == nil && !strings.Contains(info, "process_id:"+strconv.Itoa(p.child.pid)+"\r\n") {
		err = errPortTaken
	}
	return err
}

// diedLocked explains a server that ended before it answered.
func (p *Proc) diedLocked() error {
	p.child = nil
	text := p.Log()
	if strings.Contains(text, "Address already in use") {
		return errPortTaken
	}
	return fmt.Errorf("redistest: server ended at its start: %s", strings.TrimSpace(text))
}

func (p *Proc) signal(what string, send func(*child) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return fmt.Errorf("redistest: %s: %w", what, os.ErrProcessDone)
	}
	if err := send(p.child); err != nil {
		return fmt.Errorf("redistest: %s: %w", what, err)
	}
	return nil
}

func (p *Proc) killLocked() error {
	if p.child == nil {
		return nil
	}
	// The whole group: a server in the middle of a snapshot has a child of its own.
	err := syscall.Kill(-p.child.pid, syscall.SIGKILL)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("redistest: kill: %w", err)
	}
	<-p.child.ended
	p.child = nil
	return nil
}
