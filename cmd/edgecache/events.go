package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// events is what the commands under "events" share.
type events struct {
	*program
	redis      string
	redisFiles redisFiles
	json       bool
}

func (p *program) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Look at the stream of changes, and put back what could not be applied",
		Long: `Shows the stream of changes (events:users) as it is in Redis, how far the workers that apply
it have come, and the dead letters: entries that no worker could apply.`,
		Example: `  edgecache events tail --redis redis://10.0.0.5:6379
  edgecache events pending
  edgecache events dead
  edgecache events replay 1764000000000-0`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("events has no %q; want tail, pending, dead or replay", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.eventsTailCommand(), p.eventsPendingCommand(), p.eventsDeadCommand(), p.eventsReplayCommand())
	return cmd
}

func (e *events) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.redis, "redis", "redis://127.0.0.1:6379", "`URL` of the Redis of the nodes [REDIS_URL, REDIS_HOST, REDIS_PORT]")
	e.redisFiles.flags(cmd)
}

func (e *events) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&e.json, "json", false, "print one JSON object a line")
}

// open connects. The caller closes the client.
func (e *events) open(ctx context.Context) (redis.UniversalClient, error) {
	client, err := e.client()
	if err != nil {
		return nil, err
	}
	if err := e.ping(ctx, client); err != nil {
		_ = client.Close() // nothing was sent
		return nil, err
	}
	return client, nil
}

// client returns a client that has not connected.
func (e *events) client() (redis.UniversalClient, error) {
	url, err := e.redisFiles.complete(e.redis)
	if err != nil {
		return nil, err
	}
	client, err := redisconn.OpenTailAs("events", url)
	if err != nil {
		return nil, usageRedis(err)
	}
	return client, nil
}

func (e *events) ping(ctx context.Context, client redis.UniversalClient) error {
	if err := reach(ctx, func(ctx context.Context) error { return client.Ping(ctx).Err() }); err != nil {
		return fmt.Errorf("cannot reach Redis at %s (--redis): %w", redactURL(e.redis), err)
	}
	return nil
}

// line prints one value as JSON.
func (e *events) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", jsonFor(e.stdout, text))
	return err
}

func (p *program) eventsPendingCommand() *cobra.Command {
	e := events{program: p}
	cmd := &cobra.Command{
		Use:   "pending",
		Short: "Show how far the workers have come",
		Long: `Shows the length of the stream, how far its group of workers has come, what each worker was
given and has not done, and how many dead letters there are.`,
		Example: "  edgecache events pending\n  edgecache events pending --redis redis://10.0.0.5:6379 --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return e.pending(cmd.Context()) },
	}
	e.flags(cmd)
	e.jsonFlag(cmd)
	return cmd
}

func (e *events) pending(ctx context.Context) error {
	client, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	backlog, err := stream.Inspect(ctx, client, "", "")
	if errors.Is(err, stream.ErrNoEntry) {
		return explainNothing(ctx, client)
	}
	if err != nil {
		return err
	}
	if e.json {
		return e.line(backlog)
	}
	now, err := client.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("ask Redis for its time: %w", err)
	}
	_, err = fmt.Fprint(e.stdout, describeBacklog(backlog, now))
	return err
}

// explainNothing says whether it is the stream or its group that is not there.
func explainNothing(ctx context.Context, client redis.UniversalClient) error {
	n, err := client.Exists(ctx, stream.Name).Result()
	switch {
	case err != nil:
		return fmt.Errorf("look for %s: %w", stream.Name, err)
	case n == 0:
		return fmt.Errorf("there is no stream %s in this Redis: no change was ever announced here", stream.Name)
	}
	return fmt.Errorf("the stream %s has no group of workers: no node has run on this Redis yet", stream.Name)
}

func describeBacklog(b stream.Backlog, now time.Time) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "entries\t%d\nlast id\t%s\ndelivered up to\t%s\npending\t%d\n", b.Length, printable(b.LastID), printable(b.Delivered), b.Pending)
	if b.Oldest != "" {
		fmt.Fprintf(w, "oldest pending\t%s, %v ago\n", printable(b.Oldest), now.Sub(idTime(b.Oldest)).Round(time.Millisecond))
	}
	fmt.Fprintf(w, "dead letters\t%d\n", b.Dead)
	_ = w.Flush() // to memory
	if len(b.Consumers) == 0 {
		return out.String()
	}
	fmt.Fprint(w, "\nWORKER\tPENDING\tIDLE\n")
	for _, name := range slices.Sorted(maps.Keys(b.Consumers)) {
		c := b.Consumers[name]
		fmt.Fprintf(w, "%s\t%d\t%v\n", orDash(name), c.Pending, c.Idle.Duration().Round(time.Millisecond))
	}
	_ = w.Flush()
	return out.String()
}

// idTime returns when an entry was added, by the clock of the Redis server.
func idTime(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseInt(ms, 10, 64)
	return time.UnixMilli(n)
}

// orDash returns text that others wrote as a terminal may get it, "-" for none.
func orDash(s string) string { return cmp.Or(printable(s), "-") }
