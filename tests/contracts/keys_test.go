package contracts

import (
	"context"
	"iter"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// keyRow is a row of the page's table of keys.
type keyRow struct {
	name, kind string
	pattern    *regexp.Regexp
	ttl        time.Duration // the most that is left of it; 0 for none
	content    map[string]bool
	open       bool // its fields are no fixed names
}

var value = regexp.MustCompile(`<[a-z0-9]+>`)

func keyRows(t *testing.T, p page) (rows []keyRow) {
	t.Helper()
	for _, cells := range p.rows(t, "key") {
		key := strings.Trim(cells[0], "`")
		var pattern strings.Builder
		for rest := key; rest != ""; {
			at := value.FindStringIndex(rest)
			if at == nil {
				at = []int{len(rest), len(rest)}
			}
			pattern.WriteString(regexp.QuoteMeta(rest[:at[0]]))
			if at[0] < at[1] {
				pattern.WriteString("[^:{}]+")
			}
			rest = rest[at[1]:]
		}
		content := names(cells[3])
		rows = append(rows, keyRow{key, cells[1], regexp.MustCompile("^" + pattern.String() + "$"), duration(t, cells[2]), content,
			len(content) == 0})
	}
	return rows
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	if text == "none" {
		return 0
	}
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	units := map[string]time.Duration{"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	if err != nil || units[unit] == 0 {
		t.Fatalf("the TTL %q is none", text)
	}
	return time.Duration(n) * units[unit]
}

// active is a source of users for a prewarm.
type active []string

func (active) Name() string { return "test" }

func (a active) Active(context.Context, time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		for _, id := range a {
			if !yield(prewarm.User{ID: id, LastActive: time.Now()}, nil) {
				return
			}
		}
	}
}

// TestEachKeyIsOnThePage does all that writes to Redis, and compares each key that there is
// meanwhile with the page, until each row of the page was seen.
func TestEachKeyIsOnThePage(t *testing.T) {
	p := readPage(t)
	server := redistest.Server(t)
	n := startNode(t, p, server.URL())
	client := server.Client()
	writeEverything(t, n, client, p)
	rows, seen := keyRows(t, p), map[string]bool{}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); len(seen) < len(rows); <-tick.C {
		keys, err := client.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			seen[compare(t, client, rows, key)] = true
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %d rows only these were seen: %v", len(rows), seen)
		}
		if t.Failed() {
			return
		}
	}
}

func startNode(t *testing.T, p page, url string) *node.Node {
	t.Helper()
	origin := tier.LoaderFunc(directory{p.user(t)}.ask)
	n, err := node.New(node.Config{RedisURL: url, Origin: origin, Functions: &edge.FunctionsConfig{}, Sources: []prewarm.Source{active{"123", "broken", "nobody"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func pushFunction(t *testing.T, n *node.Node) edge.Pushed {
	t.Helper()
	wasm, err := guests.Modules.ReadFile("prebuilt/hide-matricule.c.wasm")
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := n.Functions().Push(t.Context(), "hide-matricule", wasm, edge.PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pushed
}

// writeEverything pushes a function, reads and changes users, tells a broken event, and begins a
// prewarm.
func writeEverything(t *testing.T, n *node.Node, client *redis.Client, p page) {
	t.Helper()
	pushFunction(t, n)
	changed := p.user(t)
	changed.ID = "124"
	if err := n.Put(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Get(t.Context(), "123"); err != nil {
		t.Fatal(err)
	}
	loading := make(chan struct{})
	go func() {
		defer close(loading)
		_, _ = n.Get(t.Context(), "slow") // it fails, and has a lease until then
	}()
	t.Cleanup(func() { <-loading })
	broken := []string{"payload", "{}", "replayOf", "1-0"}
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream.Name, Values: broken}).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.BeginPrewarm(t.Context(), prewarm.Options{}); err != nil {
		t.Fatal(err)
	}
}

// compare returns the name of the row that a key belongs to.
func compare(t *testing.T, client *redis.Client, rows []keyRow, key string) string {
	t.Helper()
	for _, row := range rows {
		if row.pattern.MatchString(key) {
			row.check(t, client, key)
			return row.name
		}
	}
	t.Errorf("the key %q is not on the page", key)
	return ""
}

// check compares a key with its row. A key that is gone meanwhile is no fault.
func (r keyRow) check(t *testing.T, client *redis.Client, key string) {
	t.Helper()
	pipe := client.TxPipeline()
	kind, ttl := pipe.Type(t.Context(), key), pipe.PTTL(t.Context(), key)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kind.Val() == "none" {
		return
	}
	if kind.Val() != r.kind {
		t.Errorf("%s is a %s; the page says %s", key, kind.Val(), r.kind)
	}
	if left := max(0, ttl.Val()); (left > 0) != (r.ttl > 0) || left > r.ttl || left < r.ttl*8/10 {
		t.Errorf("%s lives for %v; the page says %v", key, left, r.ttl)
	}
	if r.open {
		return
	}
	for _, field := range fields(t, client, key, kind.Val()) {
		if !r.content[field] {
			t.Errorf("%s has a field %q, which its row on the page does not name", key, field)
		}
	}
}

// fields returns the names of the fields of a hash or of the entries of a stream.
func fields(t *testing.T, client *redis.Client, key, kind string) (out []string) {
	t.Helper()
	switch kind {
	case "hash":
		return client.HKeys(t.Context(), key).Val()
	case "stream":
		for _, entry := range client.XRange(t.Context(), key, "-", "+").Val() {
			for name := range entry.Values {
				out = append(out, name)
			}
		}
	}
	return out
}

// TestEachScriptIsOnThePage: the page names the scripts of the repository, and no others.
func TestEachScriptIsOnThePage(t *testing.T) {
	listed := map[string]bool{}
	for _, cells := range readPage(t).rows(t, "script") {
		listed[strings.Trim(cells[0], "`")] = true
	}
	for _, pattern := range []string{"../../*/scripts/*.lua", "../../tier/*/scripts/*.lua", "../../prewarm/*/scripts/*.lua"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".lua")
			if !listed[name] {
				t.Errorf("%s is not on the page", file)
			}
			delete(listed, name)
		}
	}
	for name := range listed {
		t.Errorf("the page tells of a script %q, which is not there", name)
	}
}
