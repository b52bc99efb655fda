package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// Config configures a Source.
type Config struct {
	// Store holds the users. Required; it must be started before the Source, and closed after it.
	Store Store
	// Redis is the Redis of the nodes, in which changes are announced. Required; it must be closed
	// after the Source.
	Redis redis.UniversalClient
	// StreamMaxLen is how many entries the stream keeps. Default 100,000.
	StreamMaxLen int64
	// Relay configures how changes are announced; its Outbox is Store, and its Announcer by default
	// what tells Redis.
	Relay RelayConfig
	// Service configures the service over HTTP; its Store and Relay are those of the Source.
	Service ServiceConfig
	// Logger is that of Relay and Service when they have none. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Relay.Logger = cmp.Or(c.Relay.Logger, c.Logger)
	c.Service.Logger = cmp.Or(c.Service.Logger, c.Logger)
	c.Relay.Outbox, c.Service.Store = c.Store, c.Store
	return c
}

func (c Config) validate() error {
	if c.Store == nil {
		return errors.New("source: Config.Store is nil; want a Store")
	}
	if c.Redis == nil {
		return errors.New("source: Config.Redis is nil; want a Redis client")
	}
	return nil
}

// Source is the source of truth: the relay that announces a store's changes, and the service in
// front of both.
type Source struct {
	relay   *Relay
	service *Service
}

// New returns a source of truth that Start starts. Errors name what is wrong with the
// configuration.
func New(cfg Config) (*Source, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if cfg.Relay.Announcer == nil {
		announcer, err := newRedisAnnouncer(cfg)
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		cfg.Relay.Announcer = announcer
	}
	var err error
	if cfg.Service.Relay, err = NewRelay(cfg.Relay); err != nil {
		return nil, err
	}
	service, err := NewService(cfg.Service)
	if err != nil {
		return nil, err
	}
	return &Source{relay: cfg.Service.Relay, service: service}, nil
}

func newRedisAnnouncer(cfg Config) (RedisAnnouncer, error) {
	lower, err := l2.New(l2.Config{Client: cfg.Redis})
	if err != nil {
		return RedisAnnouncer{}, err
	}
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: cfg.Redis, MaxLen: cfg.StreamMaxLen, Logger: cfg.Relay.Logger})
	return RedisAnnouncer{L2: lower, Publisher: publisher}, err
}

// Start starts the relay, which reads what waits to be announced, and then the service, which
// listens and asks itself for its health. It may be called once; after an error Close ends what was
// started.
func (s *Source) Start(ctx context.Context) error {
	if err := s.relay.Start(ctx); err != nil {
		return err
	}
	return s.service.Start(ctx)
}

// Addr returns the address that the service listens on, "" before Start.
func (s *Source) Addr() string { return s.service.Addr() }

// Stats returns the relay's counters; it may be called at any time.
func (s *Source) Stats() origin.RelayStats { return s.relay.Stats() }

// Close ends the service, so that no change is made any more, and then the relay. It may be called
// twice and before Start.
func (s *Source) Close() error {
	return errors.Join(s.service.Close(), s.relay.Close())
}
