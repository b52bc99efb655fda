package main

import (
	"fmt"
	"strings"
)

// greeting says what runs where, and what to do with it.
func (s serveSettings) greeting() string {
	var b strings.Builder
	fmt.Fprintf(&b, "edgecache: ready on http://%s\n\n", s.listen)
	fmt.Fprintf(&b, "  Redis   %s\n  Origin  %s\n", s.redisPlace(), s.originPlace())
	b.WriteString(s.warning())
	fmt.Fprintf(&b, "\nTry:\n  curl -i http://%s/v1/users/123\n", s.listen)
	if s.origin == "" {
		fmt.Fprintf(&b, "  curl -X PUT http://%s/123 -H 'Content-Type: application/json' -d '{\"ministere\":\"MINSANTE\"}'\n", s.originListen)
	} else {
		fmt.Fprintf(&b, "  curl http://%s/health\n", s.listen)
	}
	return b.String()
}

func (s serveSettings) redisPlace() string {
	if s.redis == "" {
		return "embedded, in memory: empty again after a restart"
	}
	return redactURL(s.redis)
}

func (s serveSettings) originPlace() string {
	if s.origin != "" {
		return redactURL(s.origin)
	}
	kept := "gone after a restart"
	if s.dataDir != "" {
		kept = "kept in " + s.dataDir
	}
	return fmt.Sprintf("embedded, http://%s, %d made-up users, %s", s.originListen, s.sampleUsers, kept)
}

func (s serveSettings) warning() string {
	switch {
	case s.redis == "" && s.origin == "":
		return "\nWhat is embedded is for trying edgecache out, not for production.\n"
	case s.redis == "":
		return "\nThe embedded Redis is not for production: changes at the origin do not reach it, so profiles may be\nas old as the node keeps them.\n"
	case s.origin == "":
		return "\nThe embedded origin is not for production: it fills that Redis with made-up users.\n"
	}
	return ""
}
