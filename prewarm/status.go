package prewarm

import (
	"time"
)

// State says where a run, or a node in it, is.
type State string

const (
	// Idle is a node that has taken part in no run, or a cluster that had none lately.
	Idle State = "idle"
	// Planning is a run whose sources are read.
	Planning State = "planning"
	// Running is a run whose users are loaded into Redis.
	Running State = "running"
	// Filling is a run whose users are all in Redis, while nodes fill their memory.
	Filling State = "filling"
	// Done is a run that is over; some of its users may have failed. If Redis has lost a part of
	// the plan, fewer were processed than planned.
	Done State = "done"
	// Cancelled is a run that somebody ended, or a node that left a run.
	Cancelled State = "cancelled"
	// Failed is a run that has no plan, because no source could be read or Redis did not take it.
	Failed State = "failed"
)

// over reports whether nothing follows s.
func (s State) over() bool { return s == Done || s == Cancelled || s == Failed || s == Idle }

// Counts count users of the plan.
type Counts struct {
	// TotalProcessed counts those whose turn has come, whatever came of it: the sum of the three
	// below.
	TotalProcessed int64 `json:"totalProcessed"`
	// Cached counts those who are in Redis now, by this run or before it.
	Cached int64 `json:"cached"`
	// Missing counts those that the origin does not know.
	Missing int64 `json:"missing"`
	// Errors counts those who could not be loaded, in two tries; in ten when it was Redis that did
	// not take them.
	Errors int64 `json:"errors"`
	// Asked counts the users asked of the origin, second tries included. Absences that Redis knew
	// of count as well.
	Asked int64 `json:"asked"`
}

func (c *Counts) add(o Counts) {
	c.TotalProcessed += o.TotalProcessed
	c.Cached += o.Cached
	c.Missing += o.Missing
	c.Errors += o.Errors
	c.Asked += o.Asked
}

// SourceCount says what one source gave.
type SourceCount struct {
	// Name is the source's.
	Name string `json:"name"`
	// Users counts what it streamed, duplicates included; Invalid how many of those had an id that
	// cannot be one, Old how many were active before the time that counts.
	Users   int64 `json:"users"`
	Invalid int64 `json:"invalid,omitempty"`
	Old     int64 `json:"old,omitempty"`
	// Skipped counts what the source itself could not read.
	Skipped int64 `json:"skipped,omitempty"`
	// Reasons are why the first ten were invalid or skipped, 200 bytes of each at most.
	Reasons []string `json:"reasons,omitempty"`
	// Error is why it ended early, "" when it did not.
	Error string `json:"error,omitempty"`
	// Duration is how long it took, in milliseconds.
	Duration int64 `json:"durationMs"`
}

// Failure is one user who could not be loaded.
type Failure struct {
	// ID is the user's.
	ID string `json:"id"`
	// Reason is the error of the last try.
	Reason string `json:"reason"`
}

// Status says how a run does: for one node (Runner.Status) or for the whole cluster
// (Runner.Cluster).
type Status struct {
	// Run is the run's id, "" when there is none.
	Run string `json:"run,omitempty"`
	// Node is the node that this is about, "" for the cluster.
	Node string `json:"node,omitempty"`
	// State says where it is, and Error why a run has failed.
	State State  `json:"state"`
	Error string `json:"error,omitempty"`
	// Options are those of the run.
	Options Options `json:"options"`
	// Sources says what each source gave.
	Sources []SourceCount `json:"sources,omitempty"`
	// Planned is how many users there are to load, in the whole cluster or, for a node, in the
	// ranges that it has or had.
	Planned int64 `json:"planned"`
	// Whole is how many users the whole cluster's run has planned, which each node's memory is
	// filled with.
	Whole int64 `json:"whole"`
	Counts
	// RangesDone of RangesTotal ranges that have users are done.
	RangesDone  int `json:"rangesDone"`
	RangesTotal int `json:"rangesTotal"`
	// Share is how much of Planned is warm, 0 to 1: cached, or known not to exist.
	Share float64 `json:"share"`
	// Filled is how many users of the plan this node has brought into its memory from Redis; for a
	// cluster, all nodes.
	Filled int64 `json:"filled"`
	// Rate is how many users were asked of the origin in the last second, and Budget how many might
	// have been, after slowing down; Budget is 0 without a limit.
	Rate   float64 `json:"rate"`
	Budget float64 `json:"budget"`
	// Slowed is the part of its share that the node, or the slowest one, uses for the origin's
	// sake: 1 for all of it, 1/16 at least.
	Slowed float64 `json:"slowed"`
	// Started is when the run began, zero for none, and Duration how many milliseconds it took, or
	// has taken, until all ranges are done.
	Started  time.Time `json:"started,omitzero"`
	Duration int64     `json:"durationMs"`
	// Waiting says what the node, or all of them, wait for; "" while users are being loaded.
	Waiting string `json:"waiting,omitempty"`
	// ETA is how many milliseconds the rest takes at the pace of the last second; 0 when nobody
	// knows, as while the run waits, or nothing is left.
	ETA int64 `json:"etaMs"`
	// Live is how many nodes take part.
	Live int `json:"live"`
	// Failures are the first users who could not be loaded; Errors says how many there are.
	Failures []Failure `json:"failures,omitempty"`
	// Nodes are those of the cluster that took part; nil for one node.
	Nodes []Status `json:"nodes,omitempty"`
}

// Result is a run's outcome in the form of the contract, with counts by source beside.
type Result struct {
	TotalProcessed int64 `json:"totalProcessed"`
	Cached         int64 `json:"cached"`
	Errors         int64 `json:"errors"`
	// Duration is in milliseconds, from the beginning of the run until all ranges were done.
	Duration int64         `json:"duration"`
	Sources  []SourceCount `json:"sources,omitempty"`
}

// Result returns the outcome, or what there is of it so far.
func (s Status) Result() Result {
	return Result{
		TotalProcessed: s.TotalProcessed, Cached: s.Cached, Errors: s.Errors,
		Duration: s.Duration, Sources: s.Sources,
	}
}
