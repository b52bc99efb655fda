package web

import "strings"

// Tag is an entity tag of a header (RFC 9110, 8.8.3): its text without quotes, and whether it is
// weak.
type Tag struct {
	Text string
	Weak bool
}

// NextTag takes the first tag from the list of an If-Match or If-None-Match header, and returns
// what follows it. ok is false at the end, where rest is empty, and for what is no tag.
func NextTag(list string) (tag Tag, rest string, ok bool) {
	list = strings.TrimLeft(list, " \t,")
	text, weak := strings.CutPrefix(list, "W/")
	if text, ok = strings.CutPrefix(text, `"`); !ok {
		return Tag{}, list, false
	}
	if tag.Text, rest, ok = strings.Cut(text, `"`); !ok {
		return Tag{}, list, false
	}
	tag.Weak = weak
	return tag, strings.TrimLeft(rest, " \t,"), true
}

// NoneMatch reports whether an If-None-Match header names a tag, which is given in quotes: weak or
// strong, or as "*". What is no tag ends the list.
func NoneMatch(header, tag string) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	wanted, _, ok := NextTag(tag)
	for named := (Tag{}); ok; {
		if named, header, ok = NextTag(header); ok && named.Text == wanted.Text {
			return true
		}
	}
	return false
}
