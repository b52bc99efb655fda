package prewarm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/chatapp-ngomna/edgecache/prewarm/internal/refused"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// maxLine is the longest line of a JSONL source, in bytes.
	maxLine = 64 << 10
	// defaultFaults is how many bad lines are passed over.
	defaultFaults = 1000
)

// JSONLConfig configures a JSONL source. One of Path and Reader is required.
type JSONLConfig struct {
	// Path is a file; "-" is standard input.
	Path string
	// Reader is read in the place of a file, once. The caller closes it.
	Reader io.Reader
	// MaxFaults is how many bad lines are passed over before the source ends with an error. Default
	// 1,000; below 0: none.
	MaxFaults int
}

// JSONL reads active users from lines of JSON: {"id":"123","lastActive":1700000000000}, where id
// may be a number and may be called userId, and lastActive is in milliseconds since 1970 or ISO
// 8601. Other members are ignored, empty lines too. Input that waits for more keeps the run
// planning, and Runner.Close waiting.
type JSONL struct {
	conf    JSONLConfig
	refused refused.List
}

// NewJSONL checks conf. Nothing is opened yet.
//
// Errors wrap ErrConfig.
func NewJSONL(conf JSONLConfig) (*JSONL, error) {
	if (conf.Path == "") == (conf.Reader == nil) {
		return nil, fmt.Errorf("%w: JSONLConfig.Path is %q and Reader is %T; want one of the two", ErrConfig, conf.Path, conf.Reader)
	}
	conf.MaxFaults = cmp.Or(conf.MaxFaults, defaultFaults)
	return &JSONL{conf: conf}, nil
}

// Name returns "jsonl".
func (j *JSONL) Name() string { return "jsonl" }

// Active implements Source. It yields an error that wraps ErrMalformed after too many bad lines.
func (j *JSONL) Active(ctx context.Context, since time.Time) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		in, closeIn, err := j.open()
		if err != nil {
			yield(User{}, err)
			return
		}
		defer closeIn()
		j.refused.Reset()
		if err := j.read(ctx, in, since, yield); err != nil {
			yield(User{}, err)
		}
	}
}

func (j *JSONL) open() (io.Reader, func(), error) {
	switch {
	case j.conf.Reader != nil:
		return j.conf.Reader, func() {}, nil
	case j.conf.Path == "-":
		return os.Stdin, func() {}, nil
	}
	f, err := os.Open(j.conf.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("prewarm: jsonl: %w", err)
	}
	return f, func() { _ = f.Close() }, nil
}

// read yields what is active and returns why the reading ended early; nil as well when the caller
// wants no more.
func (j *JSONL) read(ctx context.Context, in io.Reader, since time.Time, yield func(User, error) bool) error {
	lines := bufio.NewReaderSize(in, maxLine)
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return fmt.Errorf("prewarm: jsonl: line %d: %w", n, context.Cause(ctx))
		}
		text, err := nextLine(lines)
		if err == io.EOF {
			return nil
		}
		var u User
		if err == nil {
			if text = bytes.TrimSpace(text); len(text) == 0 {
				continue
			}
			u, err = decodeLine(text)
		}
		switch {
		case err == nil && u.LastActive.Before(since):
		case err == nil:
			if !yield(u, nil) {
				return nil
			}
		case !errors.Is(err, ErrMalformed):
			return fmt.Errorf("prewarm: jsonl: line %d: %w", n, err)
		case j.refused.Add(fmt.Errorf("line %d: %w", n, err)) > int64(max(0, j.conf.MaxFaults)):
			return fmt.Errorf("prewarm: jsonl: line %d: %w; more than %d bad lines", n, err, max(0, j.conf.MaxFaults))
		}
	}
}

// nextLine returns the next line, the last without its end too. One that is longer than maxLine is
// read to its end and reported as ErrMalformed.
func nextLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case err == nil, err == io.EOF && len(line) > 0:
		return line, nil
	case !errors.Is(err, bufio.ErrBufferFull):
		return nil, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = in.ReadSlice('\n')
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, maxLine)
}

func decodeLine(text []byte) (User, error) {
	var line struct {
		ID         profile.Loose `json:"id"`
		UserID     profile.Loose `json:"userId"`
		LastActive profile.Loose `json:"lastActive"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return User{}, fmt.Errorf("%w: %.60q: %w", ErrMalformed, text, err)
	}
	if line.ID.Absent() {
		line.ID = line.UserID
	}
	ms, err := line.LastActive.Millis()
	if none, ok := line.LastActive.Text(); err != nil || ok && none == "" {
		return User{}, fmt.Errorf("%w: lastActive %.40q; want milliseconds since 1970, or ISO 8601",
			ErrMalformed, line.LastActive)
	}
	id, err := line.ID.ID()
	if err != nil {
		return User{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return User{ID: id, LastActive: time.UnixMilli(ms)}, nil
}

// Skipped returns how many bad lines the last reading has passed over, and the first ten of them
// with their numbers.
func (j *JSONL) Skipped() (int64, []error) { return j.refused.Report() }
