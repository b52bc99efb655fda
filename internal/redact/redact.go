// Package redact hides the passwords of addresses that are shown.
package redact

import (
	"net/url"
	"regexp"
	"strings"
)

// secrets are the parameters that hold a secret, in a query or among libpq's keywords; their values
// may be quoted and may escape a character by a backslash.
var secrets = regexp.MustCompile(`(?i)\b([a-z_]*(?:password|passwd|pwd|secret|token)|pass)(\s*=\s*)('(?:\\.|[^'\\])*'?|(?:\\.|[^\s&'\\])+)`)

// Address returns the address of a service or a database, with "xxxxx" for its passwords. It takes
// URLs, libpq's keywords and values, and what is neither. Without a scheme, nobody can tell a name
// before the @ from a password.
func Address(text string) string {
	text = secrets.ReplaceAllString(text, "${1}${2}xxxxx")
	scheme, rest, whole := "", text, false
	if i := strings.Index(text, "://"); i >= 0 {
		scheme, rest, whole = text[:i+3], text[i+3:], true
	} else if strings.ContainsAny(text, " =") {
		return text
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return text
	}
	user, _, has := strings.Cut(rest[:at], ":")
	if !has && whole {
		return text
	}
	if u, err := url.QueryUnescape(user); err != nil || strings.ContainsAny(u, "/?#") || !has {
		user = "xxxxx"
	}
	if has {
		user += ":xxxxx"
	}
	return scheme + user + rest[at:]
}
