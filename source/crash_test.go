package source_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

const (
	// crashEnv makes the test binary the process that gets killed; its value is "STEPS FOLDER".
	crashEnv = "EDGECACHE_CRASH_CHILD"
	// crashURLEnv is the PostgreSQL database of that process; without it the store is a SQLite file
	// in the folder.
	crashURLEnv = "EDGECACHE_CRASH_URL"
	// crashTrialsEnv sets the number of kills; the default suits every run of the tests.
	crashTrialsEnv = "EDGECACHE_CRASH_TRIALS"
)

// crashWriters is the number of goroutines that change users in the process that gets killed.
const crashWriters = 4

// announceLog is an Announcer that appends a line to a file, which outlives a killed process as a
// stream does.
type announceLog struct{ file *os.File }

func openAnnounceLog(place string) (*announceLog, error) {
	f, err := os.OpenFile(filepath.Join(place, "announced"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &announceLog{f}, err
}

func (a *announceLog) Announce(_ context.Context, c source.Change) error {
	_, err := fmt.Fprintf(a.file, "%s %d %s\n", c.ID, c.Version, c.Kind)
	return err
}

// crashChild changes users until its steps are used up, then kills itself where it stands: after a
// commit, before an announcement, after it, or before the note that it was made.
func crashChild(arg string) {
	var steps atomic.Int64
	var place string
	var n int64
	if _, err := fmt.Sscan(arg, &n, &place); err != nil {
		panic(err)
	}
	steps.Store(n)
	step := func() {
		if steps.Add(-1) <= 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	out, err := openAnnounceLog(place)
	if err != nil {
		panic(err)
	}
	store, err := crashStore(place)
	if err != nil {
		panic(err)
	}
	relay, err := source.NewRelay(source.RelayConfig{Outbox: store, Announcer: source.AnnouncerFunc(func(ctx context.Context, c source.Change) error {
		step()
		err := out.Announce(ctx, c)
		step()
		return err
	})})
	ctx := context.Background()
	if err := errors.Join(err, store.Start(ctx), relay.Start(ctx)); err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() { crashWriter(store, fmt.Sprintf("user-%d", w), step) })
	}
	wg.Wait()
}

func crashStore(place string) (source.Store, error) {
	if url := os.Getenv(crashURLEnv); url != "" {
		return postgres.New(postgres.Config{URL: url})
	}
	return sqlite.New(sqlite.Config{Path: filepath.Join(place, "origin.db")})
}

// crashWriter changes one user for ever and prints each change that was acknowledged.
func crashWriter(store source.Store, id string, step func()) {
	for i := 0; ; i++ {
		c, err := changeSomehow(store, id, i)
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s %d %s\n", c.ID, c.Version, c.Kind)
		step()
	}
}

func changeSomehow(store source.Store, id string, i int) (source.Change, error) {
	ctx := context.Background()
	if _, err := store.Get(ctx, id); errors.Is(err, profile.ErrNotFound) {
		return store.Create(ctx, &profile.Profile{ID: id})
	}
	if i%10 == 9 {
		return store.Delete(ctx, id, nil)
	}
	nom := strconv.Itoa(i)
	return store.Update(ctx, id, origin.Update{Nom: &nom})
}

// trials is the number of kills: the default, or what the environment says.
func trials(t *testing.T, standard int) int {
	t.Helper()
	text := os.Getenv(crashTrialsEnv)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", crashTrialsEnv, err)
	}
	return n
}

func TestKilledProcessLosesNothing(t *testing.T) {
	t.Run("over SQLite", func(t *testing.T) {
		killAndRestart(t, truth.MakeSQLite, trials(t, 20), func(string) string { return "" })
	})
	t.Run("over PostgreSQL", func(t *testing.T) {
		server := pgtest.Server(t)
		killAndRestart(t, truth.PostgresMaker(server), trials(t, 8), func(place string) string { return truth.SchemaURL(t, server, place) })
	})
}

// killAndRestart has a process kill itself n times at random points; url is its PostgreSQL
// database.
func killAndRestart(t *testing.T, open truth.StoreMaker, n int, url func(place string) string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	place := t.TempDir()
	at := crashURLEnv + "=" + url(place)
	acked := 0
	for trial := range n {
		lines := runUntilKilled(t, place, 1+rnd.IntN(400), at)
		acked += len(lines)
		drainAfterRestart(t, open, place)
		checkAnnounced(t, place, lines)
		if t.Failed() {
			t.Fatalf("trial %d", trial)
		}
	}
	t.Logf("RESULT | kill -9 of the process %d times, its announcements in a file: none of what was acknowledged is missing or out of order 5 s after restart | %d acknowledged changes, all there | `%s` |",
		n, acked, t.Name())
}

// runUntilKilled returns the changes that the process acknowledged before it died.
func runUntilKilled(t *testing.T, place string, steps int, env string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", crashEnv, steps, place), env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process should have killed itself: %v\n%s", err, stderr.Bytes())
	}
	return fullLines(&stdout)
}

func fullLines(b *bytes.Buffer) (lines []string) {
	for scan := bufio.NewScanner(b); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	return lines
}

// drainAfterRestart is the restart: everything left must be announced within 5 s.
func drainAfterRestart(t *testing.T, open truth.StoreMaker, place string) {
	t.Helper()
	store := open(t, place, time.Now)
	out, err := openAnnounceLog(place)
	if err != nil {
		t.Fatal(err)
	}
	relay, err := source.NewRelay(source.RelayConfig{Outbox: store, Announcer: out})
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, "the outbox is empty", func() bool {
		b, err := store.Backlog(t.Context())
		return err == nil && b.Rows == 0
	})
	if err := errors.Join(relay.Close(), store.Close(), out.file.Close()); err != nil {
		t.Fatal(err)
	}
}

// checkAnnounced wants each acknowledged change announced, and the first announcements of each user
// in version order.
func checkAnnounced(t *testing.T, place string, acked []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(place, "announced"))
	if err != nil {
		t.Fatal(err)
	}
	seen, last := map[string]bool{}, map[string]int64{}
	for _, line := range fullLines(bytes.NewBuffer(text)) {
		if seen[line] {
			continue
		}
		seen[line] = true
		var id, kind string
		var version int64
		if _, err := fmt.Sscan(line, &id, &version, &kind); err != nil {
			t.Fatalf("announced %q: %v", line, err)
		}
		if version <= last[id] {
			t.Errorf("%q came after version %d", line, last[id])
		}
		last[id] = version
	}
	for _, line := range acked {
		if !seen[line] {
			t.Errorf("acknowledged but never announced: %q", line)
		}
	}
}
