// Package redisconn opens Redis clients from URLs, with the settings that edgecache's reasoning
// about Redis rests on.
package redisconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/chatapp-ngomna/edgecache/internal/redact"
)

// ErrURL reports a Redis URL that cannot be used.
var ErrURL = errors.New("redisconn: bad Redis URL")

const forms = "want redis://[user:password@]host:port[/db], redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/master; " +
	"with TLS rediss://, rediss+cluster:// or rediss+sentinel://"

// Parameters of a URL: db, the number of the database, and what Sentinels ask for themselves, who
// have a password of their own or none.
const (
	paramDB               = "db"
	paramSentinelUser     = "sentinel-user"
	paramSentinelPassword = "sentinel-password"
)

// Open returns a client for url; it does not connect yet. Forms:
//
//	redis://[user:password@]host:port[/db]        one server; rediss:// for TLS; ?db=N is /N
//	redis+cluster://[user:password@]host:port,…   Redis Cluster
//	redis+sentinel://[user:password@]host:port,…/master[?db=N]   the master that these sentinels name
//	rediss://, rediss+cluster://, rediss+sentinel://   the same with TLS 1.2 or newer, to the sentinels too
//
// user:password is for the servers that hold the data. Sentinels with a requirepass get it by
// ?sentinel-password=…, and a user by sentinel-user. A parameter that is not known is an error.
//
// Parameters name files, which are read again when they change: password-file in all forms; with
// TLS ca, the authorities of the servers' certificates, and cert with key, what is shown to the
// servers. Reads go to masters only. Errors wrap ErrURL and never show the password.
func Open(rawURL string) (redis.UniversalClient, error) { return OpenAs("lookups", rawURL) }

// OpenAs is Open for what CLIENT LIST is to show as edgecache-name. A server that does not let it
// be named is used all the same.
func OpenAs(name, rawURL string) (redis.UniversalClient, error) {
	o, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	o.OnConnect = named(name, nil)
	return redis.NewUniversalClient(o), nil
}

// named returns an OnConnect that names a connection, and then does what is next; nil for nothing.
func named(name string, next func(context.Context, *redis.Conn) error) func(context.Context, *redis.Conn) error {
	return func(ctx context.Context, conn *redis.Conn) error {
		_ = conn.ClientSetName(ctx, "edgecache-"+name).Err() // it works without
		if next == nil {
			return nil
		}
		return next(ctx, conn)
	}
}

// OpenTail returns a client for one blocking reader of url: a small pool of its own, so that a
// blocked XREAD takes no connection from lookups, and no retries, because the reader owns them.
func OpenTail(rawURL string) (redis.UniversalClient, error) { return OpenTailAs("tail", rawURL) }

// OpenTailAs is OpenTail for what CLIENT LIST is to show as edgecache-name.
func OpenTailAs(name, rawURL string) (redis.UniversalClient, error) {
	o, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	o.PoolSize, o.MaxRetries, o.PipelinePoolSize, o.OnConnect = 3, -1, -1, named(name, nil)
	return redis.NewUniversalClient(o), nil
}

// OpenPush returns a client of url for a watch.Watch to which Redis pushes notices: RESP3. A server
// that hangs is given 3 s.
func OpenPush(rawURL string) (redis.UniversalClient, error) {
	o, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	o.Protocol, o.ReadTimeout = 3, 3*time.Second
	o.PoolSize, o.MaxRetries, o.PipelinePoolSize, o.OnConnect = 3, -1, -1, named("watch", nil)
	return redis.NewUniversalClient(o), nil
}

// OpenWatch returns a client of url for a watch.Watch to whose subscription Redis redirects
// notices: RESP2, and track runs on every new connection.
func OpenWatch(rawURL string, track func(context.Context, *redis.Conn) error) (redis.UniversalClient, error) {
	o, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	o.PoolSize, o.MaxRetries, o.PipelinePoolSize, o.OnConnect = 3, -1, -1, named("watch", track)
	return redis.NewUniversalClient(o), nil
}

func parse(rawURL string) (*redis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, fmt.Errorf("%w %q: %s", ErrURL, redact.Address(rawURL), forms)
	}
	// url.Parse takes one host and port, so the list of hosts is split off first.
	user, hosts, path := "", rest, ""
	if i := strings.LastIndex(hosts, "@"); i >= 0 {
		user, hosts = hosts[:i+1], hosts[i+1:]
	}
	if i := strings.IndexAny(hosts, "/?"); i >= 0 {
		hosts, path = hosts[:i], hosts[i:]
	}
	u, err := url.Parse(scheme + "://" + user + "host" + path)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %s", ErrURL, redact.Address(rawURL), forms)
	}
	o := defaults()
	if o.Addrs, err = addrs(hosts); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrURL, redact.Address(rawURL), err)
	}
	o.Username = u.User.Username()
	o.Password, _ = u.User.Password()
	if err := errors.Join(setScheme(o, u), setFiles(o, u)); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrURL, redact.Address(rawURL), err)
	}
	return o, nil
}

func setScheme(o *redis.UniversalOptions, u *url.URL) error {
	params := u.Query()
	path, db := strings.Trim(u.Path, "/"), params.Get(paramDB)
	switch u.Scheme {
	case "redis", "rediss":
		if len(o.Addrs) != 1 {
			return errors.New("one host:port belongs here; for several use redis+cluster:// or redis+sentinel://")
		}
		if path != "" && db != "" && path != db {
			return fmt.Errorf("two databases, %s and %s; want one", path, db)
		}
		db = cmp.Or(path, db)
	case "redis+cluster", "rediss+cluster":
		o.IsClusterMode = true
		if path != "" || db != "" {
			return errors.New("a cluster has one database: no path, no db")
		}
	case "redis+sentinel", "rediss+sentinel":
		if o.MasterName = path; path == "" {
			return errors.New("the name of the master is missing after the sentinels' addresses")
		}
		o.SentinelUsername, o.SentinelPassword = params.Get(paramSentinelUser), params.Get(paramSentinelPassword)
	default:
		return errors.New(forms)
	}
	return setDB(o, db)
}

func setDB(o *redis.UniversalOptions, db string) (err error) {
	if db == "" {
		return nil
	}
	if o.DB, err = strconv.Atoi(db); err != nil || o.DB < 0 {
		return fmt.Errorf("database %q: want a number from 0", db)
	}
	return nil
}

// defaults are set explicitly because they changed between releases of the client. A context's
// deadline ends a read. Maintenance notifications belong to a managed service and cost self-hosted
// servers a failing command per connection, and so does the client's name for itself (CLIENT
// SETINFO) those below 7.2 and users who may not send it.
func defaults() *redis.UniversalOptions {
	return &redis.UniversalOptions{
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, PoolTimeout: time.Second,
		DialerRetries: 1, MaxRetries: 1, MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 100 * time.Millisecond,
		ContextTimeoutEnabled: true, DisableIdentity: true, PoolSize: 32, Protocol: 2,
		AutoPipelineOptions:      &redis.AutoPipelineOptions{MaxBatchSize: 300, Unordered: true},
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func addrs(list string) ([]string, error) {
	var out []string
	for addr := range strings.SplitSeq(list, ",") {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			host, port = addr, "6379"
		}
		if n, err := strconv.Atoi(port); host == "" || err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("address %q: want host:port", addr)
		}
		out = append(out, net.JoinHostPort(strings.Trim(host, "[]"), port))
	}
	return out, nil
}
