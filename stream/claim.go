package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// claim takes over entries that were delivered ClaimAfter ago and not acknowledged: by a worker
// that died, or because applying them failed.
func (w *Worker) claim(ctx context.Context, l *link) error {
	if w.byHand {
		return w.claimByHand(ctx, l)
	}
	start := "0-0"
	for ctx.Err() == nil {
		entries, next, err := l.conn.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: w.cfg.Stream, Group: w.cfg.Group, Consumer: w.cfg.Consumer, MinIdle: w.cfg.ClaimAfter, Start: start, Count: w.pace.now,
		}).Result()
		if lacksAutoClaim(err) {
			w.byHand = true
			w.cfg.Logger.InfoContext(ctx, "stream: XAUTOCLAIM is of no use on this server, claiming by hand", "error", err)
			if errors.Is(err, redis.Nil) { // the rest of the reply is still on its way
				return fmt.Errorf("stream: claim: an entry that is gone: %w", err)
			}
			return w.claimByHand(ctx, l)
		}
		if err != nil {
			return fmt.Errorf("stream: claim: %w", err)
		}
		if err := w.workClaimed(ctx, l, entries); err != nil {
			return err
		}
		if start = next; next == "0-0" {
			return nil
		}
	}
	return nil
}

// lacksAutoClaim reports whether err is how Redis below 6.2 answers XAUTOCLAIM, or what the client
// makes of the answer of Redis 6.2 when an entry was deleted: nil in its place.
func lacksAutoClaim(err error) bool {
	return errors.Is(err, redis.Nil) || err != nil && strings.Contains(err.Error(), "unknown command")
}

func (w *Worker) workClaimed(ctx context.Context, l *link, entries []redis.XMessage) error {
	if len(entries) == 0 {
		return nil
	}
	deliveries, err := w.deliveries(ctx, l, entries)
	if err != nil {
		return err
	}
	return w.work(ctx, l, entries, deliveries)
}

// claimByHand is claim by the commands of Redis 5. Entries that are gone are acknowledged.
func (w *Worker) claimByHand(ctx context.Context, l *link) error {
	for from := "-"; ctx.Err() == nil; {
		pending, err := l.conn.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: w.cfg.Stream, Group: w.cfg.Group, Start: from, End: "+", Count: workerBatch,
		}).Result()
		if err != nil || len(pending) == 0 {
			return wrapped("stream: pending entries", err)
		}
		entries, err := w.takeOver(ctx, l, pending)
		if err != nil {
			return err
		}
		if err := w.workClaimed(ctx, l, entries); err != nil {
			return err
		}
		last, ok := parseEntryID(pending[len(pending)-1].ID)
		if from = last.next().String(); !ok || len(pending) < workerBatch {
			return nil
		}
	}
	return nil
}

// wrapped is nil when err is.
func wrapped(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// takeOver claims those that have waited long enough, and reads them.
func (w *Worker) takeOver(ctx context.Context, l *link, pending []redis.XPendingExt) ([]redis.XMessage, error) {
	claims := l.conn.Pipeline()
	for _, p := range pending {
		if p.Idle >= w.cfg.ClaimAfter {
			claims.Do(ctx, "XCLAIM", w.cfg.Stream, w.cfg.Group, w.cfg.Consumer, w.cfg.ClaimAfter.Milliseconds(),
				p.ID, "RETRYCOUNT", p.RetryCount+1, "JUSTID")
		}
	}
	if claims.Len() == 0 {
		return nil, nil
	}
	replies, err := claims.Exec(ctx)
	if err != nil {
		return nil, fmt.Errorf("stream: claim by hand: %w", err)
	}
	reads := l.conn.Pipeline()
	var ids []string
	for _, reply := range replies {
		for _, id := range stringsOf(reply) { // none when another worker was faster
			ids = append(ids, id)
			reads.XRange(ctx, w.cfg.Stream, id, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if replies, err = reads.Exec(ctx); err != nil {
		return nil, fmt.Errorf("stream: read what was claimed: %w", err)
	}
	return w.splitGone(ctx, l, ids, replies)
}

// stringsOf returns the texts of a reply that is a list of them.
func stringsOf(reply redis.Cmder) []string {
	cmd, ok := reply.(*redis.Cmd)
	if !ok {
		return nil
	}
	ids, _ := cmd.StringSlice()
	return ids
}

// splitGone returns the entries that were read, and acknowledges those that are not there any more.
func (w *Worker) splitGone(ctx context.Context, l *link, ids []string, replies []redis.Cmder) (entries []redis.XMessage, err error) {
	var gone []string
	for i, reply := range replies {
		read, ok := reply.(*redis.XMessageSliceCmd)
		if ok && len(read.Val()) == 1 {
			entries = append(entries, read.Val()[0])
			continue
		}
		gone = append(gone, ids[i])
	}
	if len(gone) > 0 {
		err = l.conn.XAck(ctx, w.cfg.Stream, w.cfg.Group, gone...).Err()
	}
	return entries, wrapped("stream: acknowledge what is gone", err)
}
