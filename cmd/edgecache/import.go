package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/importer"
)

// shownFailures is how many lines that were left out are printed when no file takes them.
const shownFailures = 20

// importSettings are the flags of origin import.
type importSettings struct {
	file   string // "-" is the standard input
	format string
	errors string // a file for the lines that were left out
	store  originSettings
}

func (p *program) importCommand() *cobra.Command {
	var s importSettings
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add the users of a file to the database",
		Long: `Adds the users of a CSV file, or of a file with one JSON object a line, some thousand in a
transaction. Users who exist stay as they are, so an import that was cut short may be
repeated. The origin announces those who were added: at once if it runs, else when it starts.

The first line of a CSV file names the columns: id, and any of nom, prenom, fullName, avatar,
matricule, ministere, sexe, updatedAt, attrs (a JSON object) and attrs.NAME.

Ends with 1 when lines were left out or the database failed, and with 2 when the file cannot
be read or is none of the form, so that nothing was tried.`,
		Example: `  edgecache origin import users.csv
  edgecache origin import users.jsonl --db postgres://10.0.0.7/chat --errors left-out.txt
  zcat users.csv.gz | edgecache origin import - --format csv --db postgres://10.0.0.7/chat
  edgecache origin import users.csv --db postgres://10.0.0.7/hr --table agents --columns id=matr,nom=last_name`,
		Args: wantArgs(1, 1, "users.csv"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.file = args[0]
			return p.runImport(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.store.db, "db", defaultDB, dbUsage)
	s.store.table.flags(f)
	f.StringVar(&s.format, "format", "", "`FORM` of the file: csv or jsonl; told by its name when not given")
	f.StringVar(&s.errors, "errors", "", "`FILE` that takes a line for each line that was left out")
	return cmd
}

// form returns the format of the file.
func (s importSettings) form() (importer.Format, error) {
	switch s.format {
	case "":
		if f, ok := importer.FormatOf(s.file); ok {
			return f, nil
		}
		return "", usagef("the name %s does not tell the form of the file; say --format csv or --format jsonl", s.file)
	case string(importer.CSV), string(importer.JSONL):
		return importer.Format(s.format), nil
	}
	return "", usagef("--format %q: want csv or jsonl", s.format)
}

func (p *program) runImport(ctx context.Context, s importSettings) (err error) {
	log, err := p.logger()
	if err != nil {
		return err
	}
	form, err := s.form()
	if err != nil {
		return err
	}
	if err := checkDB(s.store.db, s.store.table); err != nil {
		return err
	}
	in, size, err := p.openImport(s.file)
	if err != nil {
		return &usageError{err}
	}
	defer in.Close()
	out, err := p.openFailures(s.errors)
	if err != nil {
		return &usageError{err}
	}
	defer func() { err = errors.Join(err, out.close()) }()
	s.store.sayNew(log)
	store, err := s.store.store(log)
	if err != nil {
		return usagef("--db: %s", strings.TrimPrefix(err.Error(), "source: "))
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := reach(ctx, store.Start); err != nil {
		return openError(s.store.db, err)
	}
	return p.importInto(ctx, store, in, size, out, form)
}

func (p *program) importInto(ctx context.Context, store source.Store, in io.Reader, size int64, out *failures, form importer.Format) error {
	bar, began := newMeter(p.stderr), time.Now()
	stats, err := importer.Run(ctx, store, in, importer.Config{Format: form, Progress: func(st importer.Stats) { bar.show(importProgress(st, size, time.Since(began))) },
		Failed: func(e importer.LineError) { bar.clear(); out.add(e) }})
	bar.clear()
	out.end()
	if err != nil && stats.Users == 0 && errors.Is(err, profile.ErrMalformed) {
		return &usageError{err}
	}
	fmt.Fprintf(p.stdout, "%d users read: %d added, %d were there, %d left out, in %v\n",
		stats.Users, stats.Added, stats.Existed(), stats.Failed, time.Since(began).Round(time.Millisecond))
	switch {
	case err != nil:
		return fmt.Errorf("the import ended early and may be repeated: %w", err)
	case stats.Failed > 0:
		return fmt.Errorf("%d of %d users were left out", stats.Failed, stats.Users)
	}
	return nil
}

// importProgress returns how much of size bytes is read, below 0 when size is unknown, and what to
// say about it.
func importProgress(s importer.Stats, size int64, took time.Duration) (share float64, text string) {
	text = fmt.Sprintf("%d users, %d left out, %.0f/s", s.Users, s.Failed, float64(s.Users)/max(took.Seconds(), 1e-3))
	if size <= 0 {
		return -1, text
	}
	return float64(s.Bytes) / float64(size), text
}

// openImport opens the file to import and returns its size, 0 when that is unknown.
func (p *program) openImport(file string) (io.ReadCloser, int64, error) {
	if file == "-" {
		return io.NopCloser(p.stdin), 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", file)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// failures takes the lines that were left out: all of them into a file, or the first onto the
// terminal.
type failures struct {
	out   io.Writer
	file  *os.File // nil without --errors
	lines *bufio.Writer
	n     int
}

func (p *program) openFailures(file string) (*failures, error) {
	if file == "" {
		return &failures{out: p.stderr}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("--errors: %w", err)
	}
	return &failures{file: f, lines: bufio.NewWriter(f)}, nil
}

func (f *failures) add(e importer.LineError) {
	f.n++
	switch {
	case f.file != nil:
		fmt.Fprintln(f.lines, e.Error()) // the writer keeps its first error until close
	case f.n <= shownFailures:
		fmt.Fprintln(f.out, printable(e.Error()))
	}
}

// end says how many lines were not shown.
func (f *failures) end() {
	if f.file == nil && f.n > shownFailures {
		fmt.Fprintf(f.out, "… and %d more; --errors FILE keeps them all\n", f.n-shownFailures)
	}
}

func (f *failures) close() error {
	if f.file == nil {
		return nil
	}
	if err := errors.Join(f.lines.Flush(), f.file.Close()); err != nil {
		return fmt.Errorf("--errors: %w", err)
	}
	return nil
}
