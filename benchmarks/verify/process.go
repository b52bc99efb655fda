package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/verify"
)

// readyWithin is how long a process may take to be ready, users to make up included, and to end.
const readyWithin = 2 * time.Minute

// process is a running edgecache.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	out bytes.Buffer // what it wrote, both streams
}

// Write implements io.Writer.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func launch(binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState has it
		close(p.done)
	}()
	return p, nil
}

// await waits until the process has written text.
func (p *process) await(text string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(readyWithin); !strings.Contains(p.text(), text); {
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%v ended: %s", p.cmd.Args, p.text())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%v is not ready: %s", p.cmd.Args, p.text())
		}
	}
	return nil
}

// interrupt asks the process to end, waits, and returns its exit code.
func (p *process) interrupt() (int, error) {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(readyWithin):
		return 0, errors.Join(fmt.Errorf("%v did not end", p.cmd.Args), p.cmd.Process.Kill())
	}
}

// decode reads the lines of JSON that edgecache verify writes.
func decode(text string) (f found, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		var l struct {
			Total     *verify.Report    `json:"total"`
			Violation *verify.Violation `json:"violation"`
		}
		if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &l) != nil {
			continue // its log
		}
		if l.Total != nil {
			f.total = *l.Total
		}
		if l.Violation != nil && !l.Violation.Over {
			f.violations = append(f.violations, *l.Violation)
		}
	}
	if len(f.total.After) == 0 {
		return f, fmt.Errorf("verify gave no total: %s", text)
	}
	return f, nil
}
