package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/stream/history"
)

const (
	tailBlock = 500 * time.Millisecond // at most as long goes by before an interrupt is obeyed
	tailPage  = 256
	tailPause = 500 * time.Millisecond // between two attempts to reach a Redis that is gone
)

// entryID is the id of an entry, in full: "ms" alone would stand for several.
var entryID = regexp.MustCompile(`^\d{1,20}-\d{1,20}$`)

// eventsTail is the command "events tail".
type eventsTail struct {
	events
	from  string
	count int

	cursor string
	shown  int
}

func (p *program) eventsTailCommand() *cobra.Command {
	t := eventsTail{events: events{program: p}}
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the changes as they come",
		Long: `Prints one line for each entry of the stream: its id, when it was added, what happened to
which user and in which version, and whether the event holds the whole profile, parts of it
(patch), or nothing of it (bare). What is no event is malformed, with the reason. It changes nothing, goes
on when Redis comes back, and ends on an interrupt.`,
		Example: `  edgecache events tail
  edgecache events tail --from start --count 10
  edgecache events tail --from 1764000000000-0 --json | jq .user`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context()) },
	}
	t.flags(cmd)
	t.jsonFlag(cmd)
	cmd.Flags().StringVar(&t.from, "from", "now", "begin after the entry of this `ID`, at the start of the stream, or now: ID|start|now")
	cmd.Flags().IntVar(&t.count, "count", 0, "end after `N` entries; 0 for never")
	return cmd
}

func (t *eventsTail) run(ctx context.Context) error {
	switch {
	case t.count < 0:
		return usagef("--count %d: want 0 or more", t.count)
	case t.from != "now" && t.from != "start" && !entryID.MatchString(t.from):
		return usagef("--from %q: want the id of an entry, such as 1764000000000-0, or start, or now", t.from)
	}
	client, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := t.begin(ctx, client); err != nil {
		return err
	}
	return t.follow(ctx, client)
}

func (t *eventsTail) begin(ctx context.Context, client redis.UniversalClient) (err error) {
	switch t.from {
	case "start":
		t.cursor = "0-0"
	case "now":
		t.cursor, err = stream.LastID(ctx, client, stream.Name)
	default:
		t.cursor = t.from
	}
	return err
}

// follow shows entries until ctx ends or count are shown. A link that fails is made again.
func (t *eventsTail) follow(ctx context.Context, client redis.UniversalClient) error {
	for failed := 0; ctx.Err() == nil && (t.count == 0 || t.shown < t.count); {
		err := t.resume(ctx, client, failed > 0)
		if err == nil {
			failed = 0
			continue
		}
		if out := (*outputError)(nil); errors.As(err, &out) {
			return out.err
		}
		if ctx.Err() != nil {
			return nil
		}
		failed++
		fmt.Fprintf(t.stderr, "attempt %d: %s; the next in %v\n", failed, printable(plain(err).Error()), tailPause)
		select {
		case <-time.After(tailPause):
		case <-ctx.Done():
		}
	}
	return nil
}

// outputError is a failure to print, which no other attempt can mend.
type outputError struct{ err error }

// Error returns why it could not be printed.
func (o *outputError) Error() string { return o.err.Error() }

// resume shows what one read returns. After a failure the stream may be another one, whose ids are
// below the cursor: then it begins at that stream's start, where a read from the cursor would wait
// for ever.
func (t *eventsTail) resume(ctx context.Context, client redis.UniversalClient, failed bool) error {
	if failed {
		last, err := stream.LastID(ctx, client, stream.Name)
		if err != nil {
			return err
		}
		if stream.EntryBefore(last, t.cursor) {
			fmt.Fprintf(t.stderr, "the stream now ends at %s, before %s: it was lost or restored; going on from its start\n",
				printable(last), printable(t.cursor))
			t.cursor = "0-0"
		}
	}
	read, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{stream.Name, t.cursor}, Count: tailPage, Block: tailBlock}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read %s: %w", stream.Name, err)
	}
	if len(read) == 0 {
		return nil
	}
	for _, entry := range read[0].Messages {
		if err := t.show(history.LineOf(entry)); err != nil {
			return &outputError{err}
		}
		if t.cursor, t.shown = entry.ID, t.shown+1; t.shown == t.count {
			break
		}
	}
	return nil
}

func (t *eventsTail) show(l history.Line) error {
	if t.json {
		return t.line(l)
	}
	form := l.Form
	if l.Reason != "" {
		form += ": " + l.Reason
	}
	version := "-"
	if l.Version > 0 {
		version = fmt.Sprint(l.Version)
	}
	_, err := fmt.Fprintf(t.stdout, "%s  %s  %-24s  %s  %s  %s\n", orDash(l.ID), l.At.Format("2006-01-02 15:04:05.000"), orDash(l.Kind),
		orDash(l.User), version, orDash(form))
	return err
}
