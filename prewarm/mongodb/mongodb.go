// Package mongodb reads who is active from the conversations of a MongoDB database: every
// participant of a conversation was last active when it was last updated.
//
// It asks for {updatedAt: {$gte: since}} and needs an index that begins with updatedAt to do that
// without reading the whole collection. updatedAt must be a date: MongoDB compares a date with
// dates alone, so numbers and texts are not found.
package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/url"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/prewarm/internal/refused"
)

// maxBatch is the largest number of conversations that the server may send at once.
const maxBatch = 100_000

// wantURI says what an address of MongoDB looks like.
const wantURI = "want mongodb://USER:PASSWORD@HOST:PORT/DATABASE, special characters in the name and password percent-encoded"

// Config configures a Source. URI is required, and a database in it or in Database.
type Config struct {
	// URI is the address: mongodb://… or mongodb+srv://…, with the driver's options. What it says
	// of reading from secondaries and of times is heeded.
	URI string
	// Database is the database. Default: that of the URI.
	Database string
	// Collection is the collection of the conversations. Default "conversations".
	Collection string
	// BatchSize is how many conversations the server sends at once, 1 to 100,000. Default 1,000.
	BatchSize int
	// Timeout bounds each answer of a server, and the finding of one, which takes 5 s at most.
	// Default 30 s.
	Timeout time.Duration
}

func (c Config) withDefaults() Config {
	c.Database = cmp.Or(c.Database, databaseOf(c.URI))
	c.Collection = cmp.Or(c.Collection, "conversations")
	c.BatchSize = cmp.Or(c.BatchSize, 1000)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	return c
}

func (c Config) validate() error {
	switch {
	case !IsURL(c.URI):
		return fmt.Errorf("%w: mongodb: Config.URI is no address of MongoDB; %s", prewarm.ErrConfig, wantURI)
	case c.Database == "":
		return fmt.Errorf("%w: mongodb: no database, neither in Config.URI nor in Config.Database; %s", prewarm.ErrConfig, wantURI)
	case strings.ContainsAny(c.Database, "/\\. \"$\x00"):
		return fmt.Errorf("%w: mongodb: the database is %q; it may have none of / \\ . \" $ and space", prewarm.ErrConfig, c.Database)
	case strings.ContainsAny(c.Collection, "$\x00"):
		return fmt.Errorf("%w: mongodb: Config.Collection is %q; it may have no $", prewarm.ErrConfig, c.Collection)
	case c.BatchSize < 1 || c.BatchSize > maxBatch:
		return fmt.Errorf("%w: mongodb: Config.BatchSize is %d; want 1 to %d", prewarm.ErrConfig, c.BatchSize, maxBatch)
	case c.Timeout < time.Millisecond:
		return fmt.Errorf("%w: mongodb: Config.Timeout is %v; want at least 1ms", prewarm.ErrConfig, c.Timeout)
	}
	if strings.HasPrefix(c.URI, "mongodb+srv:") {
		return nil // to parse it is to ask the DNS
	}
	_, err := c.client()
	return err
}

// IsURL reports whether a text is meant as an address of MongoDB.
func IsURL(text string) bool {
	return strings.HasPrefix(text, "mongodb://") || strings.HasPrefix(text, "mongodb+srv://")
}

// databaseOf returns the database in a URI, empty when there is none. net/url does not take a URI
// with several hosts.
func databaseOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	_, name, _ := strings.Cut(rest, "/")
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

// client returns the driver's options. An error never has the driver's own words: they may show a
// part of the password.
func (c Config) client() (*options.ClientOptions, error) {
	o := options.Client().ApplyURI(c.URI)
	if err := o.Validate(); err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			return nil, fmt.Errorf("mongodb: look up the servers of Config.URI: %w", dns)
		}
		return nil, fmt.Errorf("%w: mongodb: Config.URI cannot be parsed, or its options contradict each other; %s", prewarm.ErrConfig, wantURI)
	}
	if o.ReadPreference == nil {
		o.SetReadPreference(readpref.SecondaryPreferred())
	}
	if o.ServerSelectionTimeout == nil {
		o.SetServerSelectionTimeout(min(c.Timeout, selectWithin))
	}
	if o.Timeout == nil {
		o.SetTimeout(c.Timeout)
	}
	if o.AppName == nil {
		o.SetAppName("edgecache prewarm")
	}
	return o, nil
}

// Source reads active users from MongoDB. It connects for each reading and keeps nothing open in
// between.
type Source struct {
	conf    Config
	refused refused.List
}

var _ prewarm.Source = (*Source)(nil)

