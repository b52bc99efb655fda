package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/stream"
)

// deadPage is how many dead letters are read at once.
const deadPage = 1000

// eventsDead is the command "events dead".
type eventsDead struct {
	events
	count int
}

// deadLine is what is shown of one dead letter.
type deadLine struct {
	stream.DeadLetter
	User string `json:"user,omitempty"`
}

func (p *program) eventsDeadCommand() *cobra.Command {
	d := eventsDead{events: events{program: p}}
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Show the entries that could not be applied",
		Long: `Prints one line for each dead letter, the oldest first: its id, which "events replay" takes; when
it died; the id that it had in the stream; how often it was tried; the user; and the reason.`,
		Example: "  edgecache events dead\n  edgecache events dead --count 1000 --json | jq .reason",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	d.flags(cmd)
	d.jsonFlag(cmd)
	cmd.Flags().IntVar(&d.count, "count", 100, "show `N` of them at most")
	return cmd
}

func (d *eventsDead) run(ctx context.Context) error {
	if d.count < 1 {
		return usagef("--count %d: want 1 or more", d.count)
	}
	client, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	shown := 0
	err = eachDead(ctx, client, func(l stream.DeadLetter) (bool, error) {
		if shown == d.count {
			fmt.Fprintf(d.stderr, "there are more than %d; --count shows more\n", d.count)
			return false, nil
		}
		shown++
		return true, d.show(l)
	})
	if err == nil && shown == 0 {
		fmt.Fprintln(d.stderr, "there are no dead letters")
	}
	return err
}

func (d *eventsDead) show(l stream.DeadLetter) error {
	user := userOf(l)
	if d.json {
		return d.line(deadLine{l, user})
	}
	cut := ""
	if l.Cut {
		cut = " (it was too large to be kept whole)"
	}
	_, err := fmt.Fprintf(d.stdout, "%s  %s  entry %s  tries %d  user %s  %s%s\n", orDash(l.ID), l.At.UTC().Format("2006-01-02 15:04:05.000"),
		orDash(l.Entry), l.Deliveries, orDash(user), orDash(l.Reason), cut)
	return err
}

// userOf returns whose event it was, empty when that cannot be read.
func userOf(l stream.DeadLetter) string {
	values := make(map[string]any, len(l.Fields))
	for name, value := range l.Fields {
		values[name] = value
	}
	e, _ := stream.Decode(values) // its error is why it is dead
	return e.UserID
}

// eachDead calls f for each dead letter, oldest first, until f returns false or an error.
func eachDead(ctx context.Context, client redis.UniversalClient, f func(stream.DeadLetter) (bool, error)) error {
	dead, err := stream.NewDeadLetters(stream.DeadConfig{Client: client})
	if err != nil {
		return err
	}
	for after := ""; ; {
		letters, err := dead.List(ctx, after, deadPage)
		if err != nil || len(letters) == 0 {
			return err
		}
		for _, l := range letters {
			if on, err := f(l); !on || err != nil {
				return err
			}
			after = l.ID
		}
	}
}

// eventsReplay is the command "events replay".
type eventsReplay struct {
	events
	all, dryRun bool
}

func (p *program) eventsReplayCommand() *cobra.Command {
	r := eventsReplay{events: events{program: p}}
	cmd := &cobra.Command{
		Use:   "replay ID... | --all",
		Short: "Put dead entries back into the stream",
		Long: `Puts dead letters back into the stream as new entries, which keep the time of the original, and
removes them from the dead letters. Ids are those that "events dead" shows. Ends with 1 when
one of them is not there or cannot be put back; the others are put back all the same.`,
		Example: `  edgecache events replay 1764000000000-0
  edgecache events replay --all --dry-run
  edgecache events replay --all`,
		RunE: func(cmd *cobra.Command, ids []string) error { return r.run(cmd.Context(), ids) },
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&r.all, "all", false, "put back every dead letter that there is now")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "say what would be put back, and change nothing")
	return cmd
}

func (r *eventsReplay) run(ctx context.Context, ids []string) error {
	if r.all == (len(ids) > 0) {
		return usagef("replay wants the ids of dead letters, or --all, such as: edgecache events replay 1764000000000-0")
	}
	for _, id := range ids {
		if !entryID.MatchString(id) {
			return usagef("%q is no id of a dead letter; want one such as 1764000000000-0, as 'edgecache events dead' shows it", id)
		}
	}
	client, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	there, inOrder, err := listDead(ctx, client)
	if err != nil {
		return err
	}
	if r.all {
		ids = inOrder
	}
	return r.putBack(ctx, client, there, ids)
}

// listDead returns whether each dead letter was kept whole, and their ids in order. It is taken
// before the first is put back, which may die again.
func listDead(ctx context.Context, client redis.UniversalClient) (whole map[string]bool, ids []string, err error) {
	whole = map[string]bool{}
	err = eachDead(ctx, client, func(l stream.DeadLetter) (bool, error) {
		whole[l.ID], ids = !l.Cut, append(ids, l.ID)
		return true, nil
	})
	return whole, ids, err
}

func (r *eventsReplay) putBack(ctx context.Context, client redis.UniversalClient, there map[string]bool, ids []string) error {
	dead, err := stream.NewDeadLetters(stream.DeadConfig{Client: client})
	if err != nil {
		return err
	}
	done, verb := 0, "put back"
	var refused []error
	for _, id := range ids {
		whole, ok := there[id]
		switch {
		case !ok:
			refused = append(refused, fmt.Errorf("%s is not among the dead letters", id))
			continue
		case !whole:
			refused = append(refused, fmt.Errorf("%s was too large to be kept whole, so it cannot be put back", id))
			continue
		}
		if !r.dryRun {
			if _, err := dead.Replay(ctx, id); err != nil {
				refused = append(refused, err)
				continue
			}
		}
		done++
	}
	if r.dryRun {
		verb = "would be put back"
	}
	if _, err := fmt.Fprintf(r.stdout, "%d of %d %s\n", done, len(ids), verb); err != nil {
		return err
	}
	return errors.Join(refused...)
}
