package hitratio

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chatapp-ngomna/edgecache/internal/trace"
)

// recorded is a trace: which key each request asks for, as numbers from 0 on.
type recorded struct {
	name     string
	requests []int
	keys     int
}

// maxRequests bounds what is read of one trace.
const maxRequests = 20_000_000

var errTrace = errors.New("no trace that is known here")

// numbering gives keys their numbers.
type numbering struct {
	recorded
	known map[string]int
}

func newNumbering(name string) *numbering {
	return &numbering{recorded: recorded{name: name}, known: map[string]int{}}
}

func (n *numbering) add(key string) {
	i, ok := n.known[key]
	if !ok {
		i = len(n.known)
		n.known[key] = i
	}
	n.requests, n.keys = append(n.requests, i), len(n.known)
}

// read reads all traces of a folder, and the chat.
func read(dir, chat string) (all []recorded, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	if chat != "" {
		r, err := readChat(chat)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	for _, file := range files {
		r, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: nothing in %q", errTrace, dir)
	}
	return all, nil
}

// readChat returns the users that a node looks up to show a chat.
func readChat(file string) (recorded, error) {
	messages, err := trace.Open(file)
	if err != nil {
		return recorded{}, err
	}
	defer messages.Close()
	n := newNumbering("chat")
	for messages.Next() {
		for _, id := range messages.Message.Shown {
			n.add(id)
		}
	}
	return n.recorded, messages.Err
}

// readFile reads one trace by the form that goes with its name: web* are big-endian numbers of 32
// bits, request* lines of "time key size", all others lines with a key.
func readFile(file string) (recorded, error) {
	f, err := os.Open(file)
	if err != nil {
		return recorded{}, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return recorded{}, err
	}
	n := newNumbering(strings.TrimSuffix(filepath.Base(file), ".gz"))
	switch {
	case strings.HasPrefix(n.name, "web"):
		err = n.readNumbers(z)
	case strings.HasPrefix(n.name, "request"):
		err = n.readLines(z, 1)
	default:
		err = n.readLines(z, 0)
	}
	return n.recorded, err
}

func (n *numbering) readNumbers(r io.Reader) error {
	in := bufio.NewReader(r)
	var word [4]byte
	for len(n.requests) < maxRequests {
		switch _, err := io.ReadFull(in, word[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		n.add(fmt.Sprint(binary.BigEndian.Uint32(word[:])))
	}
	return nil
}

// readLines takes the field at a place of each line; "*" and empty lines, by which some traces mark
// their parts, are passed over.
func (n *numbering) readLines(r io.Reader, place int) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() && len(n.requests) < maxRequests {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] == "*" {
			continue
		}
		if place >= len(fields) {
			return fmt.Errorf("%w: line %q", errTrace, lines.Text())
		}
		n.add(fields[place])
	}
	return lines.Err()
}
