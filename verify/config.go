package verify

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/stream"
)

// maxAfter is the latest checkpoint.
const maxAfter = 10 * time.Second

// Config configures a Verifier. Client and Nodes are required; the zero value of everything else is
// a default.
type Config struct {
	// Client reads the stream; as stream.TailConfig.Client, and like there a client of its own.
	Client redis.UniversalClient
	// Stream is the key of the stream. Default stream.Name.
	Stream string
	// Nodes are the URLs of the nodes' HTTP API, each once.
	Nodes []string
	// Sample is the share of the users whose changes are checked, above 0 and up to 1. Default 1.
	// It is drawn by a hash of the id with a seed of this run: a user is followed with all changes
	// or not at all.
	Sample float64
	// After are the checkpoints: how long after a change was read the nodes are asked. Each from 1
	// ms to 10 s, rising. Default 250 ms and 2.5 s.
	After []time.Duration
	// MaxRate bounds the users asked of each node in a second. Default 0, no bound. What it does
	// not allow is dropped, and counted.
	MaxRate int
	// History is how many changes of each user are remembered and shown. Default 16.
	History int
	// MaxPending is how many checks may wait for each node. Default 200,000. More are dropped, and
	// counted.
	MaxPending int
	// MaxViolations is how many violations are told whole; more are only counted. Default 20.
	MaxViolations int
	// Timeout bounds one request. Default 2 s.
	Timeout time.Duration
	// Token gives each request to a node its bearer token. Default: none is sent.
	Token func() (string, error)
	// Transport makes the requests to the nodes. Default: with the authorities that the system
	// knows. Each node gets a copy of its own.
	Transport *http.Transport
	// Truth is compared with what the nodes answer, beside the checks of versions: for users who
	// changed and, by a slow SCAN, for all who are in Redis. Default: nothing is compared.
	Truth Truth
	// ContentRate is how many users are compared in a second. Default 20.
	ContentRate int
	// OnMismatch is called for each answer that differs from Truth, up to MaxViolations times.
	// Optional.
	OnMismatch func(Mismatch)
	// OnViolation is called for each violation that is told whole, and once more when it is over.
	// Calls come one at a time. Optional.
	OnViolation func(Violation)
	// OnGap is called when entries of the stream may have been missed, with stream.Handler's
	// reason. Optional.
	OnGap func(reason string)
	// Logger gets one line when a node stops answering and when it goes on, and what the tail has
	// to say. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Stream = cmp.Or(c.Stream, stream.Name)
	c.Sample = cmp.Or(c.Sample, 1)
	if c.After = slices.Clone(c.After); len(c.After) == 0 {
		c.After = []time.Duration{250 * time.Millisecond, 2500 * time.Millisecond}
	}
	c.History = cmp.Or(c.History, 16)
	c.MaxPending = cmp.Or(c.MaxPending, 200_000)
	c.MaxViolations = cmp.Or(c.MaxViolations, 20)
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	if c.OnViolation == nil {
		c.OnViolation = func(Violation) {}
	}
	c.ContentRate = cmp.Or(c.ContentRate, 20)
	if c.OnMismatch == nil {
		c.OnMismatch = func(Mismatch) {}
	}
	if c.OnGap == nil {
		c.OnGap = func(string) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c Config) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	switch {
	case c.Client == nil:
		return bad("Client is nil")
	case len(c.Nodes) == 0:
		return bad("Nodes is empty; want the URL of every node, such as http://10.0.0.7:8003")
	case !(c.Sample > 0 && c.Sample <= 1):
		return bad("Sample is %v; want above 0 and up to 1", c.Sample)
	case c.MaxRate < 0:
		return bad("MaxRate is %d; want 0 or more reads a second", c.MaxRate)
	case min(c.History, c.MaxPending, c.MaxViolations) < 1:
		return bad("History is %d, MaxPending %d, MaxViolations %d; want 1 or more of each", c.History, c.MaxPending, c.MaxViolations)
	case c.ContentRate < 1 || c.ContentRate > maxBatch:
		return bad("ContentRate is %d; want 1 to %d users a second", c.ContentRate, maxBatch)
	case c.Timeout < time.Millisecond:
		return bad("Timeout is %v; want 1ms or more", c.Timeout)
	case !rising(c.After) || c.After[0] < time.Millisecond || c.After[len(c.After)-1] > maxAfter:
		return bad("After is %v; want rising times from 1ms to %v", c.After, maxAfter)
	}
	return nil
}

func rising(times []time.Duration) bool {
	for i := range times[1:] {
		if times[i] >= times[i+1] {
			return false
		}
	}
	return true
}
