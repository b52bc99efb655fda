package web

import "testing"

func TestNoneMatch(t *testing.T) {
	for header, want := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `"b", "a"`: true, `"b","a"`: true, ` "b" ,	W/"a"`: true, "*": true, " * ": true,
		`"b" "a"`: true, `"x, a", "a"`: true, "": false, `"b"`: false, `"A"`: false, "a": false, `"a`: false,
		`b, "a"`: false, `"b, "a"`: false, `"", "b"`: false, ",": false,
	} {
		if got := NoneMatch(header, `"a"`); got != want {
			t.Errorf("%q names a: %v", header, got)
		}
	}
}

func TestNextTag(t *testing.T) {
	for list, want := range map[string]struct {
		tag  Tag
		rest string
		ok   bool
	}{
		`"1"`:         {Tag{"1", false}, "", true},
		`W/"1" , "2"`: {Tag{"1", true}, `"2"`, true},
		` ,, "",x`:    {Tag{"", false}, "x", true},
		``:            {Tag{}, "", false},
		` , `:         {Tag{}, "", false},
		`1, "2"`:      {Tag{}, `1, "2"`, false},
		`w/"1"`:       {Tag{}, `w/"1"`, false},
		`"1`:          {Tag{}, `"1`, false},
		`"a,b", "c"`:  {Tag{"a,b", false}, `"c"`, true},
	} {
		if tag, rest, ok := NextTag(list); tag != want.tag || rest != want.rest || ok != want.ok {
			t.Errorf("%q: %+v, rest %q, %v", list, tag, rest, ok)
		}
	}
}
