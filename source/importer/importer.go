// Package importer reads files of users into a store, in chunks that memory does not notice, and
// names the lines that cannot be taken.
package importer

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chatapp-ngomna/edgecache/internal/plain"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Format is how a file of users is written.
type Format string

const (
	// CSV is comma-separated values (RFC 4180; semicolons and tabs are recognized). The first line
	// names the columns: id, and any of nom, prenom, fullName, avatar, matricule, ministere, sexe,
	// updatedAt, attrs (a JSON object) and attrs.NAME for one attribute.
	CSV Format = "csv"
	// JSONL is one profile in JSON a line, as GET /all writes them with Accept:
	// application/x-ndjson.
	JSONL Format = "jsonl"
)

// FormatOf tells the format of a file by its name; ok is false when the name says nothing.
func FormatOf(file string) (f Format, ok bool) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".csv", ".tsv":
		return CSV, true
	case ".jsonl", ".ndjson":
		return JSONL, true
	}
	return "", false
}

const (
	// importChunk is the number of lines that share a transaction.
	importChunk = 20_000
	// importChunkBytes bounds the lines of a transaction in bytes, and by that the memory that an
	// import needs.
	importChunkBytes = 8 << 20
	// maxImportLine is the longest line, or CSV record of several lines, in bytes: a profile of
	// profile.MaxSize with escapes.
	maxImportLine = 512 << 10
)

// BulkLoader is the part of a Store that an import needs.
type BulkLoader interface {
	BulkLoad(ctx context.Context, users iter.Seq[*profile.Profile]) (int64, error)
}

// Config says what to import and what is told of it.
type Config struct {
	// Format is how the file is written. Required.
	Format Format
	// Progress, if not nil, is called after each transaction.
	Progress func(Stats)
	// Failed, if not nil, is called for each line that was left out, in their order within a
	// transaction.
	Failed func(LineError)
}

// Stats counts what an import did.
type Stats struct {
	// Bytes is how much of the file was read.
	Bytes int64 `json:"bytes"`
	// Users is the number of users read, those that failed included.
	Users int64 `json:"users"`
	// Added is the number of those who were not there before.
	Added int64 `json:"added"`
	// Failed is the number of those who were left out because their line is broken or the store
	// refuses them.
	Failed int64 `json:"failed"`
}

// Existed is the number of users who were there already, in the store or earlier in the file, and
// stay as they are.
func (s Stats) Existed() int64 { return s.Users - s.Added - s.Failed }

// LineError is a line that was left out.
type LineError struct {
	// Line is its number from 1, of a record of several lines the first.
	Line int64
	// Err is what is wrong with it.
	Err error
}

// Error has the number and the fault.
func (e LineError) Error() string {
	return fmt.Sprintf("line %d: %s", e.Line, plain.Text(e.Err))
}

// Unwrap returns Err.
func (e LineError) Unwrap() error { return e.Err }

// Run adds the users of a file to a store, which announces them, some thousand in a transaction.
// Lines that cannot be taken are left out, told to Failed and counted; they are no error of the
// import. One that ended early may be repeated: users who exist stay as they are. Errors wrap
// profile.ErrMalformed for a file that is none of the format, else they are those of the store, of
// the reader, or of ctx; what was counted until then is in the store.
func Run(ctx context.Context, to BulkLoader, r io.Reader, cfg Config) (Stats, error) {
	im := &importer{to: to, cfg: cfg, input: &countingReader{r: r}}
	lines, err := im.open()
	if err != nil {
		return Stats{Bytes: im.input.n}, fmt.Errorf("importer: %w", err)
	}
	im.lines = readAhead(lines, im.input)
	defer im.lines.close()
	for !im.ended {
		if err := im.chunk(ctx); err != nil {
			return im.stats, fmt.Errorf("importer: %w", err)
		}
	}
	return im.stats, nil
}

// lineReader gives the users of a file. Its error is io.EOF at the end, a LineError for a line that
// is left out, and any other when reading cannot go on.
type lineReader interface {
	read() (p *profile.Profile, line int64, size int, err error)
}

// importer is the state of one import.
type importer struct {
	to    BulkLoader
	cfg   Config
	input *countingReader
	lines *ahead
	stats Stats
	ended bool

	// Of the chunk in progress.
	held   []importedUser
	failed []LineError
	read   int64 // lines with a user, or what should be one
	bytes  int
	broken error // why reading cannot go on
}

