package pgtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
)

// serverAccount is the system user that Debian's package makes for the server.
const serverAccount = "postgres"

// child is one life of a server process.
type child struct {
	pid   int
	ended chan struct{} // closed once the process is gone and reaped
}

// spawn starts cmd so that it cannot outlive this process, even one that is killed: the system
// signals the child when the thread that created it ends. Go ends threads as it likes, except the
// one a goroutine is locked to, so one goroutine starts the child, keeps its thread, and waits for
// the child's end. The signal is PostgreSQL's immediate shutdown, which takes the processes of its
// connections along.
func spawn(cmd *exec.Cmd) (*child, error) {
	// a Ctrl-C in the terminal reaches the test, which then cleans up
	cmd.SysProcAttr.Setpgid = true
	dieWithParent(cmd.SysProcAttr)
	c := &child{ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(c.ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			c.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed is how every child of ours ends
		}
	}()
	if err := <-started; err != nil {
		<-c.ended
		return nil, err
	}
	return c, nil
}

// serverUser returns the user to run the server as: PostgreSQL refuses root, so root needs another
// user.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(serverAccount)
	if err != nil {
		return nil, fmt.Errorf("%w (there is no user %q to run it as)", ErrMissing, serverAccount)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return nil, fmt.Errorf("pgtest: user %q: %w", serverAccount, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

const (
	// Ports are taken from below the range that systems hand to outgoing connections: a killed
	// server must find its port free when it comes back.
	lowestPort, portCount = 22_000, 8_000

	portProbes = 200
)

var errNoPort = errors.New("pgtest: no free port between 22000 and 30000")

// freePort finds a port on which nobody listens just now.
func freePort() (int, error) {
	for range portProbes {
		port := lowestPort + rand.IntN(portCount)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errNoPort
}
