package importer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// profileLines reads one profile in JSON a line.
type profileLines struct {
	in   *bufio.Reader
	line int64
	buf  []byte
}

func (r *profileLines) read() (p *profile.Profile, line int64, size int, err error) {
	for {
		text, whole, err := r.next()
		if err != nil {
			return nil, r.line, 0, err
		}
		r.line++
		text = bytes.TrimSpace(text)
		switch {
		case !whole:
			err = fmt.Errorf("%w: it is longer than %d bytes", profile.ErrTooLarge, maxImportLine)
		case len(text) == 0:
			continue
		case !utf8.Valid(text):
			err = fmt.Errorf("%w: it is not UTF-8", profile.ErrMalformed)
		default:
			p, err = profile.DecodeJSONLoose(bytes.Clone(text))
		}
		return p, r.line, len(text), asLineError(r.line, err)
	}
}

// next returns the next line, of one that is too long only that it is.
func (r *profileLines) next() (text []byte, whole bool, err error) {
	r.buf, whole = r.buf[:0], true
	for {
		part, err := r.in.ReadSlice('\n')
		if len(r.buf)+len(part) > maxImportLine {
			whole, part = false, nil
		}
		if whole {
			r.buf = append(r.buf, part...)
		}
		switch {
		case err == nil, err == io.EOF && (len(r.buf) > 0 || !whole):
			return r.buf, whole, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}

// csvLines reads a CSV file.
type csvLines struct {
	csv    *csv.Reader
	cap    *recordCap
	fields []csvField // of the columns
	last   int64      // offset after the last record
	line   int        // of the last record
}

// csvField puts the text of a column into a profile.
type csvField func(p *profile.Profile, text string) error

// newCSVLines reads the header.
func newCSVLines(in *bufio.Reader) (*csvLines, error) {
	if mark, err := in.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	first, err := in.Peek(in.Size())
	if err != nil && err != io.EOF {
		return nil, err
	}
	limited := &recordCap{r: in}
	r := &csvLines{csv: csv.NewReader(limited), cap: limited}
	r.csv.Comma, r.csv.ReuseRecord = separator(first), true
	names, err := r.csv.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: the first line must name the columns: %w", profile.ErrMalformed, err)
	}
	limited.next()
	if r.fields, err = csvFields(names); err != nil {
		return nil, err
	}
	return r, nil
}

// separator is what the first line has most of.
func separator(text []byte) rune {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	best, most := ',', 0
	for _, c := range ",;\t" {
		if n := bytes.Count(line, []byte(string(c))); n > most {
			best, most = c, n
		}
	}
	return best
}

// csvFields finds the field of each column.
func csvFields(names []string) ([]csvField, error) {
	fields := make([]csvField, len(names))
	seen := map[string]bool{}
	for i, name := range names {
		name = strings.TrimSpace(name)
		key := strings.ReplaceAll(strings.ToLower(name), "_", "")
		if attr, ok := strings.CutPrefix(name, "attrs."); ok && attr != "" {
			key, fields[i] = name, attrField(strings.Clone(attr))
		} else {
			fields[i] = textField(key)
		}
		if fields[i] == nil {
			return nil, fmt.Errorf("%w: unknown column %.60q; the columns are id, updatedAt, attrs.NAME, %s", profile.ErrMalformed, name, origin.UpdateFields)
		}
		if seen[key] {
			return nil, fmt.Errorf("%w: column %.60q is there twice", profile.ErrMalformed, name)
		}
		seen[key] = true
	}
	if !seen["id"] {
		return nil, fmt.Errorf("%w: no column is named id", profile.ErrMalformed)
	}
	return fields, nil
}

// textField returns the field of a column by its name in small letters.
func textField(key string) csvField {
	place := profile.TextOf(key)
	switch {
	case place != nil:
		return func(p *profile.Profile, text string) error {
			*place(p) = text
			return nil
		}
	case key == "updatedat":
		return func(p *profile.Profile, text string) (err error) {
			p.UpdatedAt, err = profile.LooseMillis(text)
			return err
		}
	case key == "attrs":
		return attrsField
	}
	return nil
}

func attrField(name string) csvField {
	return func(p *profile.Profile, text string) error {
		if text == "" {
			return nil
		}
		if p.Attrs == nil {
			p.Attrs = make(map[string]string)
		}
		p.Attrs[name] = text
		return nil
	}
}

func attrsField(p *profile.Profile, text string) error {
	if text == "" {
		return nil
	}
	if !profile.ValidJSONText([]byte(text)) {
		return fmt.Errorf("%w: attrs holds text that is no Unicode: broken UTF-8, or half of a surrogate pair", profile.ErrMalformed)
	}
	if err := json.Unmarshal([]byte(text), &p.Attrs); err != nil {
		return fmt.Errorf(`%w: attrs %.60q; want an object of strings, such as {"floor":"2"}`, profile.ErrMalformed, text)
	}
	return nil
}

func (r *csvLines) read() (p *profile.Profile, line int64, size int, err error) {
	record, err := r.csv.Read()
	r.cap.next()
	if err != nil {
		return nil, 0, 0, r.fault(err)
	}
	offset := r.csv.InputOffset()
	size, r.last = int(offset-r.last), offset
	r.line, _ = r.csv.FieldPos(0)
	first := int64(r.line)
	p = new(profile.Profile)
	for i, text := range record {
		if err := r.fields[i](p, text); err != nil {
			return nil, first, size, asLineError(first, err)
		}
	}
	p.Complete()
	return p, first, size, nil
}

// fault tells an error about one record from one that ends the reading.
func (r *csvLines) fault(err error) error {
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return LineError{Line: int64(parse.StartLine), Err: fmt.Errorf("%w: %w", profile.ErrMalformed, parse.Err)}
	}
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("after line %d: %w", r.line, err)
}

// recordCap ends the reading of a record that is longer than maxImportLine: else one quote too many
// would take the rest of a file into memory.
type recordCap struct {
	r io.Reader
	n int // read since the last record
}

func (c *recordCap) next() { c.n = 0 }

// Read implements io.Reader.
func (c *recordCap) Read(dst []byte) (int, error) {
	if c.n > maxImportLine {
		return 0, fmt.Errorf("%w: a record is longer than %d bytes; is a quote never closed?", profile.ErrTooLarge, maxImportLine)
	}
	n, err := c.r.Read(dst)
	c.n += n
	return n, err
}
