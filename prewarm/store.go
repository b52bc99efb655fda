package prewarm

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// runTTL is how long a run, its plan and its progress stay in Redis, beside twice the time that
	// its rate says it takes.
	runTTL = 6 * time.Hour
	// deadAfter is how long a run that shows no sign of life keeps others from beginning one.
	deadAfter = 30 * time.Second
	// liveFor is how long a node counts as taking part after its last beat.
	liveFor = 3 * time.Second
	// maxNode is the longest name of a node, in bytes.
	maxNode = 255
	// keptFailures is how many failures Redis keeps of a run.
	keptFailures = 1000
)

var (
	//go:embed scripts/claim.lua
	claimSource string
	//go:embed scripts/publish.lua
	publishSource string
	//go:embed scripts/beat.lua
	beatSource string
	//go:embed scripts/done.lua
	doneSource string
	//go:embed scripts/cancel.lua
	cancelSource string

	claimScript   = redis.NewScript(claimSource)
	publishScript = redis.NewScript(publishSource)
	beatScript    = redis.NewScript(beatSource)
	doneScript    = redis.NewScript(doneSource)
	cancelScript  = redis.NewScript(cancelSource)
)

// store is what the cluster knows of its run, in Redis:
//
//	{prefix}:run            the record: id, state, options, sources, counts of the ranges that are done
//	{prefix}:<id>:ranges    which ranges are done
//	{prefix}:<id>:nodes     what each node reported last
//	{prefix}:<id>:beats     when, by the server's clock
//	{prefix}:<id>:failures  id and reason of the first users who failed
//	prefix:<id>:plan:<n>    the users of range n
//
// The braces keep all but the plan in one slot of a cluster, because scripts touch several. The
// plan is spread over it.
type store struct {
	client       redis.UniversalClient
	prefix, node string
}

func newStore(client redis.UniversalClient, prefix, node string) *store {
	return &store{client, prefix, node}
}

func (s *store) key(parts ...string) string {
	key := "{" + s.prefix + "}"
	for _, p := range parts {
		key += ":" + p
	}
	return key
}

func (s *store) run() string { return s.key("run") }

// record is the run as Redis has it.
type record struct {
	id, node       string
	state          State
	err            string
	options        Options
	sources        []SourceCount
	planned        int64
	ranges         int
	filled         rangeSet
	counts         Counts // of the ranges that are done
	started, ended time.Time
}

// ttl is how long what belongs to the run is kept.
func (r *record) ttl() time.Duration { return ttlOf(r.planned, r.options) }

func ttlOf(planned int64, o Options) time.Duration {
	if o.Unlimited {
		return runTTL
	}
	return runTTL + time.Duration(2*float64(planned)/o.Rate)*time.Second
}

// read returns the last run; the error wraps ErrNoRun when there is none.
func (s *store) read(ctx context.Context) (*record, error) {
	fields, err := s.client.HGetAll(ctx, s.run()).Result()
	if err != nil {
		return nil, fmt.Errorf("prewarm: read the run: %w", err)
	}
	if len(fields) == 0 {
		return nil, ErrNoRun
	}
	return decodeRecord(fields)
}

func decodeRecord(f map[string]string) (*record, error) {
	r := &record{id: f["id"], node: f["node"], state: State(f["state"]), err: f["error"]}
	var numbers [8]int64
	for i, name := range []string{"planned", "ranges", "processed", "cached", "missing", "errors", "started", "finished"} {
		var err error
		if text := f[name]; text != "" {
			if numbers[i], err = strconv.ParseInt(text, 10, 64); err != nil {
				return nil, fmt.Errorf("%w: run %q: %s is %.40q; want a number", ErrMalformed, r.id, name, text)
			}
		}
	}
	r.planned, r.ranges = numbers[0], int(numbers[1])
	r.counts = Counts{TotalProcessed: numbers[2], Cached: numbers[3], Missing: numbers[4], Errors: numbers[5]}
	r.started = time.UnixMilli(numbers[6])
	if numbers[7] > 0 {
		r.ended = time.UnixMilli(numbers[7])
	}
	if err := r.filled.decode(f["filled"]); err != nil {
		return nil, fmt.Errorf("%w: run %q: filled: %w", ErrMalformed, r.id, err)
	}
	if err := json.Unmarshal([]byte(cmp.Or(f["options"], "{}")), &r.options); err != nil {
		return nil, fmt.Errorf("%w: run %q: options: %w", ErrMalformed, r.id, err)
	}
	if err := json.Unmarshal([]byte(cmp.Or(f["sources"], "null")), &r.sources); err != nil {
		return nil, fmt.Errorf("%w: run %q: sources: %w", ErrMalformed, r.id, err)
	}
	return r, nil
}

