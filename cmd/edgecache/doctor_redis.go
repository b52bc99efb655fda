package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/stream"
)

// redisLook looks at one Redis.
type redisLook struct {
	*findings
	client redis.UniversalClient
	url    string
}

// servers looks at each server that takes writes.
func (l redisLook) servers(ctx context.Context) {
	cluster, ok := l.client.(*redis.ClusterClient)
	if !ok {
		l.server(ctx, l.client, "")
		return
	}
	var mu sync.Mutex
	masters := 0
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters++
		l.server(ctx, c, " "+c.Options().Addr)
		return nil
	})
	if err != nil || masters == 0 {
		l.add(failing, "cluster", fmt.Sprintf("its masters cannot be found: %v", err), "users whose slots nobody serves are read from the origin.")
	}
}

// server looks at one server; at tells it from others.
func (l redisLook) server(ctx context.Context, c redis.Cmdable, at string) {
	info := infoOf(c.Info(ctx).Val())
	l.kind(info, at)
	l.role(info, at)
	l.eviction(info, at)
	l.clock(ctx, c, at)
}

// infoOf reads a reply of INFO.
func infoOf(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r"), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// kind says which server it is, by what only it says of itself.
func (l redisLook) kind(info map[string]string, at string) {
	what, version := "server"+at, info["redis_version"]
	if info["run_id"] == "" {
		l.add(lossy, what, "it does not say who it is (INFO is forbidden, or it is the embedded one)",
			"a node cannot tell one server from another, and flushes its memory at each new connection.")
	}
	switch {
	case info["dragonfly_version"] != "":
		l.add(lossy, what, "Dragonfly "+info["dragonfly_version"], "it was never tried; the rights below tell what it lacks.")
	case info["server_name"] == "valkey", info["valkey_version"] != "":
		l.add(fine, what, "Valkey "+info["valkey_version"], "it is used like Redis 7.2; from 9.1 on Lua is a module that must be there.")
	case info["rlec_version"] != "", strings.Contains(info["redis_build_id"], "rlec"):
		l.add(lossy, what, "Redis Software or Redis Cloud, "+version, "it refuses CLIENT TRACKING with REDIRECT; pushes of RESP3 come first.")
	case strings.Contains(info["os"], "ElastiCache"), strings.Contains(info["os"], "Amazon"):
		l.add(lossy, what, "ElastiCache or MemoryDB, "+version, "a serverless one may name another server at each connection, which flushes memory.")
	case version == "" && info["run_id"] != "":
		l.add(lossy, what, "a server that does not tell its version", "it was never tried; the rights below tell what it lacks.")
	case version != "":
		l.release(what, version)
	}
}

// release says what a version of Redis lacks.
func (l redisLook) release(what, version string) {
	major, rest, _ := strings.Cut(version, ".")
	m, _ := strconv.Atoi(major)
	n, _ := strconv.Atoi(strings.SplitN(rest, ".", 2)[0])
	found := "Redis " + version
	switch {
	case m < 5:
		l.add(failing, what, found, "it has no streams: nodes cannot know what has changed.")
	case m < 6:
		l.add(lossy, what, found, "it has no CLIENT TRACKING: what sees the writes of others is below.")
	case m == 6 && n < 2:
		l.add(lossy, what, found, "it has no XAUTOCLAIM and no XTRIM MINID: workers claim one by one, and trim without regard for other groups.")
	case m < 7:
		l.add(lossy, what, found, "it does not count the entries of a stream: some flushes of memory are needless.")
	default:
		l.add(fine, what, found, "it has all that edgecache uses.")
	}
}

func (l redisLook) role(info map[string]string, at string) {
	if role := info["role"]; role != "" && role != "master" {
		l.add(failing, "role"+at, role, "it takes no writes and may be behind: name its master, or the Sentinels.")
	}
}

const (
	// fullAt and nearlyFullAt are how much of its memory a Redis may use.
	fullAt, nearlyFullAt = 0.95, 0.80
)

// eviction says what becomes of a Redis that is full, and how full it is.
func (l redisLook) eviction(info map[string]string, at string) {
	used, _ := strconv.ParseFloat(info["used_memory"], 64)
	most, _ := strconv.ParseFloat(info["maxmemory"], 64)
	policy := info["maxmemory_policy"]
	switch {
	case policy == "":
		l.add(lossy, "eviction"+at, "not told", "whether a full Redis keeps the stream cannot be seen from here.")
	case most == 0:
		l.add(lossy, "eviction"+at, "no maxmemory is set", "Redis takes all the memory of its machine, and then the system ends it.")
	case strings.HasPrefix(policy, "allkeys"):
		l.add(lossy, "eviction"+at, policy, "a full Redis may evict the stream of changes, which flushes the memory of all nodes: use volatile-ttl or volatile-lru.")
	case policy == "noeviction":
		l.add(lossy, "eviction"+at, policy, "a full Redis takes no more profiles and no changes: use volatile-ttl or volatile-lru.")
	default:
		l.add(fine, "eviction"+at, policy, "a full Redis evicts profiles, and keeps the stream of changes.")
	}
	if most == 0 {
		return
	}
	found := fmt.Sprintf("%.0f of %.0f MiB used (%.0f %%)", used/(1<<20), most/(1<<20), 100*used/most)
	switch share := used / most; {
	case share > fullAt:
		l.add(lossy, "memory"+at, found, "it is full: profiles are evicted, and come back from the origin.")
	case share > nearlyFullAt:
		l.add(lossy, "memory"+at, found, "it is nearly full: beyond that profiles are evicted, and come back from the origin.")
	default:
		l.add(fine, "memory"+at, found, "there is room.")
	}
}

const (
	// clockTrips is how often a clock is asked; the fastest answer counts.
	clockTrips = 5
	// offBy is how much clocks may differ: a hint from a minute ahead is no version any more.
	offBy, farOff = time.Second, time.Minute
)

func (l redisLook) clock(ctx context.Context, c redis.Cmdable, at string) {
	var off, within time.Duration
	for i := range clockTrips {
		began := time.Now()
		now, err := c.Time(ctx).Result()
		took := time.Since(began)
		if err != nil {
			return // the rights tell
		}
		if i == 0 || took < within {
			off, within = now.Sub(began.Add(took/2)), took
		}
	}
	l.clocks("clock of Redis"+at, off, within)
}

// clocks says what the difference of a clock from this machine's means; within is how exact it is.
func (f *findings) clocks(what string, off, within time.Duration) {
	found := fmt.Sprintf("%v ahead of this machine's, give or take %v", off.Round(time.Microsecond), within.Round(time.Microsecond))
	if off < 0 {
		found = fmt.Sprintf("%v behind this machine's, give or take %v", -off.Round(time.Microsecond), within.Round(time.Microsecond))
	}
	switch d := off.Abs() - within; {
	case d > farOff:
		f.add(failing, what, found, "times of other services are no versions any more, and lags, ages and tokens are wrong: set the clocks.")
	case d > offBy:
		f.add(lossy, what, found, "lags and ages are wrong by that much, and a hint may count as older than it is.")
	default:
		f.add(fine, what, found, "versions, lags and ages agree.")
	}
}

const (
	// manyPending is how many entries may wait for the workers, shortMemory how far back a stream
	// must go for a worker to make good a failover.
	manyPending = 1000
	shortMemory = 10 * time.Minute
)

// stream says how the stream of changes stands.
func (l redisLook) stream(ctx context.Context) {
	b, err := stream.Inspect(ctx, l.client, "", "")
	switch {
	case errors.Is(err, stream.ErrNoEntry):
		l.add(fine, "stream", "there is none, or no worker has read it", "no node has used this Redis yet.")
		return
	case err != nil:
		l.add(lossy, "stream", plain(err).Error(), "what was announced cannot be seen from here.")
		return
	}
	l.length(ctx, b)
	switch {
	case b.Pending > manyPending:
		l.add(lossy, "workers", fmt.Sprintf("%d entries are pending", b.Pending), "events of other services reach Redis late: see 'edgecache events pending'.")
	default:
		l.add(fine, "workers", fmt.Sprintf("%d entries are pending", b.Pending), "events of other services reach Redis.")
	}
	if b.Dead > 0 {
		l.add(lossy, "dead letters", fmt.Sprint(b.Dead), "so many events could not be applied: 'edgecache events dead' tells why.")
	} else {
		l.add(fine, "dead letters", "none", "every event could be applied.")
	}
}

// length compares the length of the stream with the rate at which it grows.
func (l redisLook) length(ctx context.Context, b stream.Backlog) {
	first, err := l.client.XRangeN(ctx, stream.Name, "-", "+", 1).Result()
	if err != nil || len(first) == 0 {
		l.add(fine, "stream", "it is empty", "nothing was announced yet, or all was trimmed.")
		return
	}
	span := idTime(b.LastID).Sub(idTime(first[0].ID))
	rate := float64(b.Length) / max(span.Seconds(), 1)
	found := fmt.Sprintf("%d entries, which go back %v: %.2f a second", b.Length, span.Round(time.Second), rate)
	if b.Length > stream.DefaultMaxLen/2 && span < shortMemory {
		l.add(lossy, "stream", found, "after a failover the worker cannot apply the last 10 minutes again: raise --stream-max-len.")
		return
	}
	l.add(fine, "stream", found, "a node that is cut off for less than that misses nothing.")
}
