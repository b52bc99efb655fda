package redistest

import (
	"os/exec"
	"runtime"
	"syscall"
)

// child is one life of a server process.
type child struct {
	pid   int
	ended chan struct{} // closed once the process is gone and reaped
}

// spawn starts cmd so that it cannot outlive this process, even one that is killed: the system
// sends SIGKILL to the child when the thread that created it ends. Go ends threads as it likes,
// except the one a goroutine is locked to, so one goroutine starts the child, keeps its thread,
// and waits for the child's end. The child leads a process group of its own, so that a Ctrl-C in
// the terminal reaches the test, which then cleans up.
func spawn(cmd *exec.Cmd) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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

func (c *child) pause() error {
	if err := syscall.Kill(c.pid, syscall.SIGSTOP); err != nil {
		return err
	}
	return c.awaitStopped()
}

func (c *child) resume() error { return syscall.Kill(c.pid, syscall.SIGCONT) }
