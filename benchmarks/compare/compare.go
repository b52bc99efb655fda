// Package compare measures edgecache beside the libraries that it stands on and beside its peers,
// in one run on one machine. Contenders take turns in short rounds, in an order drawn anew each
// time, so that whatever else the machine does meets them all; the figure to trust is the median of
// the per-round ratios, not the times.
//
//	go run -C benchmarks . compare -out results
//
// It starts a private redis-server, needs nothing else, and takes about six minutes.
package compare

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/machine"
)

// params are the sizes of a run.
type params struct {
	// Users are in Redis; L1Users of them are looked up in memory and over HTTP.
	Users   int `json:"users"`
	L1Users int `json:"l1Users"`
	// Seed makes the users, the keys that are chosen, and the order of turns.
	Seed uint64 `json:"seed"`
	// Rounds is how many turns each contender has, Round how long one is. L1Round and HTTPRound are
	// those of the rows of that name: memory needs less, wrk cannot do with less than a second.
	Rounds    int           `json:"rounds"`
	Round     time.Duration `json:"roundNanos"`
	L1Round   time.Duration `json:"l1RoundNanos"`
	HTTPRound time.Duration `json:"httpRoundNanos"`
	// Install lets the program install wrk where it is missing and can be had.
	Install bool `json:"-"`
}

// group is what is measured together and can be asked for by name.
type group struct {
	name string
	run  func(context.Context, *rig) ([]Table, error)
}

func groups() []group {
	return []group{
		{"l1", measureL1}, {"l2", measureL2}, {"batch", measureBatch}, {"http", measureHTTP},
		{"prewarm", measurePrewarm}, {"change", measureChange}, {"memory", measureMemory},
	}
}

// Run is the command compare. The first argument may name a child's task: see child.go.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) > 0 && isChild(args[0]) {
		return runChild(ctx, args, stdout)
	}
	var p params
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.IntVar(&p.Users, "users", 300_000, "sample users in Redis and in the memory rows")
	f.IntVar(&p.L1Users, "l1-users", 10_000, "users looked up in memory and over HTTP")
	f.Uint64Var(&p.Seed, "seed", 1, "seed of the users, keys and turns")
	f.IntVar(&p.Rounds, "rounds", 15, "turns of each contender")
	f.DurationVar(&p.Round, "round", 200*time.Millisecond, "length of one turn")
	f.DurationVar(&p.L1Round, "l1-round", 100*time.Millisecond, "length of one turn in the L1 rows")
	f.DurationVar(&p.HTTPRound, "http-round", time.Second, "length of one turn in the HTTP rows; whole seconds for wrk")
	f.BoolVar(&p.Install, "install", true, "as root on Debian, install wrk when it is missing")
	only := f.String("only", "", "groups to measure, comma-separated: l1,l2,batch,http,prewarm,change,memory; default all but prewarm")
	out := f.String("out", "", "folder for the results; default none are written")
	name := f.String("name", "latest", "name of the result files, without extension")
	profile := f.String("cpuprofile", "", "file for a CPU profile; its samples carry the label contender")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := p.validate(); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	stop, err := startProfile(*profile)
	if err != nil {
		return err
	}
	defer stop()
	report, err := measure(ctx, p, chosen, stdout)
	if err != nil {
		return err
	}
	return report.write(*out, *name)
}

func (p params) validate() error {
	if p.L1Users < 100 || p.Users < p.L1Users || p.Rounds < 1 || min(p.Round, p.L1Round, p.HTTPRound) <= 0 {
		return errors.New("want -users >= -l1-users >= 100, -rounds >= 1 and positive lengths of rounds")
	}
	return nil
}

// aside is measured only when it is named: it would make the others wait for minutes.
const aside = "prewarm"

// choose returns the groups named, in the order in which they may run: the changes change what
// others compare.
func choose(only string) (chosen []group, err error) {
	if only == "" {
		return slices.DeleteFunc(groups(), func(g group) bool { return g.name == aside }), nil
	}
	names := strings.Split(only, ",")
	for _, g := range groups() {
		if slices.Contains(names, g.name) {
			chosen = append(chosen, g)
		}
	}
	if len(chosen) != len(names) {
		return nil, fmt.Errorf("-only %q: not all are names of groups", only)
	}
	return chosen, nil
}

func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("CPU profile: %w", err), f.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// measure runs the groups one after another; each prints its tables when it is done.
func measure(ctx context.Context, p params, chosen []group, stdout io.Writer) (*Report, error) {
	began := time.Now()
	r, err := newRig(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.close()
	report := &Report{Parameters: p, Date: began.UTC().Format(time.RFC3339)}
	if report.Machine, err = readMachine(ctx, r.client); err != nil {
		return nil, err
	}
	report.Commit = readCommit(ctx)
	fmt.Fprint(stdout, report.head())
	for _, g := range chosen {
		tables, err := g.run(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.name, err)
		}
		for _, t := range tables {
			fmt.Fprint(stdout, t.text())
		}
		report.Tables = append(report.Tables, tables...)
	}
	report.Machine.LoadAfter = machine.Load()
	report.Seconds = time.Since(began).Seconds()
	fmt.Fprint(stdout, report.verdict())
	return report, nil
}
