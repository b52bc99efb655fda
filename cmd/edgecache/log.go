package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
)

// logger returns one that writes to stderr: lines for people on a terminal, JSON for machines elsewhere.
func (p *program) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(p.logLevel)); err != nil {
		return nil, usagef("--log-level %q: want debug, info, warn or error", p.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	if terminal(p.stderr) {
		return slog.New(slog.NewTextHandler(p.stderr, options)), nil
	}
	return slog.New(slog.NewJSONHandler(p.stderr, options)), nil
}

// terminal reports whether a stream leads to or from a person.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// severe passes on errors alone. The embedded Redis cannot do all that a real one can, and the warnings about that would
// only alarm whoever tries edgecache out.
type severe struct{ slog.Handler }

// Enabled implements slog.Handler.
func (s severe) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && s.Handler.Enabled(ctx, level)
}
