// Package contracts holds docs/contracts.md to what the code does.
package contracts

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/profile"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// one per process, for ever
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// ends up to 10 s after its server
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// page is the text of docs/contracts.md.
type page string

func readPage(t *testing.T) page {
	t.Helper()
	text, err := os.ReadFile("../../docs/contracts.md")
	if err != nil {
		t.Fatal(err)
	}
	return page(text)
}

// example returns the block of the page that begins with a fence and these words, such as "json
// payload".
func (p page) example(t *testing.T, words string) string {
	t.Helper()
	_, rest, found := strings.Cut(string(p), "\n```"+words+"\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		t.Fatalf("the page has no block ```%s", words)
	}
	return block
}

// bytes returns what a block of hexadecimal digits stands for.
func (p page) bytes(t *testing.T, name string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(p.example(t, "hex "+name)), ""))
	if err != nil {
		t.Fatalf("block %q: %v", name, err)
	}
	return string(b)
}

// user returns the user of the examples.
func (p page) user(t *testing.T) *profile.Profile {
	t.Helper()
	u, err := profile.DecodeJSON([]byte(p.example(t, "json user")))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// rows returns the cells of each table whose first column has this name, tables of one name one
// after another.
func (p page) rows(t *testing.T, name string) (rows [][]string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(string(p)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case !inside:
			inside = cells[0] == name
		case !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("the page has no table that begins with the column %q", name)
	}
	return rows
}

var quoted = regexp.MustCompile("`([^`]+)`")

// names returns what stands in backquotes.
func names(cell string) map[string]bool {
	out := map[string]bool{}
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		out[m[1]] = true
	}
	return out
}

// directory is an origin that knows one user. It fails for "broken", and answers for "slow" only at
// the end of its time.
type directory struct{ user *profile.Profile }

func (d directory) ask(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}, Errors: map[string]error{}}
	for _, id := range ids {
		switch id {
		case d.user.ID:
			b.Found[id] = d.user.Clone()
		case "broken":
			b.Errors[id] = errors.New("the record is broken")
		case "slow":
			<-ctx.Done()
			return b, ctx.Err()
		default:
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}
