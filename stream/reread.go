package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// checkEvery is how often the worker looks whether one of the servers is another than before.
	checkEvery = 5 * time.Second
	// serversTTL is how long the servers are remembered. Forgetting them costs one reading of the
	// last minutes.
	serversTTL = 7 * 24 * time.Hour
	// maxRereads is how often reading the last minutes again is tried while some events of it
	// cannot be applied.
	maxRereads = 5
)

// eacher is a client of several masters: *redis.ClusterClient.
type eacher interface {
	ForEachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error
}

// checkServers applies the last minutes of the stream again if a server is not the one it was. The
// second tier is spread over all masters of a cluster, so each of them counts and not only the one
// that holds the stream. A master that does not answer is no reason to stop: one shard that is down
// must not hold up the others. Errors are those of the link.
func (w *Worker) checkServers(ctx context.Context, l *link) error {
	now, before, err := w.compareServers(ctx)
	if err != nil {
		w.cfg.Logger.WarnContext(ctx, "stream: cannot tell whether a server was replaced", "link", "worker", "error", err)
		return nil
	}
	first := !w.checked
	if w.checked = true; now == before && now != "" || now == "" && !first {
		// a server that does not say who it is has to be taken for another at each new link, and
		// only then
		return nil
	}
	if !w.created {
		failed, err := w.reread(ctx, l)
		if err != nil {
			return err
		}
		w.cfg.Logger.InfoContext(ctx, "stream: applied the last minutes again", "span", rereadSpan, "failed", failed, "servers", now)
		if w.rereads++; failed > 0 && w.rereads < maxRereads {
			w.checked = false
			return nil // at the next check
		}
	}
	w.created, w.rereads = false, 0
	if err := w.cfg.Client.Set(ctx, w.serversKey(), now, serversTTL).Err(); err != nil {
		w.cfg.Logger.WarnContext(ctx, "stream: cannot remember the servers", "link", "worker", "error", err)
	}
	return nil
}

func (w *Worker) serversKey() string { return w.cfg.Stream + ":worker:servers" }

// compareServers returns the servers that there are and those that some worker last applied
// everything to.
func (w *Worker) compareServers(ctx context.Context) (now, before string, err error) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	if now, err = w.servers(ctx); err != nil {
		return "", "", err
	}
	before, err = w.cfg.Client.Get(ctx, w.serversKey()).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return now, before, err
}

// servers names the lives of all masters: their run ids, sorted. It is "" when one of them does not
// say.
func (w *Worker) servers(ctx context.Context) (string, error) {
	c, many := w.cfg.Client.(eacher)
	if !many {
		return w.server, nil
	}
	var mu sync.Mutex
	var ids []string
	err := c.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error {
		info, err := one.Info(ctx, "server").Result()
		if err != nil && !isReply(err) {
			return err
		}
		var who identity
		who.parse(info)
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, who.runID)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("stream: ask the masters who they are: %w", err)
	}
	if slices.Contains(ids, "") {
		return "", nil
	}
	slices.Sort(ids)
	return strings.Join(ids, " "), nil
}

// reread applies the events of the last rereadSpan again and returns how many could not be. It
// gives up early when most cannot: then it is the second tier that fails, and the next attempt is
// soon enough.
func (w *Worker) reread(ctx context.Context, l *link) (failed int, err error) {
	from, to, err := w.lastMinutes(ctx, l)
	if err != nil {
		return 0, err
	}
	for ctx.Err() == nil {
		entries, err := l.conn.XRangeN(ctx, w.cfg.Stream, from.String(), to.String(), w.pace.now).Result()
		if err != nil {
			return failed, fmt.Errorf("stream: read the last minutes: %w", err)
		}
		failed += w.applyAgain(ctx, entries)
		last := int64(len(entries)) < w.pace.now
		w.stats.reread(len(entries), last)
		if last || failed > workerBatch/2 {
			return failed, nil
		}
		id, _ := parseEntryID(entries[len(entries)-1].ID)
		from = id.next()
	}
	return failed, ctx.Err()
}

// lastMinutes returns the ids between which the last rereadSpan of the stream lies. Its own last id
// bounds it: the server's clock may have been set, or be another's, since that was written.
func (w *Worker) lastMinutes(ctx context.Context, l *link) (from, to entryID, err error) {
	newest, err := l.conn.XRevRangeN(ctx, w.cfg.Stream, "+", "-", 1).Result()
	if err != nil {
		return from, to, fmt.Errorf("stream: read the last entry: %w", err)
	}
	at := uint64(w.clock.UnixMilli())
	if to = (entryID{ms: at}); len(newest) > 0 {
		to, _ = parseEntryID(newest[0].ID)
	}
	return entryID{ms: min(at, to.ms)}.back(rereadSpan), to, nil
}

func (w *Worker) applyAgain(ctx context.Context, entries []redis.XMessage) (failed int) {
	for _, entry := range entries {
		e, err := Decode(entry.Values)
		if err != nil || ctx.Err() != nil {
			continue
		}
		e.ID, e.At = entry.ID, eventTime(entry.ID, entry.Values)
		if w.apply(ctx, e) != nil {
			failed++
		}
	}
	return failed
}