// claim makes id the cluster's run. The error wraps ErrRunning when there is one.
func (s *store) claim(ctx context.Context, id string, o Options) error {
	options, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("prewarm: options: %w", err)
	}
	reply, err := claimScript.Run(ctx, s.client, []string{s.run()}, id, s.node, options, runTTL.Milliseconds(), deadAfter.Milliseconds()).Slice()
	switch {
	case err != nil:
		return fmt.Errorf("prewarm: begin a run: %w", err)
	case len(reply) == 4:
		return fmt.Errorf("%w: %v, which is %v, begun by %v", ErrRunning, reply[1], reply[2], reply[3])
	}
	return nil
}

// planning tells the cluster that the plan of id is still being made, and returns the state of that
// run.
func (s *store) planning(ctx context.Context, id string) (State, error) {
	return s.publish(ctx, id, Planning, runTTL)
}

// publish ends the planning of id in state, and returns the state that it has then: Cancelled,
// perhaps, or "" when it is not the run any more.
func (s *store) publish(ctx context.Context, id string, state State, ttl time.Duration, fields ...any) (State, error) {
	args := append([]any{id, string(state), ttl.Milliseconds()}, fields...)
	now, err := publishScript.Run(ctx, s.client, []string{s.run()}, args...).Text()
	if err != nil {
		return "", fmt.Errorf("prewarm: publish run %s: %w", id, err)
	}
	return State(now), nil
}

// beat reports this node's part in r, and returns the state of the run, "" when it is not the run
// any more, and how many nodes take part.
func (s *store) beat(ctx context.Context, r *record, report []byte) (State, int, error) {
	keys := []string{s.run(), s.key(r.id, "nodes"), s.key(r.id, "beats")}
	reply, err := beatScript.Run(ctx, s.client, keys, r.id, s.node, report, liveFor.Milliseconds(), r.ttl().Milliseconds()).Slice()
	if err != nil || len(reply) != 2 {
		return "", 0, fmt.Errorf("prewarm: report to run %s: %w", r.id, err)
	}
	state, _ := reply[0].(string)
	live, _ := reply[1].(int64)
	return State(state), int(live), nil
}

// leave tells the others that this node takes no part any more.
func (s *store) leave(ctx context.Context, r *record) error {
	if err := s.client.ZRem(ctx, s.key(r.id, "beats"), s.node).Err(); err != nil {
		return fmt.Errorf("prewarm: leave run %s: %w", r.id, err)
	}
	return nil
}

// doneRange is the outcome of a range.
type doneRange struct {
	number   int
	counts   Counts
	failures []Failure
}

// done reports ranges, and returns the state of the run as beat does.
func (s *store) done(ctx context.Context, r *record, ranges []doneRange) (State, error) {
	args := []any{r.id, r.ttl().Milliseconds(), 2 * keptFailures}
	for _, d := range ranges {
		c := d.counts
		args = append(args, d.number, c.TotalProcessed, c.Cached, c.Missing, c.Errors, len(d.failures))
		for _, f := range d.failures {
			args = append(args, f.ID, f.Reason)
		}
	}
	keys := []string{s.run(), s.key(r.id, "ranges"), s.key(r.id, "failures")}
	state, err := doneScript.Run(ctx, s.client, keys, args...).Text()
	if err != nil {
		return "", fmt.Errorf("prewarm: report %d ranges to run %s: %w", len(ranges), r.id, err)
	}
	return State(state), nil
}

// finished returns which ranges are done.
func (s *store) finished(ctx context.Context, id string) (done [profile.Ranges]bool, err error) {
	numbers, err := s.client.HKeys(ctx, s.key(id, "ranges")).Result()
	if err != nil {
		return done, fmt.Errorf("prewarm: ranges of run %s: %w", id, err)
	}
	for _, text := range numbers {
		if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < profile.Ranges {
			done[n] = true
		}
	}
	return done, nil
}

// cancel ends the run under way and returns its id; the error wraps ErrNoRun when there is none.
func (s *store) cancel(ctx context.Context) (string, error) {
	id, err := cancelScript.Run(ctx, s.client, []string{s.run()}).Text()
	switch {
	case err != nil:
		return "", fmt.Errorf("prewarm: cancel: %w", err)
	case id == "":
		return "", ErrNoRun
	}
	return id, nil
}
