package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

// linkGrace is how much longer than the server may block a reply may take, connecting included. It
// is the watchdog of a link on which nothing arrives and nothing fails: with the longest Block a
// dead link is given up after a second, well before a fence of 3 s. A shorter fence falls first,
// and a late reply proves no more than what it says: see query.asOf.
const linkGrace = 500 * time.Millisecond

// errNotMaster reports that a replica answered. A former master goes on answering reads after its
// demotion.
var errNotMaster = errors.New("stream: the server is not a master")

// identity tells one server's history from another's. A restart changes runID. A promotion gives
// the server a new replID and keeps the former master's as replID2; a first replica that attaches
// gives the master a new replID and no replID2.
type identity struct {
	runID, replID, replID2 string
	role                   string
}

// known says whether the server told who it is; one that forbids INFO, or the embedded one, does
// not.
func (i identity) known() bool { return i.runID != "" }

// lostHistory says whether what was read from the server that identified itself as before may be
// lost on this one. blind is true when the link was down in between, so that a demotion and a
// promotion may have been overlooked.
func (i identity) lostHistory(before identity, blind bool) bool {
	if i.runID != before.runID {
		return true
	}
	return i.replID != before.replID && (blind || strings.Trim(i.replID2, "0") != "")
}

// parse takes a reply of INFO into i.
func (i *identity) parse(info string) {
	for line := range strings.SplitSeq(info, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "run_id":
			i.runID = value
		case "master_replid":
			i.replID = value
		case "master_replid2":
			i.replID2 = value
		case "role":
			i.role = value
		}
	}
}

// link is one connection to the server that holds the stream. It is used by one goroutine; after an
// error it is closed and another one made, so that everything that a link has shown comes from one
// process.
type link struct {
	conn   *redis.Conn
	stream string
	// first is set once the server's XINFO has not named the first entry: below Redis 7.0, or the
	// embedded server.
	first bool
}

// dialTimeout bounds connecting; every client has a dial timeout of its own as well.
const dialTimeout = time.Second

// pinner is a client whose timeouts can be changed: *redis.Client, also with Sentinel.
type pinner interface {
	WithTimeout(time.Duration) *redis.Client
}

// sharder is a client of several masters: *redis.ClusterClient.
type sharder interface {
	MasterForKey(context.Context, string) (*redis.Client, error)
	ReloadState(context.Context)
}

// checkClient returns nil for a client that open can use.
func checkClient(c redis.UniversalClient) error {
	switch c.(type) {
	case nil:
		return fmt.Errorf("%w: Client is nil", errConfig)
	case pinner, sharder:
		return nil
	}
	return fmt.Errorf("%w: Client is a %T; want a *redis.Client or a *redis.ClusterClient", errConfig, c)
}

// open makes a connection of its own to the master that holds the stream, on which a reply may take
// timeout. It is dialled by the first exchange. The caller closes it.
func open(ctx context.Context, client redis.UniversalClient, stream string, timeout time.Duration) (*link, error) {
	var one pinner
	switch c := client.(type) {
	case sharder:
		// What the client believes about the cluster may be why the last link failed. This asks in
		// the background.
		c.ReloadState(ctx)
		master, err := c.MasterForKey(ctx, stream)
		if err != nil {
			return nil, fmt.Errorf("stream: find the master of %q: %w", stream, err)
		}
		one = master
	case pinner:
		one = c
	}
	return &link{conn: one.WithTimeout(timeout).EphemeralConn(), stream: stream}, nil
}

func (l *link) close() { _ = l.conn.Close() }

// serve has f use a link in a goroutine of life's. A Close that came first ends the link.
func (l *link) serve(life *life.Life, f func(context.Context, *link)) error {
	if life.Go(func(ctx context.Context) { f(ctx, l) }) {
		return nil
	}
	l.close()
	return ErrClosed
}

// query says what to ask for in one exchange. All parts are answered in order, over one connection.
type query struct {
	after    entryID       // read what follows this entry
	count    int64         // at most so many entries; 0 reads none
	block    time.Duration // wait so long for the first; below 1 ms does not wait
	identify bool          // ask who the server is
}

// answer is the reply to a query.
type answer struct {
	entries []redis.XMessage
	state   state
	who     identity
}

// exchange asks and waits for all replies. Errors are those of the link and of the read: after one
// the link is of no use.
func (l *link) exchange(ctx context.Context, q query) (answer, error) {
	a, err := l.ask(ctx, q)
	if err != nil || l.first || a.state.length == 0 || a.state.first != (entryID{}) {
		return a, err
	}
	l.first = true // this server does not name the first entry of its own accord
	again, err := l.ask(ctx, query{})
	a.state = again.state
	return a, err
}

func (l *link) ask(ctx context.Context, q query) (answer, error) {
	pipe := l.conn.Pipeline()
	read := l.queueRead(ctx, pipe, q)
	info := pipe.Do(ctx, "XINFO", "STREAM", l.stream)
	var head *redis.XMessageSliceCmd
	if l.first {
		head = pipe.XRangeN(ctx, l.stream, "-", "+", 1)
	}
	var who []*redis.StringCmd
	if q.identify {
		who = []*redis.StringCmd{pipe.Info(ctx, "server"), pipe.Info(ctx, "replication")}
	}
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return answer{}, fmt.Errorf("stream: read %q: %w", l.stream, err)
	}
	return l.collect(read, info, head, who)
}

func (l *link) queueRead(ctx context.Context, pipe redis.Pipeliner, q query) *redis.XStreamSliceCmd {
	if q.count == 0 {
		return nil
	}
	block := q.block
	if block < time.Millisecond {
		block = -1 // less than a millisecond would mean for ever
	}
	return pipe.XRead(ctx, &redis.XReadArgs{Streams: []string{l.stream, q.after.String()}, Count: q.count, Block: block})
}

func (l *link) collect(read *redis.XStreamSliceCmd, info *redis.Cmd, head *redis.XMessageSliceCmd, who []*redis.StringCmd) (answer, error) {
	var a answer
	if read != nil {
		got, err := read.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return a, fmt.Errorf("stream: read %q: %w", l.stream, err)
		}
		if len(got) > 0 {
			a.entries = got[0].Messages
		}
	}
	var err error
	if a.state, err = stateOf(info); err != nil {
		return a, fmt.Errorf("stream: state of %q: %w", l.stream, err)
	}
	if head != nil {
		a.state.setFirst(head.Val())
	}
	for _, section := range who {
		a.who.parse(section.Val()) // empty when the server refuses
	}
	if a.who.role != "" && a.who.role != "master" {
		return a, fmt.Errorf("stream: read %q: %w", l.stream, errNotMaster)
	}
	return a, nil
}

func stateOf(info *redis.Cmd) (state, error) {
	reply, err := info.Result()
	if err == nil {
		return parseState(reply), nil
	}
	if strings.Contains(err.Error(), "no such key") {
		return state{added: -1}, nil
	}
	return state{}, err
}

// greet connects and asks the server who it is and how the stream stands.
func (l *link) greet(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return l.exchange(ctx, query{identify: true})
}

// isReply says whether err is the server's answer, as opposed to the lack of one.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
