package l2

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Apply stores an update that is already true at the origin. It reports false when as new a version
// is known. The profile needs a version. Errors are those of profile.Check, or Redis's.
func (r *Redis) Apply(ctx context.Context, p *profile.Profile) (bool, error) {
	return r.store(ctx, p, "1")
}

// Replace is Apply for a record that is already there: it creates none.
func (r *Redis) Replace(ctx context.Context, p *profile.Profile) (bool, error) {
	return r.store(ctx, p, "0")
}

func (r *Redis) store(ctx context.Context, p *profile.Profile, create string) (bool, error) {
	if err := checkVersioned(p); err != nil {
		return false, err
	}
	args := profile.AppendHash([]any{p.UpdatedAt, r.ttl(), r.guard(), create}, p)
	n, err := r.update(ctx, p.ID, args)
	return n == 1, err
}

// checkVersioned is profile.Check for a profile that must carry a version.
func checkVersioned(p *profile.Profile) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("l2: apply: %w", err)
	}
	if p.UpdatedAt == 0 {
		return fmt.Errorf("l2: apply %q: %w: updatedAt is 0; want the version, in ms since 1970",
			p.ID, profile.ErrMalformed)
	}
	return nil
}

// Hint takes what another service says of a user, unless the origin has been asked since: says is
// shown until it is, in the place of a record that is there, and nil forgets the record. order is
// the place of what it said in the stream; that of something later is greater. It reports whether
// the origin has not been asked.
func (r *Redis) Hint(
	ctx context.Context, id, order string, says *profile.Patch,
) (bool, error) {
	if err := profile.CheckID(id); err != nil {
		return false, fmt.Errorf("l2: hint: %w", err)
	}
	args := []any{order, r.guard()}
	if says != nil {
		args = says.AppendHash(args)
	}
	n, err := r.run(ctx, hint, id, args...).Int()
	if err != nil {
		return false, fmt.Errorf("l2: hint of %q: %w", id, err)
	}
	return n == 1, nil
}

func (r *Redis) update(ctx context.Context, id string, args []any) (int, error) {
	n, err := r.run(ctx, apply, id, args...).Int()
	if err != nil {
		return 0, fmt.Errorf("l2: apply %q: %w", id, err)
	}
	return n, nil
}

// Remove deletes a profile whose user was deleted at the origin in this version. It reports false
// when a newer version is known. Version 0, unknown, is as Invalidate.
func (r *Redis) Remove(ctx context.Context, id string, version int64) (bool, error) {
	if err := profile.CheckID(id); err != nil {
		return false, fmt.Errorf("l2: remove: %w", err)
	}
	if version == 0 {
		return true, r.Invalidate(ctx, id)
	}
	args := []any{version, r.conf.Negative.Milliseconds(), r.guard()}
	n, err := r.run(ctx, remove, id, args...).Int()
	if err != nil {
		return false, fmt.Errorf("l2: remove %q: %w", id, err)
	}
	return n == 1, nil
}

// Invalidate forgets a profile, so that the next read asks the origin.
func (r *Redis) Invalidate(ctx context.Context, id string) error {
	if err := profile.CheckID(id); err != nil {
		return fmt.Errorf("l2: invalidate: %w", err)
	}
	if err := r.run(ctx, invalidate, id).Err(); err != nil {
		return fmt.Errorf("l2: invalidate %q: %w", id, err)
	}
	return nil
}
