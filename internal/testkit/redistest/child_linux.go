package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

var errNotStopped = errors.New("process did not stop")

func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// awaitStopped returns when the process no longer runs: SIGSTOP is sent, not delivered, when kill
// returns, and a test that counts on silence must not hear a last reply.
func (c *child) awaitStopped() error {
	for end := time.Now().Add(ReadyTimeout); time.Now().Before(end); {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
		if err != nil {
			return err
		}
		// "pid (name) state ...": the name may hold anything, so the state is looked for after its
		// end.
		if _, rest, ok := bytes.Cut(stat, []byte(") ")); ok && rest[0] == 'T' {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errNotStopped
}
