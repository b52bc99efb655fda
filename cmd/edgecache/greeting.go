package main

import (
	"fmt"
	"strings"
)

// greeting says what runs where, and what to do with it.
func (s serveSettings) greeting() string {
	var b strings.Builder
	url := s.access.scheme() + s.listen
	fmt.Fprintf(&b, "edgecache: ready on %s\n\n", url)
	fmt.Fprintf(&b, "  Redis   %s\n  Origin  %s\n", s.redisPlace(), s.originPlace())
	b.WriteString(s.warning())
	token := s.token("read")
	fmt.Fprintf(&b, "\nTry:\n  curl -i%s %s/v1/users/123\n", token, url)
	if s.origin == "" {
		fmt.Fprintf(&b, "  curl"+s.token("write")+" -X PUT http://%s/123 -H 'Content-Type: application/json' -d '{\"ministere\":\"MINSANTE\"}'\n", s.originListen)
	} else {
		fmt.Fprintf(&b, "  curl%s %s/health\n", token, url)
	}
	fmt.Fprintf(&b, "  open %s/ui in a browser%s\n", url, map[bool]string{true: ", and break things"}[s.demo])
	if s.redis == "" {
		fmt.Fprintf(&b, "  edgecache events tail --redis %s\n", s.redisURL)
	}
	return b.String()
}

// token is what a command line adds to a request that needs a role.
func (s serveSettings) token(role string) string {
	if !s.access.tokens.Enabled() {
		return ""
	}
	return ` -H "Authorization: Bearer $(edgecache token --role ` + role + `)"`
}

func (s serveSettings) redisPlace() string {
	if s.redis == "" {
		return fmt.Sprintf("embedded, %s, in memory: empty again after a restart", s.redisURL)
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
