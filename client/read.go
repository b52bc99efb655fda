package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Want is what a reader demands of an answer. The zero value takes any that the node holds for
// fresh.
type Want struct {
	// MinVersion is the lowest version that will do, for readers who must see their own change.
	MinVersion int64
	// MaxAge is the oldest answer that will do, rounded down to seconds. 0: any; below 0, or below
	// a second: only what the source of truth says now.
	MaxAge time.Duration
}

func (w Want) header() http.Header {
	h := http.Header{}
	switch {
	case w.MaxAge >= time.Second:
		h.Set("Cache-Control", "max-age="+strconv.FormatInt(int64(w.MaxAge/time.Second), 10))
	case w.MaxAge != 0:
		h.Set("Cache-Control", "no-cache")
	}
	return h
}

// Result is one profile.
type Result struct {
	// Profile is shared with other callers who ask for the same user: it must not be changed.
	Profile *profile.Profile
	// Tier is who answered: "L1", "L1.5", "L2", "origin" or "stale".
	Tier string
	// Age is how old the answer is, in whole seconds.
	Age time.Duration
	// Same says that the node only confirmed what this client remembered.
	Same bool
}

// Get returns one profile. Errors wrap ErrNotFound, ErrInvalidID, ErrUnavailable, ErrUnauthorized,
// ErrForbidden, ErrLimited, or the cause of ctx.
func (c *Client) Get(ctx context.Context, id string, w Want) (Result, error) {
	if err := profile.CheckID(id); err != nil {
		return Result{}, fmt.Errorf("client: get: %w", err)
	}
	r := &request{method: http.MethodGet, path: userPath(id), header: w.header(), again: true}
	if w.MinVersion > 0 {
		r.path += "?minVersion=" + strconv.FormatInt(w.MinVersion, 10)
	}
	held, known := c.tags.get(id)
	if known {
		r.header.Set("If-None-Match", held.etag)
	}
	a, err := c.do(ctx, r)
	if err != nil {
		return Result{}, err
	}
	res := Result{Profile: held.profile, Same: true, Tier: tierOf(a.Header.Get("Cache-Status"))}
	if seconds, err := strconv.ParseUint(a.Header.Get("Age"), 10, 31); err == nil {
		res.Age = time.Duration(seconds) * time.Second
	}
	if a.Status == http.StatusNotModified && known {
		return res, nil
	}
	res.Same, res.Profile = false, new(profile.Profile)
	if err := json.Unmarshal(a.Body, res.Profile); err != nil || res.Profile.ID != id {
		return Result{}, fmt.Errorf("client: get %q: the answer is no profile of that user: %w", id, profile.ErrMalformed)
	}
	c.tags.put(id, tagged{a.Header.Get("ETag"), res.Profile})
	return res, nil
}

func userPath(id string) string { return "/v1/users/" + url.PathEscape(id) }

// tierOf reads the detail of a Cache-Status header.
func tierOf(status string) string {
	_, detail, _ := strings.Cut(status, "detail=")
	tier, _, _ := strings.Cut(detail, ";")
	return strings.TrimSpace(tier)
}

// Batch is many profiles; each id that was asked for is in exactly one of Users, Missing and
// Errors.
type Batch struct {
	Users   map[string]*profile.Profile `json:"users"`
	Missing []string                    `json:"missing"`
	// Errors says why a user could not be looked up.
	Errors map[string]string `json:"errors"`
}

// GetMany returns many profiles. Duplicates are folded; beyond Config.BatchSize ids the lookup is
// split, and fails as a whole when one part does. Errors wrap ErrUnavailable, ErrUnauthorized,
// ErrForbidden, ErrLimited, or the cause of ctx.
func (c *Client) GetMany(ctx context.Context, ids []string) (Batch, error) {
	all := Batch{Users: map[string]*profile.Profile{}, Errors: map[string]string{}}
	parts := split(ids, c.cfg.BatchSize)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		turn  = make(chan struct{}, c.cfg.Parallel)
	)
	for _, part := range parts {
		turn <- struct{}{}
		group.Go(func() {
			defer func() { <-turn }()
			b, err := c.part(ctx, part)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				cancel(err)
				return
			}
			all.add(b)
		})
	}
	group.Wait()
	return all, context.Cause(ctx)
}

func (c *Client) part(ctx context.Context, ids []string) (b Batch, err error) {
	body, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return b, err
	}
	a, err := c.do(ctx, &request{method: http.MethodPost, path: "/v1/users/batch", body: body, again: true})
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(a.Body, &b); err != nil {
		return b, fmt.Errorf("client: the answer is no batch: %w", err)
	}
	return b, nil
}

func (b *Batch) add(part Batch) {
	for id, p := range part.Users {
		b.Users[id] = p
	}
	b.Missing = append(b.Missing, part.Missing...)
	for id, why := range part.Errors {
		b.Errors[id] = why
	}
}

// split folds duplicates and cuts ids into parts of at most size.
func split(ids []string, size int) (parts [][]string) {
	seen := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if _, again := seen[id]; again {
			continue
		}
		seen[id] = struct{}{}
		if n := len(parts); n == 0 || len(parts[n-1]) == size {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], id)
	}
	return parts
}

// tags remembers profiles with their ETag; when it is full, a new one takes the place of any other.
type tags struct {
	most int
	mu   sync.Mutex
	of   map[string]tagged // guarded by mu
}

type tagged struct {
	etag    string
	profile *profile.Profile
}

func (t *tags) get(id string) (tagged, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, ok := t.of[id]
	return held, ok
}

func (t *tags) put(id string, one tagged) {
	if t.most == 0 || one.etag == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[string]tagged)
	}
	if _, known := t.of[id]; !known && len(t.of) >= t.most {
		for other := range t.of {
			delete(t.of, other)
			break
		}
	}
	t.of[id] = one
}
