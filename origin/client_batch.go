package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// LoadBatch returns up to MaxBatch profiles at once; duplicates are folded. Each id is in exactly
// one part of the result. The error is not nil when nothing at all could be answered, or for more
// than MaxBatch ids (profile.ErrTooLarge).
func (c *Client) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	if len(ids) > MaxBatch {
		err := fmt.Errorf("%w: %d ids; at most %d", profile.ErrTooLarge, len(ids), MaxBatch)
		return profile.Batch{}, &Error{Op: "load batch", Err: err}
	}
	valid, bad := SortIDs(ids)
	b := profile.Batch{Found: make(map[string]*profile.Profile, len(valid)), Errors: bad}
	asked := valid[:0]
	for _, id := range valid {
		if Reserved(id) {
			b.Missing = append(b.Missing, id)
			continue
		}
		if err := c.malformed.of(id); err != nil {
			b.Errors[id] = err
			continue
		}
		asked = append(asked, id)
	}
	if len(asked) == 0 {
		return b, nil
	}
	if err := c.loadInto(ctx, &b, asked); err != nil {
		return profile.Batch{}, err
	}
	return b, nil
}

// loadInto asks for ids in as few requests as possible: in one URL if it fits, else in one POST,
// else in several URLs.
func (c *Client) loadInto(ctx context.Context, b *profile.Batch, ids []string) error {
	urls := c.split(ids)
	if len(urls) > 1 && !c.noPost.Load() {
		got, err := c.postBatch(ctx, ids)
		if !lacksPost(err) {
			merge(b, got)
			return err
		}
		c.noPost.Store(true)
	}
	return c.getBatches(ctx, b, urls)
}

// lacksPost reports whether err is how a service without POST /batch answers it.
func lacksPost(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented)
}

const batchPath = "/batch?ids="

// split cuts ids into parts whose URLs fit.
func (c *Client) split(ids []string) (parts [][]string) {
	room := c.cfg.MaxURL - len(c.base.String()) - len(batchPath)
	start, size := 0, 0
	for i, id := range ids {
		if size += len(id) + 1; size > room && i > start {
			parts = append(parts, ids[start:i])
			start, size = i, len(id)+1
		}
	}
	return append(parts, ids[start:])
}

// getBatches asks for each part at the same time. Parts that fail are errors of their ids, unless
// all do.
func (c *Client) getBatches(ctx context.Context, b *profile.Batch, parts [][]string) error {
	answers := make([]profile.Batch, len(parts))
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i := range parts[1:] {
		wg.Go(func() { answers[i+1], errs[i+1] = c.getBatch(ctx, parts[i+1]) })
	}
	answers[0], errs[0] = c.getBatch(ctx, parts[0])
	wg.Wait()
	failed := 0
	for i, part := range parts {
		if errs[i] == nil {
			merge(b, answers[i])
			continue
		}
		failed++
		for _, id := range part {
			b.Errors[id] = errs[i]
		}
	}
	if failed == len(parts) {
		return errs[0]
	}
	return nil
}

func (c *Client) getBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b, err := c.bulk(ctx, &call{method: http.MethodGet, path: batchPath + strings.Join(ids, ",")}, ids)
	if errors.Is(err, errTooLong) && len(ids) > 1 {
		return inHalves(ctx, ids, c.getBatch)
	}
	return b, err
}

func (c *Client) postBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	body, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return profile.Batch{}, err
	}
	b, err := c.bulk(ctx, &call{method: http.MethodPost, path: "/batch", body: body}, ids)
	if errors.Is(err, errTooLong) && len(ids) > 1 {
		return inHalves(ctx, ids, c.postBatch)
	}
	return b, err
}

// inHalves asks for each half of ids, one after the other: the answer for all of them was too long.
func inHalves(
	ctx context.Context, ids []string, ask func(context.Context, []string) (profile.Batch, error),
) (profile.Batch, error) {
	first, err := ask(ctx, ids[:len(ids)/2])
	if err != nil {
		return profile.Batch{}, err
	}
	second, err := ask(ctx, ids[len(ids)/2:])
	if err != nil {
		return profile.Batch{}, err
	}
	merge(&first, second)
	return first, nil
}

// bulk makes a bulk lookup's call.
func (c *Client) bulk(ctx context.Context, call *call, ids []string) (b profile.Batch, err error) {
	call.op, call.retry, call.hedge = fmt.Sprintf("load batch of %d", len(ids)), true, c.bulks
	call.limit, call.timeout = maxBatchBody, c.cfg.BatchTimeout
	call.decode = func(_ int, body []byte) (err error) {
		b, err = c.decoder.bulk(body, ids)
		return err
	}
	if err := c.do(ctx, call); err != nil {
		c.malformed.logWhole(c.cfg.Logger, err)
		return profile.Batch{}, wholeBatch(err)
	}
	c.malformed.noteBatch(c.cfg.Logger, b)
	return b, nil
}

// wholeBatch keeps an error about a whole batch from reading as one about each user: 404 means that
// the path is not there, 400 that the service did not like the request.
func wholeBatch(err error) error {
	e, ok := errors.AsType[*Error](err)
	if ok && !errors.Is(e, errNonsense) && (errors.Is(e, profile.ErrNotFound) || errors.Is(e, profile.ErrInvalidID) || errors.Is(e, profile.ErrMalformed)) {
		e.Err = profile.ErrUnavailable
	}
	return err
}

func merge(b *profile.Batch, from profile.Batch) {
	maps.Copy(b.Found, from.Found)
	maps.Copy(b.Errors, from.Errors)
	b.Missing = append(b.Missing, from.Missing...)
}

// SortIDs folds duplicates and splits ids into those to look up and those that are none.
func SortIDs(ids []string) (valid []string, bad map[string]error) {
	seen := make(map[string]bool, len(ids))
	bad = map[string]error{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if err := profile.CheckID(id); err != nil {
			bad[id] = err
			continue
		}
		valid = append(valid, id)
	}
	return valid, bad
}