// New checks conf. Nothing is connected yet.
//
// Errors wrap prewarm.ErrConfig and show no password.
func New(conf Config) (*Source, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	return &Source{conf: conf}, nil
}

// FromURL is New for an address in which a parameter "collection" may name the collection, such as
// mongodb://127.0.0.1/chat?collection=rooms.
func FromURL(address string) (*Source, error) {
	conf := Config{}
	before, query, _ := strings.Cut(address, "?")
	var rest []string
	for _, option := range strings.Split(query, "&") {
		if name, ok := strings.CutPrefix(option, "collection="); ok {
			plain, err := url.QueryUnescape(name)
			if err != nil {
				return nil, fmt.Errorf("%w: mongodb: the collection %q is not percent-encoded", prewarm.ErrConfig, name)
			}
			conf.Collection = plain
		} else if option != "" {
			rest = append(rest, option)
		}
	}
	if conf.URI = before; len(rest) > 0 {
		conf.URI += "?" + strings.Join(rest, "&")
	}
	return New(conf)
}

// Name returns "mongodb".
func (s *Source) Name() string { return "mongodb" }

// Skipped returns how many conversations and participants the last reading has passed over because
// it could not tell who they are or when they were updated, and the first ten reasons.
func (s *Source) Skipped() (int64, []error) { return s.refused.Report() }

// Active implements prewarm.Source. Errors are the driver's, with the collection.
func (s *Source) Active(ctx context.Context, since time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		s.refused.Reset()
		if err := s.read(ctx, since, yield); err != nil {
			if ctx.Err() != nil {
				err = errors.Join(context.Cause(ctx), err)
			}
			yield(prewarm.User{}, fmt.Errorf("mongodb: read %s.%s: %w", s.conf.Database, s.conf.Collection, err))
		}
	}
}

// selectWithin bounds the finding of a server, unless the URL says serverSelectionTimeoutMS.
const selectWithin = 5 * time.Second

// disconnectWithin bounds the farewell to the servers.
const disconnectWithin = 2 * time.Second

// read yields what is active and returns why the reading ended early; nil as well when the caller
// wants no more.
func (s *Source) read(ctx context.Context, since time.Time, yield func(prewarm.User, error) bool) error {
	o, err := s.conf.client()
	if err != nil {
		return err
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), disconnectWithin)
		defer cancel()
		_ = client.Disconnect(ctx) // it was only read
	}()
	if err := client.Ping(ctx, o.ReadPreference); err != nil {
		return err // once: each question would wait for a server as long
	}
	database := client.Database(s.conf.Database)
	find := s.find(s.indexed(ctx, database, o.ReadPreference))
	cursor, err := database.Collection(s.conf.Collection).Find(ctx, bson.D{{Key: "updatedAt", Value: bson.D{{Key: "$gte", Value: since}}}}, find)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), disconnectWithin)
		defer cancel()
		_ = cursor.Close(ctx) // the server forgets it in ten minutes at the latest
	}()
	for cursor.Next(ctx) {
		if !s.yield(cursor.Current, yield) {
			return nil
		}
	}
	return cursor.Err()
}

// find returns how the conversations are read: newest first when that costs the server nothing.
func (s *Source) find(indexed bool) *options.FindOptionsBuilder {
	o := options.Find().SetProjection(bson.D{{Key: "participants", Value: 1}, {Key: "updatedAt", Value: 1}}).
		SetBatchSize(int32(s.conf.BatchSize))
	if indexed {
		o.SetSort(bson.D{{Key: "updatedAt", Value: -1}})
	}
	return o
}

// indexed reports whether the server can give the conversations in the order of their update
// without sorting them. It is no error that it does not say: the order is a nicety. The driver's
// own list of indexes would ask the primary.
func (s *Source) indexed(ctx context.Context, database *mongo.Database, from *readpref.ReadPref) bool {
	indexes, err := database.RunCommandCursor(ctx, bson.D{{Key: "listIndexes", Value: s.conf.Collection}}, options.RunCmd().SetReadPreference(from))
	if err != nil {
		return false
	}
	defer func() { _ = indexes.Close(ctx) }()
	for indexes.Next(ctx) {
		if orders(indexes.Current) {
			return true
		}
	}
	return false
}

// orders reports whether an index begins with updatedAt and has every conversation.
func orders(index bson.Raw) bool {
	keys, ok := index.Lookup("key").DocumentOK()
	if !ok {
		return false
	}
	first, err := keys.IndexErr(0)
	if err != nil || first.Key() != "updatedAt" || !first.Value().IsNumber() {
		return false
	}
	_, partial := index.LookupErr("partialFilterExpression")
	_, sparse := index.LookupErr("sparse")
	return partial != nil && sparse != nil
}
