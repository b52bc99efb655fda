package tier

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Loader is the origin: the source of truth. Both methods may be called concurrently and must
// respect ctx.
type Loader interface {
	// Load returns one profile, or an error that wraps profile.ErrNotFound when there is no such
	// user. The result is the caller's.
	Load(ctx context.Context, id string) (*profile.Profile, error)
	// LoadBatch returns at most 500 profiles at once.
	LoadBatch(ctx context.Context, ids []string) (profile.Batch, error)
}

// LoaderFunc is a function that answers for several users at once, as a Loader. It is called as
// LoadBatch is, and for a single user with one id. It is not one that answers for one user: a batch
// of 500 would take it too many calls, one after another longer than a load may take, side by side
// more than Config.MaxLoads allows.
type LoaderFunc func(ctx context.Context, ids []string) (profile.Batch, error)

// Load calls f with one id. Errors are those of f, or that of id in its answer, or wrap
// profile.ErrNotFound when id is missing.
func (f LoaderFunc) Load(ctx context.Context, id string) (*profile.Profile, error) {
	b, err := f(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	if p := b.Found[id]; p != nil {
		return p, nil
	}
	if err := b.Errors[id]; err != nil {
		return nil, err
	}
	for _, missing := range b.Missing {
		if missing == id {
			return nil, fmt.Errorf("tier: load %q: %w", id, profile.ErrNotFound)
		}
	}
	return nil, fmt.Errorf("tier: load %q: %w", id, errNoAnswer)
}

// LoadBatch calls f.
func (f LoaderFunc) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	return f(ctx, ids)
}
