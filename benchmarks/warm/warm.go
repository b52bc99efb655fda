// Package warm replays the minute after a full restart of a cluster, Redis included, from a
// recorded chat: once cold, once after a prewarm of the users who were active in the seven days
// before. It prints where the answers came from, second by second summed up, and what the origin
// was asked.
//
//	go run -C benchmarks . warm -trace FILE -out results
//
// The chat is replayed much faster than it happened, so that a minute holds some traffic; so most
// lookups of later seconds are of days after the restart, and of users that no source could have
// named before it.
package warm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// params are the sizes of a run.
type params struct {
	trace string
	nodes int
	rate  int           // lookups a second, all nodes together
	lasts time.Duration // how long the replay goes on
	at    float64       // where in the trace the restart is
	least time.Duration // the origin's latency is drawn between these
	most  time.Duration
	out   string
}

// Run is the command warm.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	var p params
	f := flag.NewFlagSet("warm", flag.ContinueOnError)
	f.StringVar(&p.trace, "trace", "", "file with the chat")
	f.IntVar(&p.nodes, "nodes", 3, "nodes")
	f.IntVar(&p.rate, "rate", 2000, "lookups a second, all nodes together")
	f.DurationVar(&p.lasts, "for", time.Minute, "how long to replay")
	f.Float64Var(&p.at, "at", 0.5, "where in the chat the restart is, 0 to 1")
	f.DurationVar(&p.least, "least", 50*time.Millisecond, "the origin's shortest latency")
	f.DurationVar(&p.most, "most", 200*time.Millisecond, "the origin's longest latency")
	f.StringVar(&p.out, "out", "", "folder for warm.md; default none is written")
	if err := f.Parse(args); err != nil {
		return err
	}
	if p.trace == "" || p.nodes < 1 || p.nodes > 64 || p.rate < 1 || p.lasts < time.Second || p.at <= 0 || p.at >= 1 || p.least > p.most {
		return errors.New("want -trace FILE, 1 to 64 -nodes, -rate from 1, -for from 1s, -at above 0 and below 1, -least up to -most")
	}
	chat, err := readChat(p)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "restart at %s; %d users active in the 7 days before, %d lookups follow\n",
		chat.restart.UTC().Format("2006-01-02 15:04"), len(chat.active), len(chat.lookups))
	cold, err := measure(ctx, p, chat, false)
	if err != nil {
		return err
	}
	warm, err := measure(ctx, p, chat, true)
	if err != nil {
		return err
	}
	text := report(p, chat, cold, warm)
	fmt.Fprint(stdout, text)
	if p.out != "" {
		if err := os.WriteFile(filepath.Join(p.out, "warm.md"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if least := warm.leastActive(); least < goal {
		return fmt.Errorf("in one second only %.2f %% of the active users' lookups were hits; want %.0f %%", 100*least, 100*goal)
	}
	return nil
}
