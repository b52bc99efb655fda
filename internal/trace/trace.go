// Package trace reads recorded chats: who wrote, in which room, and who is mentioned.
package trace

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxLine is the longest line of a trace, in bytes.
const maxLine = 64 << 10

// ErrMalformed reports a trace that is none.
var ErrMalformed = errors.New("bad trace")

// Message is one line of a trace.
type Message struct {
	At         time.Time
	Room, User string
	// Shown are the users that a node looks up to show it: the sender and everyone mentioned, each
	// once.
	Shown []string
}

// Reader reads messages until Next returns false; Err then says why, nil at the end. It is for one
// goroutine.
type Reader struct {
	Message Message
	Err     error

	file  *os.File
	lines *bufio.Scanner
	line  int
}

// Open opens a trace: after one line of heading, lines of "ts_ms room user mentions", separated by
// tabs, mentions by commas. A file that ends in .gz is gzipped. Errors name the file; what is no
// trace is ErrMalformed.
func Open(path string) (*Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var in io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(file); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
		}
	}
	r := &Reader{file: file, lines: bufio.NewScanner(in)}
	r.lines.Buffer(nil, maxLine)
	if !r.scan() || !strings.HasPrefix(r.lines.Text(), "ts_ms\troom\tuser") {
		return nil, errors.Join(fmt.Errorf("%s: %w: the first line is not the heading ts_ms room user mentions, with tabs", path, ErrMalformed), file.Close())
	}
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

func (r *Reader) scan() bool {
	r.line++
	if r.lines.Scan() {
		return true
	}
	if err := r.lines.Err(); err != nil {
		r.Err = fmt.Errorf("line %d: %w", r.line, err)
	}
	return false
}

// Next reads the next message into Message.
func (r *Reader) Next() bool {
	if !r.scan() {
		return false
	}
	fields := strings.Split(r.lines.Text(), "\t")
	if len(fields) < 3 {
		r.Err = fmt.Errorf("line %d: %w: %d fields; want ts_ms, room, user and mentions", r.line, ErrMalformed, len(fields))
		return false
	}
	ms, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		r.Err = fmt.Errorf("line %d: %w: ts_ms is %.40q; want milliseconds since 1970", r.line, ErrMalformed, fields[0])
		return false
	}
	r.Message = Message{At: time.UnixMilli(ms), Room: fields[1], User: fields[2], Shown: []string{fields[2]}}
	if len(fields) > 3 && fields[3] != "" {
		for id := range strings.SplitSeq(fields[3], ",") {
			if !slices.Contains(r.Message.Shown, id) {
				r.Message.Shown = append(r.Message.Shown, id)
			}
		}
	}
	return true
}
