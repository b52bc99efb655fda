package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin/sample"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// maxTraceLine is the longest line of a trace, in bytes.
const maxTraceLine = 64 << 10

// errTrace reports a trace that is none.
var errTrace = errors.New("bad trace")

// message is one line of a trace.
type message struct {
	room, user string
	// shown are the users to look up: the sender and everyone mentioned, each once.
	shown []string
}

// trace reads messages until next returns false; err then says why, nil at the end.
type trace struct {
	file    *os.File
	lines   *bufio.Scanner
	line    int
	message message
	err     error
}

func openTrace(path string) (*trace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	var in io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(file); err != nil {
			return nil, errors.Join(fmt.Errorf("--trace %s: %w", path, err), file.Close())
		}
	}
	t := &trace{file: file, lines: bufio.NewScanner(in)}
	t.lines.Buffer(nil, maxTraceLine)
	if !t.scan() || !strings.HasPrefix(t.lines.Text(), "ts_ms\troom\tuser") {
		return nil, errors.Join(fmt.Errorf("--trace %s: %w: the first line is not the heading ts_ms room user mentions, with tabs", path, errTrace), file.Close())
	}
	return t, nil
}

func (t *trace) close() { _ = t.file.Close() }

func (t *trace) scan() bool {
	t.line++
	if t.lines.Scan() {
		return true
	}
	if err := t.lines.Err(); err != nil {
		t.err = fmt.Errorf("--trace: line %d: %w", t.line, err)
	}
	return false
}

func (t *trace) next() bool {
	if !t.scan() {
		return false
	}
	fields := strings.Split(t.lines.Text(), "\t")
	if len(fields) < 3 {
		t.err = fmt.Errorf("--trace: line %d: %w: %d fields; want ts_ms, room, user and mentions", t.line, errTrace, len(fields))
		return false
	}
	t.message = message{room: fields[1], user: fields[2], shown: []string{fields[2]}}
	if len(fields) > 3 && fields[3] != "" {
		for id := range strings.SplitSeq(fields[3], ",") {
			if !slices.Contains(t.message.shown, id) {
				t.message.shown = append(t.message.shown, id)
			}
		}
	}
	return true
}

// madeUp is a source of truth that makes up whoever is asked for, and counts.
type madeUp struct {
	lag   time.Duration // of each call
	calls atomic.Int64
	mu    sync.Mutex
	asked map[string]bool
}

func newMadeUp() *madeUp { return &madeUp{asked: map[string]bool{}} }

func (m *madeUp) users() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked)
}

func (m *madeUp) user(id string) (*profile.Profile, error) {
	n, err := strconv.Atoi(id)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("made-up user %q: %w", id, profile.ErrNotFound)
	}
	m.mu.Lock()
	m.asked[id] = true
	m.mu.Unlock()
	p := sample.User(1, n+1)
	p.ID = id
	return p, nil
}

// call counts a call and takes its time.
func (m *madeUp) call(ctx context.Context) error {
	m.calls.Add(1)
	if m.lag == 0 {
		return nil
	}
	select {
	case <-time.After(m.lag):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Load implements tier.Loader.
func (m *madeUp) Load(ctx context.Context, id string) (*profile.Profile, error) {
	if err := m.call(ctx); err != nil {
		return nil, err
	}
	return m.user(id)
}

// LoadBatch implements tier.Loader.
func (m *madeUp) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	if err := m.call(ctx); err != nil {
		return profile.Batch{}, err
	}
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if p, err := m.user(id); err == nil {
			b.Found[id] = p
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// quantile returns the q-th quantile of d, rounded to three digits; 0 for none. It sorts d.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	v := d[int(q*float64(len(d)-1))]
	step := time.Duration(1)
	for v/step >= 1000 {
		step *= 10
	}
	return v.Round(step)
}
