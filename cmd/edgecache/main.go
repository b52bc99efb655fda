// Command edgecache serves user profiles from a two-tier cache, runs the source of truth behind it,
// and asks a running node. "edgecache help" lists what it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1 // it was tried and did not work
	// it was not tried: a flag, an argument, the environment or the configuration file is wrong
	exitUsage = 2
)

func main() {
	// of the Redis client, which writes to stderr on its own; what it says is in the errors too
	logging.Disable()
	ctx, stop := signal.NotifyContext(context.Background(), ending()...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "edgecache: "+printableLines(err.Error()))
	}
	os.Exit(exitCode(err))
}

// ending are the signals that end a command in order. SIGHUP does unless it was ignored at the
// start, as nohup has it.
func ending() []os.Signal {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

func exitCode(err error) int {
	var usage *usageError
	var found *diagnosed
	switch {
	case err == nil:
		return 0
	case errors.As(err, &found):
		return int(found.grade)
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailed
}

// run executes one command line. It returns when the command is done, for serve and origin once ctx
// ended and everything is closed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	p := &program{stdin: os.Stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, environ: os.Environ}
	return p.run(ctx, args)
}

// program is what the commands share: the streams, the environment, and the flags that each of them
// has.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        func() []string // nil: nothing is said about variables that are none of ours

	configFile string
	logLevel   string
	started    bool        // the command line was understood
	settings   []slog.Attr // that are not the defaults
	endLog     func()      // logs what was folded
}

func (p *program) run(ctx context.Context, args []string) error {
	root := p.root()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil || p.started {
		return err
	}
	return usagef("%s\nrun '%s --help' for what it takes", strings.TrimSpace(err.Error()), command.CommandPath())
}

const rootLong = `edgecache keeps the profiles of a chat's users close to the services that show them: in the
memory of each node, behind that in Redis, and behind that at the source of truth.

Each flag can also be set by the environment as EDGECACHE_ and its name in capitals
(EDGECACHE_SAMPLE_USERS), or in a YAML file (--config) under its name; there, what is under
the name of a command ("serve:") is for that command alone. The command line comes first,
then the environment, then the file. Secrets may come from files: JWT_SECRET_FILE,
EDGECACHE_DB_FILE, --redis-password-file.`

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "edgecache",
		Short: "Keeps user profiles within reach of the chat nodes that show them",
		Long:  rootLong,
		Example: `  edgecache serve                    everything embedded, to try it out
  edgecache get 123                  ask that node for a user
  edgecache serve --redis redis://10.0.0.5:6379 --origin http://10.0.0.6:8001`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return p.understood(cmd) },
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(explainFlag)
	// No template of cobra's is set: text/template finds methods by their names, so that the linker
	// would have to keep every method of every type, and the binary would be half as large again.
	flags := root.PersistentFlags()
	flags.StringVar(&p.configFile, "config", "", "YAML `FILE` with settings")
	flags.StringVar(&p.logLevel, "log-level", "info", "least `LEVEL` to log: debug, info, warn or error")
	root.AddCommand(p.serveCommand(), p.originCommand(), p.getCommand(), p.batchCommand(), p.putCommand(),
		p.invalidateCommand(), p.statsCommand(), p.healthCommand(), p.clusterCommand(), p.whyCommand(), p.doctorCommand(),
		p.topCommand(), p.prewarmCommand(), p.eventsCommand(), p.verifyCommand(), p.replayCommand(), p.benchCommand(),
		p.fnCommand(), p.storeCommand(), p.tokenCommand(), p.versionCommand())
	return root
}

// understood is called once the command line is: what fails from here on needs no hint at the help.
func (p *program) understood(cmd *cobra.Command) error {
	p.started = true
	p.warnUnknown(cmd.Root())
	if err := p.settle(cmd); err != nil {
		return &usageError{err}
	}
	p.settings = changedSettings(cmd)
	return nil
}
