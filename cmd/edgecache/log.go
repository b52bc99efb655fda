package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/internal/logfold"
)

// logger returns one that writes to stderr: lines for people on a terminal, JSON for machines
// elsewhere.
func (p *program) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(p.logLevel)); err != nil {
		return nil, usagef("--log-level %q: want debug, info, warn or error", p.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	var lines slog.Handler = slog.NewJSONHandler(p.stderr, options)
	if terminal(p.stderr) {
		lines = slog.NewTextHandler(p.stderr, options)
	}
	folded := logfold.New(lines)
	p.endLog = folded.Close
	return slog.New(folded), nil
}

// sayStarted logs what was started, with the settings that are not the defaults, and returns what
// is to be called when it has stopped.
func (p *program) sayStarted(log *slog.Logger, what string) (stopped func()) {
	began := time.Now()
	log.Info("started: "+what, "version", version(), slog.Attr{Key: "settings", Value: slog.GroupValue(p.settings...)})
	return func() {
		log.Info("stopped: "+what, "after", time.Since(began).Round(time.Millisecond).String())
		p.endLog()
	}
}

// changedSettings are the flags that were set, on the command line or elsewhere, without secrets.
func changedSettings(cmd *cobra.Command) (settings []slog.Attr) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		if strings.Contains(value, "://") || f.Name == "db" {
			value = redactURL(value)
		}
		settings = append(settings, slog.String(f.Name, value))
	})
	return settings
}

// terminal reports whether a stream leads to or from a person.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// severe passes on errors alone. The embedded Redis cannot do all that a real one can, and the
// warnings about that would only alarm people who try edgecache out.
type severe struct{ slog.Handler }

// Enabled implements slog.Handler.
func (s severe) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && s.Handler.Enabled(ctx, level)
}
