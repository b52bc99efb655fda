package stream

import (
	"context"
	"log/slog"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 500 * time.Millisecond
)

// retry calls session, which serves one link until the link fails, over and over until ctx ends.
// session calls its argument when the link works, so that the pauses begin small again. link says
// in the log whose link it is.
func retry(ctx context.Context, log *slog.Logger, link string, session func(works func()) error) {
	attempt := 0
	for ctx.Err() == nil {
		err := session(func() { attempt = 0 })
		if ctx.Err() != nil {
			return
		}
		attempt++
		pause := life.Backoff(attempt, backoffFirst, backoffMost)
		log.WarnContext(ctx, "stream: the link to Redis failed", "link", link, "attempt", attempt, "error", err, "pause", pause)
		life.Wait(ctx, pause)
	}
}
