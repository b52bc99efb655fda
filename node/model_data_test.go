package node

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The part of Redis that edgecache uses, in memory: strings and hashes with a time to live, and one
// kind of stream with the counters of Redis 7. TestTheModelIsRedis holds it against a real server.

// position is the id of a stream entry.
type position struct{ ms, seq uint64 }

func positionOf(s string) (p position) {
	ms, seq, _ := strings.Cut(s, "-")
	p.ms, _ = strconv.ParseUint(ms, 10, 64)
	p.seq, _ = strconv.ParseUint(seq, 10, 64)
	return p
}

func (p position) String() string { return fmt.Sprintf("%d-%d", p.ms, p.seq) }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.ms, q.ms), cmp.Compare(p.seq, q.seq))
}

func (p position) next() position {
	if p.seq == math.MaxUint64 {
		return position{ms: p.ms + 1}
	}
	return position{p.ms, p.seq + 1}
}

// entry is one entry of a stream. No two ever have the same serial, whatever becomes of the
// streams: it is what the shadows of the nodes count by, and no server would tell.
type streamEntry struct {
	position
	serial int
	fields []string
}

// log is a stream. born tells streams of the same name apart; it too is for the shadows alone.
type log struct {
	born    int
	entries []streamEntry
	last    position
	deleted position
	added   int
}

// keyspace is what a server keeps, and what it loses.
type keyspace struct {
	strings map[string]string
	hashes  map[string]map[string]string
	streams map[string]*log
	expires map[string]time.Time
}

func newKeyspace() *keyspace {
	return &keyspace{strings: map[string]string{}, hashes: map[string]map[string]string{}, streams: map[string]*log{}, expires: map[string]time.Time{}}
}

// clone returns a copy that later changes of k do not reach.
func (k *keyspace) clone() *keyspace {
	c := newKeyspace()
	maps.Copy(c.strings, k.strings)
	for name, h := range k.hashes {
		c.hashes[name] = maps.Clone(h)
	}
	for name, s := range k.streams {
		s := *s
		s.entries = slices.Clone(s.entries)
		c.streams[name] = &s
	}
	maps.Copy(c.expires, k.expires)
	return c
}

// expire drops what has had its time.
func (k *keyspace) expire(now time.Time) {
	for name, at := range k.expires {
		if !now.Before(at) {
			k.drop(name)
		}
	}
}

func (k *keyspace) drop(name string) int {
	n := k.count(name)
	delete(k.strings, name)
	delete(k.hashes, name)
	delete(k.streams, name)
	delete(k.expires, name)
	return n
}

// count is 1 for a key that is there.
func (k *keyspace) count(name string) int {
	_, text := k.strings[name]
	if text || k.hashes[name] != nil || k.streams[name] != nil {
		return 1
	}
	return 0
}

// status is a reply that is no bulk string; failure one that is an error.
type (
	status  string
	failure string
)

// command runs one command; replies are int, string, status, failure, []any, or nil for none.
// Blocking is for the caller.
func (s *modelRedis) command(name string, args []string) any {
	s.data.expire(s.now())
	switch name {
	case "PING":
		return status("PONG")
	case "CLIENT", "SELECT":
		return status("OK")
	case "DEL":
		n := 0
		for _, key := range args {
			n += s.data.drop(key)
		}
		return n
	case "EXISTS":
		n := 0
		for _, key := range args {
			n += s.data.count(key)
		}
		return n
	case "GET", "MGET", "SET":
		return s.stringCommand(name, args)
	case "EXPIRE", "PEXPIRE":
		return s.expireKey(args[0], args[1], map[string]time.Duration{"EXPIRE": time.Second, "PEXPIRE": time.Millisecond}[name])
	case "PTTL":
		return s.left(args[0])
	case "TIME":
		now := s.now()
		return []any{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)}
	case "SCAN":
		return []any{"0", strs(slices.Collect(maps.Keys(s.data.hashes)))}
	case "INFO":
		return "run_id:" + s.runID + "\r\nrole:master\r\nmaster_replid:" + s.replID + "\r\nmaster_replid2:" + s.replID2 + "\r\n"
	}
	if name[0] == 'H' {
		return s.hashCommand(name, args)
	}
	return s.streamCommand(name, args)
}

// left is PTTL.
func (s *modelRedis) left(key string) any {
	at, ends := s.data.expires[key]
	switch {
	case s.data.count(key) == 0:
		return -2
	case !ends:
		return -1
	}
	return int(at.Sub(s.now()).Milliseconds())
}

func (s *modelRedis) expireKey(key, n string, unit time.Duration) any {
	if s.data.count(key) == 0 {
		return 0
	}
	d, _ := strconv.ParseInt(n, 10, 64)
	s.data.expires[key] = s.now().Add(time.Duration(d) * unit)
	return 1
}

// stringCommand is GET, MGET, and SET key value PX ms.
func (s *modelRedis) stringCommand(name string, args []string) any {
	switch name {
	case "SET":
		s.data.drop(args[0])
		s.data.strings[args[0]] = args[1]
		s.expireKey(args[0], args[3], time.Millisecond)
		return status("OK")
	case "GET":
		return field(s.data.strings, args[0])
	}
	var all []any
	for _, key := range args {
		all = append(all, field(s.data.strings, key))
	}
	return all
}

