package bench

import (
	"context"
	"errors"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const mixedNote = "What a chat node does: of 1,000 operations 949 look up one user, 50 a page of 20, and one changes a user at the origin and waits for " +
	"the answer. All by one node whose memory holds half of the users, so that all tiers take part. The oracle judges every single lookup."

const (
	// mixedPage is how many users a page of a chat shows.
	mixedPage = 20
	// of 1,000 operations.
	mixedChanges, mixedPages = 1, 50
)

// measureMixed measures everything at once.
func measureMixed(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = "lookups, pages and changes together", mixedNote
	n, err := w.warmed(ctx, node.Config{Tier: tier.Config{L1Bytes: max(1<<20, int64(len(w.ids)*meanEntry/2))}})
	if err != nil {
		return err
	}
	c := w.getting(n, w.popular, "mixed", func(tier.Stats) uint64 { return 0 })
	c.name = report.Subject + " node"
	get, many := c.op, w.judgedBatch("mixed pages", n)
	c.op = func(ctx context.Context, worker int, i uint64) error {
		// An odd factor spreads the few among the many.
		switch k := i * 7919 % 1000; {
		case k < mixedChanges && !w.truth.foreign:
			_, err := w.change(ctx, w.ids[w.popular.at(i)])
			return err
		case k < mixedChanges+mixedPages:
			ids := make([]string, mixedPage)
			for j := range ids {
				ids[j] = w.ids[w.popular.at(i+uint64(j))]
			}
			return many(ctx, ids)
		}
		return get(ctx, worker, i)
	}
	return errors.Join(w.measure(ctx, s, c), c.end())
}
