package stream

import (
	"strconv"

	"github.com/redis/go-redis/v9"
)

// state is what XINFO STREAM says of the stream at one moment.
type state struct {
	exists  bool
	length  int64
	first   entryID // of the first entry; zero when there is none
	last    entryID // the highest id ever given, which no trimming lowers
	deleted entryID // the highest id that XDEL removed; trimming does not move it
	// entries ever added, trimmed ones included; -1 when the server does not count them (before
	// 7.0)
	added int64
}

// parseState reads the reply of XINFO STREAM, a map in RESP3 and a flat list in RESP2. Fields that
// it does not know are ignored: every release of Redis adds some.
func parseState(reply any) state {
	s := state{exists: true, added: -1}
	switch r := reply.(type) {
	case map[any]any:
		for k, v := range r {
			s.set(text(k), v)
		}
	case []any:
		for i := 0; i+1 < len(r); i += 2 {
			s.set(text(r[i]), r[i+1])
		}
	}
	if s.length == 0 {
		s.first = entryID{}
	}
	return s
}

func (s *state) set(name string, v any) {
	switch name {
	case "length":
		s.length = integer(v, 0)
	case "entries-added":
		s.added = integer(v, -1)
	case "last-generated-id":
		s.last, _ = parseEntryID(text(v))
	case "max-deleted-entry-id":
		s.deleted, _ = parseEntryID(text(v))
	case "recorded-first-entry-id":
		s.first, _ = parseEntryID(text(v))
	}
}

func integer(v any, otherwise int64) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	return otherwise
}

// setFirst takes the first entry from XRANGE, for servers whose XINFO does not name it.
func (s *state) setFirst(head []redis.XMessage) {
	s.first = entryID{}
	if len(head) > 0 {
		s.first, _ = parseEntryID(head[0].ID)
	}
}