func (s *modelRedis) hashCommand(name string, args []string) any {
	h := s.data.hashes[args[0]]
	switch name {
	case "HGETALL":
		all := []any{}
		for _, f := range slices.Sorted(maps.Keys(h)) {
			all = append(all, f, h[f])
		}
		return all
	case "HGET":
		return field(h, args[1])
	case "HMGET":
		var some []any
		for _, f := range args[1:] {
			some = append(some, field(h, f))
		}
		return some
	case "HDEL":
		return s.deleteFields(args[0], args[1:])
	case "HSET":
		return s.setFields(args[0], args[1:])
	}
	return failure("ERR unknown command '" + name + "'")
}

func field(h map[string]string, f string) any {
	if v, ok := h[f]; ok {
		return v
	}
	return nil
}

func (s *modelRedis) setFields(key string, pairs []string) int {
	if s.data.hashes[key] == nil {
		s.data.hashes[key] = map[string]string{}
	}
	before := len(s.data.hashes[key])
	for i := 0; i+1 < len(pairs); i += 2 {
		s.data.hashes[key][pairs[i]] = pairs[i+1]
	}
	return len(s.data.hashes[key]) - before
}

func (s *modelRedis) deleteFields(key string, fields []string) (n int) {
	h := s.data.hashes[key]
	for _, f := range fields {
		if _, ok := h[f]; ok {
			delete(h, f)
			n++
		}
	}
	if h != nil && len(h) == 0 {
		s.data.drop(key)
	}
	return n
}

func (s *modelRedis) streamCommand(name string, args []string) any {
	switch name {
	case "XADD":
		return s.add(args)
	case "XTRIM": // key MAXLEN n
		keep, _ := strconv.Atoi(args[len(args)-1])
		return s.trim(s.data.streams[args[0]], keep)
	case "XDEL":
		return s.remove(s.data.streams[args[0]], positionOf(args[1]))
	case "XLEN":
		if l := s.data.streams[args[0]]; l != nil {
			return len(l.entries)
		}
		return 0
	case "XRANGE":
		entries := []any{}
		for _, e := range after(s.data.streams[args[0]], position{}) {
			entries = append(entries, e.reply())
		}
		return entries
	case "XINFO": // STREAM key
		return s.info(s.data.streams[args[1]])
	}
	return failure("ERR unknown command '" + name + "'")
}

// add is XADD key [MAXLEN ~ n] id field value …; nothing is trimmed as long as the list is shorter
// than a node of Redis's.
func (s *modelRedis) add(args []string) any {
	key, rest := args[0], args[1:]
	if rest[0] == "maxlen" || rest[0] == "MAXLEN" {
		rest = rest[3:]
	}
	l := s.data.streams[key]
	if l == nil {
		s.born++
		l = &log{born: s.born}
		s.data.streams[key] = l
	}
	id := position{ms: uint64(s.now().UnixMilli())}
	if rest[0] != "*" {
		id = positionOf(rest[0])
		if id.compare(l.last) <= 0 {
			return failure("ERR The ID specified in XADD is equal or smaller than the target stream top item")
		}
	} else if id.compare(l.last) <= 0 {
		id = l.last.next()
	}
	s.serial++
	l.entries = append(l.entries, streamEntry{id, s.serial, slices.Clone(rest[1:])})
	l.last = id
	l.added++
	close(s.changed)
	s.changed = make(chan struct{})
	return id.String()
}

func (s *modelRedis) trim(l *log, keep int) int {
	if l == nil || len(l.entries) <= keep {
		return 0
	}
	n := len(l.entries) - keep
	l.entries = slices.Clone(l.entries[n:])
	return n
}

func (s *modelRedis) remove(l *log, id position) int {
	if l == nil {
		return 0
	}
	i := slices.IndexFunc(l.entries, func(e streamEntry) bool { return e.position == id })
	if i < 0 {
		return 0
	}
	l.entries = slices.Delete(slices.Clone(l.entries), i, i+1)
	if l.deleted.compare(id) < 0 {
		l.deleted = id
	}
	return 1
}

// info is XINFO STREAM, without what edgecache does not look at.
func (s *modelRedis) info(l *log) any {
	if l == nil {
		return failure("ERR no such key")
	}
	var first position
	if len(l.entries) > 0 {
		first = l.entries[0].position
	}
	return []any{
		"length", len(l.entries), "last-generated-id", l.last.String(), "max-deleted-entry-id", l.deleted.String(),
		"entries-added", l.added, "recorded-first-entry-id", first.String(),
	}
}

// after returns the entries of l that follow id.
func after(l *log, id position) []streamEntry {
	if l == nil {
		return nil
	}
	i := len(l.entries)
	for i > 0 && id.compare(l.entries[i-1].position) < 0 {
		i--
	}
	return slices.Clone(l.entries[i:])
}

func (e streamEntry) reply() any { return []any{e.position.String(), strs(e.fields)} }

func strs(list []string) []any {
	all := []any{}
	for _, s := range list {
		all = append(all, s)
	}
	return all
}
