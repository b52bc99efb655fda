package style

import (
	"bytes"
	"go/ast"
	"go/format"
	"regexp"
	"strings"
	"unicode/utf8"
)

// columns is how wide a line is.
func columns(line string) int {
	return utf8.RuneCountInString(line) + 3*strings.Count(line, "\t")
}

// wide returns the numbers of the lines that are too wide and end in a comment, or are one. What no
// blank could break, such as an address, may be wider, and so may what tools read, and lines that
// are set as a table or as code.
func (s *source) wide() (numbers []int) {
	lines := strings.Split(string(s.text), "\n")
	for _, group := range s.file.Comments {
		if strings.HasPrefix(group.Text(), "Output:") {
			continue // it is compared
		}
		for _, c := range group.List {
			at := s.set.Position(c.Pos()).Line
			for i := range strings.Split(c.Text, "\n") {
				if line := lines[at+i-1]; columns(line) > widest && breakable(line, c) {
					numbers = append(numbers, at+i)
				}
			}
		}
	}
	return numbers
}

func breakable(line string, c *ast.Comment) bool {
	if strings.HasPrefix(c.Text, "//go:") {
		return false
	}
	if body, alone := strings.CutPrefix(strings.TrimSpace(line), "//"); alone {
		return (prose(body) || item.MatchString(body)) && strings.Contains(body[1:], " ")
	}
	return true
}

// wrapped returns the text with every comment that is too wide broken at blanks. A comment at the
// end of a line goes above it.
func (s *source) wrapped() ([]byte, error) {
	lines := strings.Split(string(s.text), "\n")
	var out []string
	for i := 0; i < len(lines); {
		n := commentEnd(lines, i)
		switch {
		case n > i:
			out = append(out, wrapBlock(lines[i:n])...)
			i = n
			continue
		case s.trails(i+1) && columns(lines[i]) > widest:
			out = append(out, s.raise(lines[i], i+1)...)
		default:
			out = append(out, lines[i])
		}
		i++
	}
	return format.Source([]byte(strings.Join(out, "\n")))
}

// commentEnd returns the end of the lines from i on that are nothing but comments, all as far in.
func commentEnd(lines []string, i int) int {
	in := indent(lines[i])
	for i < len(lines) && strings.HasPrefix(lines[i], in+"//") {
		i++
	}
	return i
}

func indent(line string) string { return line[:len(line)-len(strings.TrimLeft(line, "\t"))] }

// at returns the comment that begins behind code in a line, nil for none.
func (s *source) at(line int) *ast.Comment {
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			p := s.set.Position(c.Pos())
			if p.Line == line && strings.HasPrefix(c.Text, "// ") {
				return c
			}
		}
	}
	return nil
}

// trails reports whether a comment can be taken from the end of a line and put above it.
func (s *source) trails(line int) bool {
	c := s.at(line)
	if c == nil {
		return false
	}
	code := bytes.TrimSpace(s.text[s.lineStart(line):s.offset(c)])
	return len(code) > 0 && code[0] != '}'
}

func (s *source) offset(n ast.Node) int { return s.set.Position(n.Pos()).Offset }

func (s *source) lineStart(line int) int {
	return s.set.Position(s.set.File(s.file.Pos()).LineStart(line)).Offset
}

func (s *source) raise(line string, number int) []string {
	c := s.at(number)
	code := strings.TrimRight(line[:s.offset(c)-s.lineStart(number)], " \t")
	return append(wrapBlock([]string{indent(line) + c.Text}), code)
}

// item begins an item of a list in a comment.
var item = regexp.MustCompile(`^ +(-|\d+\.) `)

// wrapBlock breaks what is too wide of a comment: whole paragraphs, and items of lists.
func wrapBlock(lines []string) (out []string) {
	in := indent(lines[0])
	for _, l := range lines {
		if strings.TrimSpace(l) == "// Output:" {
			return lines
		}
	}
	for len(lines) > 0 {
		n := paragraph(in, lines)
		first := strings.TrimPrefix(lines[0], in+"//")
		if isWide(lines[:n]) && (prose(first) || item.MatchString(first)) {
			out = append(out, fill(in, lines[:n])...)
		} else {
			out = append(out, lines[:n]...)
		}
		lines = lines[n:]
	}
	return out
}

func isWide(lines []string) bool {
	for _, l := range lines {
		if columns(l) > widest {
			return true
		}
	}
	return false
}

// paragraph returns how many of the lines belong together, at least one.
func paragraph(in string, lines []string) int {
	body := func(i int) string { return strings.TrimPrefix(lines[i], in+"//") }
	if !prose(body(0)) && !item.MatchString(body(0)) {
		return 1
	}
	goesOn := prose
	if item.MatchString(body(0)) {
		goesOn = func(body string) bool { return strings.HasPrefix(body, "    ") }
	}
	n := 1
	for n < len(lines) && goesOn(body(n)) && !item.MatchString(body(n)) {
		n++
	}
	return n
}

// prose reports whether a line of a comment may be joined with others.
func prose(body string) bool {
	return len(body) > 1 && body[0] == ' ' && body[1] != ' ' && body[1] != '\t' && body[1] != '#'
}

// fill sets the words of a paragraph anew.
func fill(in string, lines []string) (out []string) {
	first := strings.TrimPrefix(lines[0], in+"//")
	lead, rest, most := " ", " ", widest
	if m := item.FindString(first); m != "" {
		// gofmt may move lists further in
		lead, rest, most = m, strings.Repeat(" ", len(m)), widest-2
		first = first[len(m):]
	}
	words := strings.Fields(first)
	for _, l := range lines[1:] {
		words = append(words, strings.Fields(strings.TrimPrefix(l, in+"//"))...)
	}
	line := in + "//" + lead[:len(lead)-1]
	empty := true
	for _, w := range words {
		if !empty && columns(line+" "+w) > most {
			out = append(out, line)
			line = in + "//" + rest[:len(rest)-1]
		}
		line += " " + w
		empty = false
	}
	return append(out, line)
}
