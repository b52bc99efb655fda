package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// nobody is a user that nobody has, whose keys doctor asks about.
const nobody = "edgecache:doctor"

// right is what nodes do in Redis for one purpose.
type right struct {
	purpose string
	// without is what is lost when one of the calls is refused, vital that nodes do not work then.
	without string
	vital   bool
	// calls change nothing: they read, or have an argument that the server refuses after it has
	// looked whether the user may call.
	calls [][]any
}

// rightsOfNodes are in the order of docs/operations.md.
func rightsOfNodes() []right {
	key := profile.Key(nobody)
	guard, lease := "{"+key+"}:guard", "{"+key+"}:lease"
	return []right{
		{"the stream", "a node cannot know that it misses no change, and does not start.", true, [][]any{
			{"XREAD", "COUNT", 1, "STREAMS", stream.Name, "$"}, {"XINFO", "STREAM", stream.Name}, {"XRANGE", stream.Name, "-", "-"},
			{"INFO", "server"}, {"TIME"}}},
		{"profiles", "no lookup of Redis is kept, and no change is taken.", true, [][]any{
			{"HGETALL", key}, {"HSET", key, "f", "v", "odd"}, {"EXPIRE", key, "odd"}, {"DEL", key}, {"EXISTS", key}, {"TYPE", key},
			{"HMGET", guard, "floor"}, {"HDEL", guard, "floor"}, {"PEXPIRE", guard, "odd"}, {"PTTL", guard},
			{"GET", lease}, {"SET", lease, "v", "PX", "odd"}}},
		{"scripts", "no lookup of Redis is kept, and no change is taken.", true, [][]any{
			{"EVAL", "return 0", 1, key}, {"EVALSHA", strings.Repeat("0", 40), 1, key}, {"SCRIPT", "LOAD", "odd("}}},
		{"announcements", "other nodes are not told of a Put or an invalidation at a node.", false, [][]any{
			{"XADD", stream.Name, "odd", "f", "v"}, {"XTRIM", stream.Name, "MAXLEN", "odd"}}},
		{"the worker", "events of other services do not reach Redis.", false, [][]any{
			{"XREADGROUP", "GROUP", nobody, nobody, "COUNT", 1, "STREAMS", stream.Name, ">"}, {"XACK", stream.Name, nobody, "0-0"},
			{"XAUTOCLAIM", stream.Name, nobody, nobody, 1000, "0-0"}, {"XPENDING", stream.Name, nobody}, {"XINFO", "GROUPS", stream.Name},
			{"XGROUP", "CREATE", stream.Name, nobody, "odd"}, {"XADD", stream.Name + ":dead", "odd", "f", "v"}, {"GET", stream.Name + ":worker:servers"},
			{"SET", stream.Name + ":worker:servers", "", "PX", "odd"}}},
		{"the count of profiles", "totalCached stays -1.", false, [][]any{{"SCAN", 0, "MATCH", key, "COUNT", 1}}},
		{"prewarms", "there are no prewarms.", false, [][]any{
			{"ZADD", "edgecache:hot", "odd", nobody}, {"HGETALL", "{edgecache:prewarm}:run"}, {"GET", "edgecache:prewarm:doctor:plan:0"}}},
		{"edge functions", "a node that is to run edge functions does not start.", false, [][]any{
			{"HGETALL", "{edgecache:fn}:names"}, {"ZADD", "{edgecache:fn}:nodes", "odd", nobody}, {"SMEMBERS", "{edgecache:fn}:ready:0"},
			{"WATCH", "{edgecache:fn}:names"}, {"UNWATCH"}}},
	}
}

// rights tries what nodes do.
func (l redisLook) rights(ctx context.Context) {
	for _, r := range rightsOfNodes() {
		var lacks []string
		for _, call := range r.calls {
			if why := refusedCall(ctx, l.client, call); why != "" {
				lacks = append(lacks, why)
			}
		}
		switch {
		case len(lacks) == 0:
			l.add(fine, "rights: "+r.purpose, fmt.Sprintf("%d commands tried", len(r.calls)), "nodes may do what they have to.")
		case r.vital:
			l.add(failing, "rights: "+r.purpose, strings.Join(lacks, "; "), r.without)
		default:
			l.add(lossy, "rights: "+r.purpose, strings.Join(lacks, "; "), r.without)
		}
	}
}

// refusedCall makes a call, and says how it was refused; "" when it may be made, whatever came of
// it.
func refusedCall(ctx context.Context, c redis.UniversalClient, call []any) string {
	err := c.Do(ctx, call...).Err()
	var reply redis.Error
	name := fmt.Sprint(call[0])
	if name == "XINFO" || name == "XGROUP" || name == "SCRIPT" {
		name += fmt.Sprint(" ", call[1])
	}
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return ""
	case !errors.As(err, &reply):
		return name + ": " + plain(err).Error()
	case strings.HasPrefix(err.Error(), "NOPERM"):
		return name + " is not allowed"
	case strings.Contains(err.Error(), "unknown command"), strings.Contains(strings.ToLower(err.Error()), "unknown subcommand"):
		return name + " is not there"
	}
	return ""
}
