package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Some figures need a process of their own: memory, so that nothing else lives on its heap, and the
// load of HTTP, so that the server's process does nothing but serve. Such a child is this program
// again, with the name of its task as the first argument of the command compare; it answers one
// JSON value on its standard output.

// task is what a child can be asked for. It gets the JSON of its argument and returns what to
// answer.
type task func(ctx context.Context, argument []byte) (any, error)

func tasks() map[string]task {
	return map[string]task{"memory": memoryTask, "load": loadTask}
}

func isChild(name string) bool { return tasks()[name] != nil }

var errChildArgs = errors.New("a child takes the name of its task and a JSON argument")

func runChild(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return errChildArgs
	}
	answer, err := tasks()[args[0]](ctx, []byte(args[1]))
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(answer); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// askChild runs a task in a process of its own and decodes its answer.
func askChild(ctx context.Context, name string, argument, answer any) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("path of this program: %w", err)
	}
	arg, err := json.Marshal(argument)
	if err != nil {
		return fmt.Errorf("argument of %s: %w", name, err)
	}
	cmd := exec.CommandContext(ctx, self, "compare", name, string(arg))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return fmt.Errorf("answer of %s: %w", name, err)
	}
	return nil
}
