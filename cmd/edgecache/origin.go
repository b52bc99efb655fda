package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// defaultDB and dbUsage are of --db.
const (
	defaultDB = "sqlite:edgecache.db"
	dbUsage   = "database: `sqlite:PATH|postgres://…`; a file with it by EDGECACHE_DB_FILE"
)

// tokenFlags are what the tokens of requests must say beside the roles.
func tokenFlags(f *pflag.FlagSet, t *auth.Config) {
	f.StringVar(&t.Issuer, "token-issuer", "", "`NAME` that the claim iss of tokens must be; any when not given")
	f.StringVar(&t.Audience, "token-audience", "", "`NAME` that the claim aud of tokens must have; any when not given")
}

// sampleSeed makes the sample users the same everywhere, so that several nodes and their origins
// agree.
const sampleSeed = 1

// originSettings are the flags of origin, and of the origin that serve embeds.
type originSettings struct {
	listen       string
	db           string // sqlite:PATH or postgres://…
	table        tableSettings
	access       accessSettings
	capture      string        // what makes the changes of other programs known
	sweep        time.Duration // how often they are looked for
	redis        string
	redisFiles   redisFiles
	sampleUsers  int
	streamMaxLen int
	noSync       bool // leave it to the system when commits reach the disk
	newIsNormal  bool // the database is made for this run
	clients      ownClients
	wait         waiting
	traces       traceSettings
	debug        debugSettings
	listenFlag   string
	drainDelay   time.Duration
	drain        time.Duration // how long requests in flight may take to end
}

