package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Keys in Redis. They share a slot, so that a change of several is one transaction in a cluster as
// well.
const (
	namesKey  = "{edgecache:fn}:names"   // hash: name, Record in JSON
	moduleKey = "{edgecache:fn}:module:" // and the SHA-256 in hex: the module as it was pushed
	nodesKey  = "{edgecache:fn}:nodes"   // zset: node, when it last asked (ms, Redis's clock)
	// and the SHA-256: set of who has it compiled, see readyAs
	readyKey    = "{edgecache:fn}:ready:"
	readyTTL    = time.Hour
	nodesTTL    = time.Hour
	nodeAlive   = 15 * time.Second // a node asks every 5 s
	maxAttempts = 50
)

// MaxFunctions is how many names there are at most.
const MaxFunctions = 1000

// store keeps functions in Redis.
type store struct{ client redis.UniversalClient }

// records returns all functions. One whose record does not decode is left out, and named in the
// error.
func (s store) records(ctx context.Context) (map[string]Record, error) {
	texts, err := s.client.HGetAll(ctx, namesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("edge: read %s: %w", namesKey, err)
	}
	return parseRecords(texts)
}

func parseRecords(texts map[string]string) (map[string]Record, error) {
	records := make(map[string]Record, len(texts))
	var bad error
	for name, text := range texts {
		r, err := parseRecord(text)
		if err == nil {
			err = CheckName(name)
		}
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("edge: record of %.70q: %w", name, err))
			continue
		}
		records[name] = r
	}
	return records, bad
}

// module returns a module, which must have that SHA-256.
func (s store) module(ctx context.Context, sum string) ([]byte, error) {
	size, err := s.client.StrLen(ctx, moduleKey+sum).Result()
	if err == nil && (size == 0 || size > MaxModule) {
		return nil, fmt.Errorf("edge: module %s has %d bytes in Redis; want 1 to %d", sum, size, MaxModule)
	}
	var wasm []byte
	if err == nil {
		wasm, err = s.client.Get(ctx, moduleKey+sum).Bytes()
	}
	if err != nil {
		return nil, fmt.Errorf("edge: read module %s: %w", sum, err)
	}
	if is := sha256.Sum256(wasm); hex.EncodeToString(is[:]) != sum {
		return nil, fmt.Errorf("edge: module %s in Redis has another SHA-256: %x", sum, is)
	}
	return wasm, nil
}

// change changes the record of a name as edit says, at once with the modules: wasm is added unless
// it is nil, and those that no version of any name has any more are removed. edit gets a zero
// Record for a new name; one without versions is removed.
func (s store) change(ctx context.Context, name string, wasm []byte, edit func(Record) (Record, error)) (Record, error) {
	for range maxAttempts {
		var after Record
		err := s.client.Watch(ctx, func(tx *redis.Tx) (err error) {
			after, err = s.attempt(ctx, tx, name, wasm, edit)
			return err
		}, namesKey)
		if errors.Is(err, redis.TxFailedErr) {
			continue // another change came between
		}
		return after, err
	}
	return Record{}, fmt.Errorf("edge: change %q: others changed functions %d times meanwhile", name, maxAttempts)
}

func (s store) attempt(ctx context.Context, tx *redis.Tx, name string, wasm []byte, edit func(Record) (Record, error)) (Record, error) {
	texts, err := tx.HGetAll(ctx, namesKey).Result()
	if err != nil {
		return Record{}, fmt.Errorf("edge: read %s: %w", namesKey, err)
	}
	records, _ := parseRecords(texts)
	before := records[name]
	after, err := edit(before)
	if err != nil {
		return before, err
	}
	if records[name] = after; len(records) > MaxFunctions {
		return before, fmt.Errorf("%w: there are %d functions; at most %d", ErrRequest, len(records)-1, MaxFunctions)
	}
	gone := without(before, records)
	_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		if wasm != nil {
			sum := sha256.Sum256(wasm)
			pipe.Set(ctx, moduleKey+hex.EncodeToString(sum[:]), wasm, 0)
		}
		return write(ctx, pipe, name, after, gone)
	})
	if err != nil {
		return before, fmt.Errorf("edge: change %q: %w", name, err)
	}
	return after, nil
}

func write(ctx context.Context, pipe redis.Pipeliner, name string, after Record, gone []string) error {
	for _, sum := range gone {
		pipe.Del(ctx, moduleKey+sum, readyKey+sum)
	}
	if len(after.Versions) == 0 {
		pipe.HDel(ctx, namesKey, name)
		return nil
	}
	text, err := json.Marshal(after)
	if err != nil {
		return err
	}
	pipe.HSet(ctx, namesKey, name, text)
	return nil
}

// without returns the modules of before that no record has.
func without(before Record, records map[string]Record) (gone []string) {
	for _, v := range before.Versions {
		used := slices.Contains(gone, v.Sum)
		for _, r := range records {
			used = used || slices.ContainsFunc(r.Versions, func(o Version) bool { return o.Sum == v.Sum })
		}
		if !used {
			gone = append(gone, v.Sum)
		}
	}
	return gone
}

// seen notes that a node is alive.
func (s store) seen(ctx context.Context, node string) error {
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("edge: Redis's time: %w", err)
	}
	pipe := s.client.Pipeline()
	pipe.ZAdd(ctx, nodesKey, redis.Z{Score: float64(now.UnixMilli()), Member: node})
	pipe.ZRemRangeByScore(ctx, nodesKey, "-inf", fmt.Sprint(now.Add(-nodesTTL).UnixMilli()))
	pipe.PExpire(ctx, nodesKey, nodesTTL)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("edge: say that the node is alive: %w", err)
	}
	return nil
}

// left notes that a node is gone.
func (s store) left(ctx context.Context, node string) error {
	return s.client.ZRem(ctx, nodesKey, node).Err()
}

// readyAs is the member by which a node says that it has the module compiled under this name and
// with this budget: each combination is compiled by itself.
func (id moduleID) readyAs(node string) string {
	return fmt.Sprintf("%s/%d/%s", id.name, id.fuel, node)
}

// ready notes that a node has a module compiled.
func (s store) ready(ctx context.Context, id moduleID, node string) error {
	pipe := s.client.Pipeline()
	pipe.SAdd(ctx, readyKey+id.sum, id.readyAs(node))
	pipe.PExpire(ctx, readyKey+id.sum, readyTTL)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("edge: say that module %s is ready: %w", id.sum, err)
	}
	return nil
}

// unreadied takes ready back.
func (s store) unreadied(ctx context.Context, id moduleID, node string) error {
	if err := s.client.SRem(ctx, readyKey+id.sum, id.readyAs(node)).Err(); err != nil {
		return fmt.Errorf("edge: say that module %s was dropped: %w", id.sum, err)
	}
	return nil
}

// unready returns the nodes that are alive and do not have a module compiled.
func (s store) unready(ctx context.Context, id moduleID) ([]string, error) {
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("edge: Redis's time: %w", err)
	}
	pipe := s.client.Pipeline()
	alive := pipe.ZRangeByScore(ctx, nodesKey, &redis.ZRangeBy{Min: fmt.Sprint(now.Add(-nodeAlive).UnixMilli()), Max: "+inf"})
	ready := pipe.SMembers(ctx, readyKey+id.sum)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("edge: ask who is ready: %w", err)
	}
	return slices.DeleteFunc(alive.Val(), func(n string) bool { return slices.Contains(ready.Val(), id.readyAs(n)) }), nil
}
