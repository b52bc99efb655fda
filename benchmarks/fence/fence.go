// Package fence measures what a shorter tier.Config.FenceAfter costs: Redis calls and processor
// time per second and node, on a stream at rest and on a busy one.
//
//	go run -C benchmarks . fence -out results
package fence

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// nodes is how many a run has, in this process, so that the figures per node are means.
const nodes = 3

// cost is what one node takes in a second.
type cost struct {
	calls float64
	cpu   time.Duration
}

// Run is the command fence.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("fence", flag.ContinueOnError)
	lasts := f.Duration("for", 10*time.Second, "how long each of eight runs is measured")
	out := f.String("out", "", "folder for fence.md; default none is written")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *lasts < time.Second {
		return errors.New("want -for from 1s")
	}
	var report strings.Builder
	report.WriteString("# What a shorter fence costs\n\nPer second and node, three nodes in one process, Redis on the same machine; `go run -C benchmarks . fence -out results`.\n" +
		"Processor time is that of the nodes and of the writer, not of Redis.\n\n" +
		"| FenceAfter | Redis calls, at rest | processor, at rest | Redis calls, 200 changes/s | processor, 200 changes/s |\n|---|---|---|---|---|\n")
	for _, fence := range []time.Duration{3 * time.Second, time.Second, 500 * time.Millisecond, 250 * time.Millisecond} {
		idle, err := measure(ctx, fence, 0, *lasts)
		if err != nil {
			return err
		}
		busy, err := measure(ctx, fence, 200, *lasts)
		if err != nil {
			return err
		}
		fmt.Fprintf(&report, "| %v | %.1f | %v | %.1f | %v |\n", fence, idle.calls,
			idle.cpu.Round(10*time.Microsecond), busy.calls, busy.cpu.Round(10*time.Microsecond))
	}
	if _, err := io.WriteString(stdout, report.String()); err != nil || *out == "" {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "fence.md"), []byte(report.String()), 0o644)
}

// measure runs nodes with that fence beside rate changes a second.
func measure(ctx context.Context, fence time.Duration, rate int, lasts time.Duration) (cost, error) {
	server, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return cost{}, err
	}
	defer func() { _ = server.Close() }()
	for range nodes {
		n, err := node.New(node.Config{RedisURL: server.URL(), Origin: tier.LoaderFunc(nobody), Tier: tier.Config{FenceAfter: fence}})
		if err != nil {
			return cost{}, err
		}
		defer func() { _ = n.Close() }()
		if err := n.Start(ctx); err != nil {
			return cost{}, err
		}
	}
	began, before, err := spent(ctx, server.Client())
	if err != nil {
		return cost{}, err
	}
	if err := change(ctx, server.Client(), rate, lasts); err != nil {
		return cost{}, err
	}
	ended, after, err := spent(ctx, server.Client())
	per := nodes * lasts.Seconds()
	return cost{float64(after-before) / per, (ended - began) / time.Duration(per)}, err
}

func nobody(context.Context, []string) (profile.Batch, error) { return profile.Batch{}, nil }

// change announces rate changes a second for that long.
func change(ctx context.Context, client *redis.Client, rate int, lasts time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	if rate == 0 {
		<-ctx.Done()
		return nil
	}
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: client})
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		p := sample.User(1, 1+i%1000)
		p.UpdatedAt = time.Now().UnixMilli()
		e := stream.Event{Kind: profile.Updated, UserID: p.ID, Version: p.UpdatedAt, Profile: p}
		if _, err := publisher.Publish(ctx, e); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// spent returns this process's processor time and the commands that Redis has handled.
func spent(ctx context.Context, client *redis.Client) (cpu time.Duration, calls int64, err error) {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0, 0, err
	}
	info, err := client.Info(ctx, "stats").Result()
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(info, "total_commands_processed:")
	number, _, _ := strings.Cut(rest, "\r\n")
	calls, err = strconv.ParseInt(number, 10, 64)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()), calls, err
}