func (p *program) originCommand() *cobra.Command {
	s := originSettings{listenFlag: "listen", drain: 3 * time.Second}
	cmd := &cobra.Command{
		Use:   "origin",
		Short: "Run the source of truth: profiles over HTTP, changes announced through Redis",
		Long: `Runs the service that owns the profiles. It keeps them in a database and announces each
change through Redis, so that every node shows it at once.

With JWT_SECRET in the environment, or JWT_SECRET_FILE, each request needs a bearer token: a
JWT, signed with it by HS256, that expires and has a claim "roles" with read, write or admin;
'edgecache token' makes one. Without it, and without --token-key-file, the service listens on
this machine only.

An institution's own table of users is named by --table, and where its columns are named
otherwise by --columns; in a file of settings the same: "columns: id=matr,nom=last_name".
FIELD= says that there is no column, FIELD=(SQL) is read and never written, and
attrs.NAME=COLUMN makes a column an attribute. "edgecache origin check" says what is missing.`,
		Example: `  edgecache origin --redis redis://127.0.0.1:6379 --sample-users 1000
  edgecache origin --db sqlite:/var/lib/edgecache/users.db --redis redis://10.0.0.5:6379
  JWT_SECRET=… edgecache origin --listen 0.0.0.0:8001 --db postgres://10.0.0.7/chat --redis redis://10.0.0.5:6379
  edgecache origin --db postgres://10.0.0.7/hr --table hr.agents --columns id=matr,nom=last_name --redis …
  edgecache origin --db postgres://10.0.0.7/hr --table agents --columns 'fullName=(first || last),avatar=' --capture triggers --redis …
  curl 127.0.0.1:8001/123
  curl -X PUT 127.0.0.1:8001/123 -H 'Content-Type: application/json' -d '{"ministere":"MINSANTE"}'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runOrigin(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:8001", "`HOST:PORT` to serve on [AUTH_USER_SERVICE_PORT]")
	f.StringVar(&s.db, "db", defaultDB, dbUsage)
	s.table.flags(f)
	f.StringVar(&s.capture, "capture", "",
		"PostgreSQL: `triggers` in the table announce what other programs write into it; they stay until a start with off")
	f.DurationVar(&s.sweep, "sweep", 0,
		"PostgreSQL: look every `TIME` for users whose updatedAt other programs moved on, such as 1m; never when 0")
	s.clients.flags(f)
	s.wait.flags(f)
	f.StringVar(&s.redis, "redis", "", "`URL` of the Redis of the nodes [REDIS_URL, REDIS_HOST, REDIS_PORT]; required")
	f.IntVar(&s.sampleUsers, "sample-users", 0, "make up `N` users, with the ids 1 to N; those who exist stay as they are, and those deleted once stay away")
	streamMaxLenFlag(f, &s.streamMaxLen)
	drainDelayFlag(f, &s.drainDelay)
	s.access.flags(f)
	s.traces.flags(f)
	s.debug.flags(f)
	s.redisFiles.flags(cmd)
	cmd.AddCommand(p.importCommand(), p.checkCommand())
	return cmd
}

func (p *program) runOrigin(ctx context.Context, s originSettings) (err error) {
	if s.redis == "" {
		return usagef("origin needs to know where to announce changes; give it the Redis of the nodes: --redis redis://HOST:PORT")
	}
	log, err := p.logger()
	if err != nil {
		return err
	}
	if err := s.access.settle(p, log); err != nil {
		return err
	}
	up := &parts{log: log, drain: s.drainDelay}
	s.wait.log = log
	if s.listen, err = up.startOrigin(ctx, s); err != nil {
		return closeAfter(up, err)
	}
	fmt.Fprintf(p.stdout, "edgecache origin: ready on %s%s\n  Database  %s\n  Redis     %s\n", s.access.scheme(), s.listen, redactURL(s.db), redactURL(s.redis))
	defer p.sayStarted(log, "an origin on "+s.listen)()
	<-ctx.Done()
	log.Info("stopping")
	return up.close()
}

// startOrigin starts the source of truth on its store and the Redis of the nodes, and returns the
// address of the service.
func (up *parts) startOrigin(ctx context.Context, s originSettings) (addr string, err error) {
	if err := s.check(); err != nil {
		return "", err
	}
	redisURL, err := s.redisFiles.complete(s.redis)
	if err != nil {
		return "", err
	}
	client, err := redisconn.OpenAs("origin", redisURL)
	if err != nil {
		return "", usageRedis(err)
	}
	up.add(client.Close)
	store, err := s.store(up.log)
	if err != nil {
		return "", usagef("--db: %s", strings.TrimPrefix(err.Error(), "source: "))
	}
	up.add(store.Close)
	service := source.ServiceConfig{Listen: s.listen, Tokens: s.access.tokens, Access: s.access.access, DrainDelay: s.drainDelay, ShutdownTimeout: s.drain, Version: build()}
	if s.access.tls.Any() {
		if service.TLS, err = s.access.tls.Server(up.log); err != nil {
			return "", usagef("--tls-cert, --tls-key, --tls-client-ca: %w", err)
		}
	}
	tracer, err := up.trace(s.traces, "edgecache-origin")
	if err != nil {
		return "", err
	}
	if tracer != nil {
		service.Trace = tracer
	}
	s.clients.apply(&service)
	truth, err := source.New(source.Config{Store: store, Redis: client, StreamMaxLen: int64(s.streamMaxLen), Logger: up.log,
		Relay: source.RelayConfig{Timeout: time.Second}, Service: service})
	if err != nil {
		return "", usagef("--%s: %s", s.listenFlag, strings.TrimPrefix(err.Error(), "source: "))
	}
	up.add(truth.Close)

	if err := s.wait.reach(ctx, "Redis", func(ctx context.Context) error { return client.Ping(ctx).Err() }); err != nil {
		return "", fmt.Errorf("cannot reach Redis at %s (--redis): %w", redactURL(s.redis), err)
	}
	s.sayNew(up.log)
	if err := s.wait.reach(ctx, "the database", store.Start); err != nil {
		return "", openError(s.db, err)
	}
	if err := fill(ctx, store, s.sampleUsers); err != nil {
		return "", err
	}
	if _, err := up.startDebug(ctx, s.debug, s.access.tokens); err != nil {
		return "", err
	}
	if err := truth.Start(ctx); err != nil {
		return "", listenError(err, s.listenFlag, s.listen)
	}
	return truth.Addr(), nil
}

// check refuses what cannot work before anything is started.
func (s originSettings) check() error {
	if s.sampleUsers < 0 {
		return usagef("--sample-users %d: want 0 or more", s.sampleUsers)
	}
	if err := errors.Join(s.clients.check(), s.wait.check(), s.debug.check(s.access.tokens)); err != nil {
		return err
	}
	if err := checkStreamMaxLen(s.streamMaxLen); err != nil {
		return err
	}
	if err := checkDrainDelay(s.drainDelay); err != nil {
		return err
	}
	if err := checkDB(s.db, s.table); err != nil {
		return err
	}
	if err := s.checkOthers(); err != nil {
		return err
	}
	return checkListen(s.listenFlag, s.listen)
}

// checkOthers checks what is said of the changes that other programs make.
func (s originSettings) checkOthers() error {
	switch {
	case !isPostgres(s.db) && (s.capture != "" || s.sweep != 0):
		return usagef("--capture and --sweep are for PostgreSQL, and --db is %s", redactURL(s.db))
	case s.capture != "" && s.capture != string(postgres.CaptureTriggers) && s.capture != string(postgres.CaptureOff):
		return usagef("--capture %q: want triggers or off", s.capture)
	case s.sweep != 0 && s.sweep < time.Second:
		return usagef("--sweep %v: want 1s or more, or 0 for never", s.sweep)
	}
	return nil
}

// store returns the database, not yet opened.
func (s originSettings) store(log *slog.Logger) (source.Store, error) {
	if !isPostgres(s.db) {
		return sqlite.New(sqlite.Config{Path: strings.TrimPrefix(s.db, "sqlite:"), NoSync: s.noSync})
	}
	table, err := s.table.table()
	if err != nil {
		return nil, err
	}
	return postgres.New(postgres.Config{URL: s.db, Users: table, Capture: postgres.Capture(s.capture), Sweep: s.sweep, Logger: log})
}

// usageRedis reports a --redis that is no address of a Redis.
func usageRedis(err error) error {
	return usagef("--redis: %s", strings.TrimPrefix(err.Error(), "redisconn: "))
}

// fill makes up users in the store.
func fill(ctx context.Context, store source.Store, users int) error {
	if users == 0 {
		return nil
	}
	gone, err := deletedSamples(ctx, store, users)
	if err != nil {
		return fmt.Errorf("make up %d users: %w", users, err)
	}
	stay := func(yield func(*profile.Profile) bool) {
		for p := range sample.Users(sampleSeed, users) {
			if !gone[p.ID] && !yield(p) {
				return
			}
		}
	}
	if _, err := store.BulkLoad(ctx, stay); err != nil {
		return fmt.Errorf("make up %d users: %w", users, err)
	}
	return nil
}

// deletedSamples returns the sample users who were deleted: they are not made up again.
func deletedSamples(ctx context.Context, store source.Store, users int) (map[string]bool, error) {
	gone, ids := map[string]bool{}, make([]string, 0, origin.MaxBatch)
	for n := 1; n <= users; n++ {
		if ids = append(ids, strconv.Itoa(n)); len(ids) < origin.MaxBatch && n < users {
			continue
		}
		some, err := store.Deleted(ctx, ids)
		if err != nil {
			return nil, err
		}
		maps.Copy(gone, some)
		ids = ids[:0]
	}
	return gone, nil
}

// sayNew warns of a SQLite file that is not there: a first start makes it, and a wrong path would
// look like one.
func (s originSettings) sayNew(log *slog.Logger) {
	if isPostgres(s.db) || s.newIsNormal || s.sampleUsers > 0 {
		return
	}
	file := strings.TrimPrefix(s.db, "sqlite:")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if full, err := filepath.Abs(file); err == nil {
			file = full
		}
		log.Warn("origin: there is no such database file; making one without users", "file", file)
	}
}