type importedUser struct {
	p    *profile.Profile
	line int64
}

func (im *importer) open() (lineReader, error) {
	in := bufio.NewReaderSize(im.input, 64<<10)
	switch im.cfg.Format {
	case CSV:
		return newCSVLines(in)
	case JSONL:
		return &profileLines{in: in}, nil
	}
	return nil, fmt.Errorf("%w: format %q; want csv or jsonl", profile.ErrMalformed, im.cfg.Format)
}

// chunk loads the next lines while it reads them. When the store refuses them for one of them, it
// finds out which.
func (im *importer) chunk(ctx context.Context) error {
	im.held, im.failed, im.read, im.bytes = im.held[:0], im.failed[:0], 0, 0
	n, err := im.to.BulkLoad(ctx, im.users())
	im.stats.Added += n
	if refusesUser(err) {
		err = im.isolate(ctx, im.held, err)
	}
	if err != nil {
		return err
	}
	im.stats.Bytes = im.lines.offset
	im.stats.Users += im.read
	im.stats.Failed += int64(len(im.failed))
	im.report()
	return im.broken
}

func (im *importer) report() {
	slices.SortFunc(im.failed, func(a, b LineError) int { return cmp.Compare(a.Line, b.Line) })
	if im.cfg.Failed != nil {
		for _, f := range im.failed {
			im.cfg.Failed(f)
		}
	}
	if im.cfg.Progress != nil {
		im.cfg.Progress(im.stats)
	}
}

// users reads the lines of one chunk and keeps what it gives.
func (im *importer) users() iter.Seq[*profile.Profile] {
	return func(yield func(*profile.Profile) bool) {
		for im.read < importChunk && im.bytes < importChunkBytes {
			p, ok := im.next()
			if !ok || p != nil && !yield(p) {
				return
			}
		}
	}
}

// next takes one line. p is nil for one that is left out, ok is false when there is no other.
func (im *importer) next() (p *profile.Profile, ok bool) {
	l := im.lines.read()
	var fault LineError
	switch {
	case l.err == nil:
		im.held = append(im.held, importedUser{l.p, l.line})
	case errors.As(l.err, &fault):
		im.failed, l.p = append(im.failed, fault), nil
	default:
		im.ended = true
		if l.err != io.EOF {
			im.broken = l.err
		}
		return nil, false
	}
	im.read++
	im.bytes += l.size
	return l.p, true
}

func isLineError(err error) bool {
	_, ok := errors.AsType[LineError](err)
	return ok
}

// checkImported says what is wrong with a user in one line: both checks look at the id.
func checkImported(p *profile.Profile) error {
	if err := origin.CheckNewID(p.ID); err != nil {
		return err
	}
	return record.Check(p)
}

func asLineError(line int64, err error) error {
	if err == nil {
		return nil
	}
	return LineError{Line: line, Err: err}
}

// refusesUser reports whether a store says that a user cannot be stored, rather than that it cannot
// store.
func refusesUser(err error) bool {
	for _, refusal := range []error{profile.ErrMalformed, profile.ErrInvalidID, profile.ErrTooLarge, origin.ErrExists} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// isolate loads users some of which the store refuses, because of cause, by halves.
func (im *importer) isolate(ctx context.Context, users []importedUser, cause error) error {
	if len(users) < 2 {
		for _, u := range users {
			im.failed = append(im.failed, LineError{Line: u.line, Err: cause})
		}
		return nil
	}
	half := len(users) / 2
	for _, part := range [][]importedUser{users[:half], users[half:]} {
		n, err := im.to.BulkLoad(ctx, profilesOf(part))
		im.stats.Added += n
		if refusesUser(err) {
			err = im.isolate(ctx, part, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func profilesOf(users []importedUser) iter.Seq[*profile.Profile] {
	return func(yield func(*profile.Profile) bool) {
		for _, u := range users {
			if !yield(u.p) {
				return
			}
		}
	}
}

// countingReader counts what was read.
type countingReader struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *countingReader) Read(dst []byte) (int, error) {
	n, err := c.r.Read(dst)
	c.n += int64(n)
	return n, err
}
