package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// errConfig reports a configuration that cannot work.
var errConfig = errors.New("stream: bad configuration")

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	// Client runs XADD. Required. It may be shared.
	Client redis.UniversalClient
	// Stream is the key of the stream. Default Name.
	Stream string
	// MaxLen is how many entries the stream keeps: each XADD trims it to about that (MAXLEN ~).
	// Default 100,000. It bounds how long a node may be cut off and still catch up without a flush:
	// divide it by the changes per second.
	MaxLen int64
	// Logger gets what goes wrong in the background. Default: nothing is logged.
	Logger *slog.Logger
}

// Publisher adds events to the stream. Its methods may be called concurrently.
type Publisher struct{ cfg PublisherConfig }

// NewPublisher returns a Publisher; it starts nothing and has nothing to close.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Publisher{cfg}, nil
}

func (c PublisherConfig) withDefaults() PublisherConfig {
	c.Stream = cmp.Or(c.Stream, Name)
	c.MaxLen = cmp.Or(c.MaxLen, DefaultMaxLen)
	c.Logger = loggerOr(c.Logger)
	return c
}

func (c PublisherConfig) validate() error {
	switch {
	case c.Client == nil:
		return fmt.Errorf("%w: PublisherConfig.Client is nil", errConfig)
	case c.MaxLen < 1:
		return fmt.Errorf("%w: PublisherConfig.MaxLen is %d; want at least 1", errConfig, c.MaxLen)
	}
	return nil
}

// Publish adds e and returns the id of its entry. Write the second tier first and publish second,
// so that nobody who hears of the change fills from an old record.
//
// When the reply is lost, nobody knows whether the entry was added. A client that retries, as
// go-redis does by default, may then add it more than once and returns the last id; one that does
// not returns an error for an entry that may be there. Both are harmless, because events are
// idempotent: publish again until it succeeds.
//
// Errors wrap ErrMalformed, ErrUnknownKind or ErrTooLarge, which no retry can mend, or the client's
// error.
func (p *Publisher) Publish(ctx context.Context, e Event) (string, error) {
	values, err := Encode(e)
	if err != nil {
		return "", err
	}
	return p.add(ctx, e.UserID, values)
}

// PublishFunction adds an entry that says that an edge function changed. Errors are the client's;
// as with Publish.
func (p *Publisher) PublishFunction(ctx context.Context, name string) error {
	payload := appendPayload(nil, Event{Kind: profile.Invalidated, UserID: functionsID}, profile.Patch{})
	_, err := p.add(ctx, name, []any{fieldPayload, payload, fieldFunction, name})
	return err
}

func (p *Publisher) add(ctx context.Context, what string, values []any) (string, error) {
	id, err := p.cfg.Client.XAdd(ctx, &redis.XAddArgs{
		Stream: p.cfg.Stream, MaxLen: p.cfg.MaxLen, Approx: true, Values: values,
	}).Result()
	if err != nil {
		p.cfg.Logger.DebugContext(ctx, "stream: publish", "of", what, "error", err)
		return "", fmt.Errorf("stream: publish %q: %w", what, err)
	}
	return id, nil
}

// loggerOr returns l, or a logger that discards.
func loggerOr(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
