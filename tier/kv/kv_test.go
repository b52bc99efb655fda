package kv

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(diskEnv); dir != "" {
		if err := diskChild(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// diskEnv makes the test binary a process in which that folder is a disk of 2 MiB.
const diskEnv = "EDGECACHE_KV_DISK"

var long = flag.Bool("long", false, "run the tests of damage in full instead of in seconds")

func check1(t interface{ Fatal(...any) }, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// memory is a folder whose disk is the memory, where there is one: many stores are opened and
// closed, which sync.
func memory() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}

func always() bool { return true }

// quiet is a store that commits when it is told to.
func quiet(dir string) Config { return Config{Dir: dir, Every: time.Hour} }

func mustOpen(t interface{ Fatal(...any) }, conf Config) *Store {
	s, err := Open(conf)
	check1(t, err)
	awaitCommit(s) // the first, which marks the file
	return s
}

// awaitCommit waits until the goroutine of a quiet store has had its turn.
func awaitCommit(s *Store) {
	for s.counters.commits.Load() == 0 && s.On() {
		time.Sleep(time.Millisecond)
	}
}

// kill ends a store as the end of its process would.
func (s *Store) kill() error {
	err := s.life.Close(func() error {
		s.snapshot.close()
		return errors.Join(s.db.Close(), s.held.release())
	})
	return err
}

func put(s *Store, id string, version int64, packed string) bool {
	return s.Put(id, Record{Version: version, Loaded: time.Unix(version, 0), Packed: []byte(packed)}, always)
}

// holds returns what s answers for id: its version, 0 for nothing.
func holds(s *Store, id string) int64 {
	r, ok := s.Get(id)
	if !ok {
		return 0
	}
	return r.Version
}

// world is what a store must hold: now, and after the death of its process.
type world struct {
	now, kept     map[string]int64 // versions by id
	doubt, before map[string]int64 // from before a flush, which Vouch may bring back
	at, keptAt    string
}

func (w *world) commit() {
	w.kept, w.before, w.keptAt = maps.Clone(w.now), maps.Clone(w.doubt), w.at
}

func (w *world) die() {
	w.now, w.doubt, w.at = maps.Clone(w.kept), maps.Clone(w.before), w.keptAt
}

// TestModel compares a store with a map through changes, flushes, deaths and restarts: what is read
// is what was said last, and what a dead process leaves is what was true at the checkpoint that it
// leaves.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(memory(), "kv")
		check1(t, err)
		defer func() { _ = os.RemoveAll(dir) }()
		m := &model{dir: dir, s: mustOpen(t, quiet(dir))}
		m.w = world{now: map[string]int64{}, kept: map[string]int64{}, doubt: map[string]int64{}, before: map[string]int64{}}
		defer func() { check1(t, m.s.Close()) }()
		t.Repeat(map[string]func(*rapid.T){
			"put": m.put, "refused": m.refused, "delete": m.delete, "checkpoint": m.checkpoint, "flush": m.flush,
			"vouch":  m.vouch,
			"commit": func(*rapid.T) { m.s.commit(); m.w.commit() },
			"dies":   func(t *rapid.T) { m.w.die(); m.again(t, m.s.kill) },
			"ends":   func(t *rapid.T) { m.w.commit(); m.again(t, m.s.Close) },
			"":       m.check,
		})
	})
}

// model is a store beside what it should hold.
type model struct {
	dir     string
	s       *Store
	w       world
	version int64 // the last given
}

// id draws one of twelve users.
func (m *model) id(t *rapid.T) string {
	return "u" + strconv.Itoa(rapid.IntRange(1, 12).Draw(t, "id"))
}

func (m *model) put(t *rapid.T) {
	id := m.id(t)
	m.version++
	put(m.s, id, m.version, strings.Repeat("x", rapid.IntRange(0, 3000).Draw(t, "size")))
	m.w.now[id] = m.version
	delete(m.w.doubt, id)
}

func (m *model) refused(t *rapid.T) {
	if m.s.Put(m.id(t), Record{Version: 1 << 50}, func() bool { return false }) {
		t.Fatal("a record that is not valid was taken")
	}
}

func (m *model) delete(t *rapid.T) {
	id := m.id(t)
	m.s.Delete(id)
	delete(m.w.now, id)
	delete(m.w.doubt, id)
}

func (m *model) checkpoint(*rapid.T) {
	m.version++
	m.w.at = fmt.Sprint("place ", m.version)
	m.s.Checkpoint([]byte(m.w.at))
}

func (m *model) flush(*rapid.T) {
	m.s.Flush()
	maps.Copy(m.w.doubt, m.w.now)
	m.w.now = map[string]int64{}
}

func (m *model) vouch(t *rapid.T) {
	m.s.commit() // what was not committed when the flush came is not asked about
	m.w.commit()
	doubts, _ := m.s.Doubtful("", 100)
	got := map[string]int64{}
	for _, d := range doubts {
		got[d.ID] = d.Version
	}
	if !maps.Equal(got, m.w.doubt) {
		t.Fatalf("in doubt are %v, want %v", got, m.w.doubt)
	}
	for _, d := range doubts {
		if rapid.Bool().Draw(t, "good") && m.s.Vouch(d, always) {
			m.w.now[d.ID] = d.Version
			delete(m.w.doubt, d.ID)
		}
	}
}

// again opens the store anew after end.
func (m *model) again(t *rapid.T, end func() error) {
	check1(t, end())
	m.s = mustOpen(t, quiet(m.dir))
	if got := string(m.s.Resume()); got != m.w.at {
		t.Fatalf("resumes at %q, want %q", got, m.w.at)
	}
	if m.w.at == "" && len(m.w.now)+len(m.w.doubt) > 0 { // nothing vouches for it
		maps.Copy(m.w.doubt, m.w.now)
		m.w.now = map[string]int64{}
	}
	m.w.commit()
}

func (m *model) check(t *rapid.T) {
	for i := range 12 {
		id := "u" + strconv.Itoa(i+1)
		if got := holds(m.s, id); got != m.w.now[id] {
			t.Fatalf("%s is %d, want %d", id, got, m.w.now[id])
		}
	}
}

// filled makes a store of n users in dir, closed in order.
func filled(t *testing.T, dir string, n int) {
	t.Helper()
	s := mustOpen(t, quiet(dir))
	for i := range n {
		put(s, fmt.Sprint("user-", i), int64(i+1), fmt.Sprint("profile ", i, strings.Repeat(".", i%300)))
	}
	s.Checkpoint([]byte("here"))
	s.commit()
	for i := 0; i < n; i += 5 {
		s.Delete(fmt.Sprint("user-", i))
	}
	check1(t, s.Close())
}

// TestDamage changes a byte at random places. A store that is opened nevertheless answers rightly
// or not at all; one that cannot be believed is thrown away with one line.
func TestDamage(t *testing.T) {
	const users = 400
	dir, err := os.MkdirTemp(memory(), "kv")
	check1(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	filled(t, dir, users)
	_, _, err = Compact(dir) // so that most bytes are in use
	check1(t, err)
	good, err := os.ReadFile(filepath.Join(dir, fileName))
	check1(t, err)
	places := 250
	if *long {
		places = 1000
	}
	var thrown, silent, refused int
	rapidSeed := rapid.Custom(func(t *rapid.T) [2]int {
		page := rapid.IntRange(0, len(good)/pageSize-1).Draw(t, "page")
		// the head of a page says most
		most := rapid.SampledFrom([]int{64, pageSize}).Draw(t, "most")
		return [2]int{page*pageSize + rapid.IntRange(0, most-1).Draw(t, "at"), rapid.IntRange(1, 255).Draw(t, "by")}
	})
	for i := range places {
		where := rapidSeed.Example(i)
		bad := bytes.Clone(good)
		bad[where[0]] ^= byte(where[1])
		check1(t, os.WriteFile(filepath.Join(dir, fileName), bad, 0o600))
		var log bytes.Buffer
		conf := quiet(dir)
		conf.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s, err := Open(conf)
		if err != nil {
			t.Fatalf("byte %d ^ %#x: %v", where[0], where[1], err)
		}
		for u := range users {
			r, ok := s.Get(fmt.Sprint("user-", u))
			want := fmt.Sprint("profile ", u, strings.Repeat(".", u%300))
			switch {
			case ok && (u%5 == 0 || string(r.Packed) != want || r.Version != int64(u+1)):
				t.Fatalf("byte %d ^ %#x: user %d is %d %q", where[0], where[1], u, r.Version, r.Packed)
			case !ok && u%5 != 0:
				refused++
			}
		}
		lines := strings.Count(log.String(), "\n")
		if log.Len() > 0 {
			thrown++
			refused -= users - users/5
		} else {
			silent++
		}
		if lines > 1 || lines == 1 && !strings.Contains(log.String(), "thrown away") {
			t.Errorf("byte %d ^ %#x: the log says %s", where[0], where[1], log.String())
		}
		check1(t, s.Close())
	}
	t.Logf("result: a byte changed at %d random places | 0 wrong answers, one line | %d thrown away, %d opened with %d values refused", places, thrown, silent, refused)
	if thrown == 0 || refused == 0 {
		t.Errorf("%d thrown away, %d values refused; want some of each", thrown, refused)
	}
}

// TestCutFile is a file that was cut off: it is thrown away.
func TestCutFile(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir, 300)
	path := filepath.Join(dir, fileName)
	good, err := os.ReadFile(path)
	check1(t, err)
	for _, n := range []int{1, 100, pageSize, 2 * pageSize, len(good) / 2} {
		check1(t, os.WriteFile(path, good[:n], 0o600))
		s := mustOpen(t, quiet(dir))
		if got := s.Stats(); got.Entries != 0 || s.Resume() != nil {
			t.Errorf("%d bytes: %+v, resumes at %q; want a new store", n, got, s.Resume())
		}
		put(s, "1", 1, "x")
		check1(t, s.Close())
	}
}

func TestOnlyOneProcessHasAStore(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, quiet(dir))
	if _, err := Open(quiet(dir)); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open: %v; want ErrInUse, and the folder", err)
	}
	if _, err := Stat(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("Stat: %v; want ErrInUse", err)
	}
	check1(t, s.Close())
	check1(t, s.Close())
	s = mustOpen(t, quiet(dir))
	check1(t, s.Close())
}

// edit changes the state of a closed store.
func edit(t *testing.T, dir string, f func(*state)) {
	t.Helper()
	db, err := openDB(filepath.Join(dir, fileName))
	check1(t, err)
	check1(t, db.Update(func(tx *bbolt.Tx) error {
		st, err := readState(tx)
		if err != nil {
			return err
		}
		f(&st)
		return putState(tx, st)
	}))
	check1(t, db.Close())
}

func TestWhatIsBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*state)
		holds  bool
		says   string
	}{
		"closed in order":                        {func(*state) {}, true, ""},
		"killed, on the same boot":               {func(st *state) { st.Clean = false }, true, ""},
		"closed in order, on another boot":       {func(st *state) { st.Boot = "another" }, true, ""},
		"in use when the machine went down":      {func(st *state) { st.Clean, st.Boot = false, "another" }, false, "machine went down"},
		"of a layout that is not known":          {func(st *state) { st.Layout = 7 }, false, "unknown layout: 7"},
		"entries that no checkpoint vouches for": {func(st *state) { st.Checkpoint = nil }, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			filled(t, dir, 10)
			edit(t, dir, c.change)
			var log bytes.Buffer
			conf := quiet(dir)
			conf.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := mustOpen(t, conf)
			defer func() { check1(t, s.Close()) }()
			if got := holds(s, "user-1") == 2; got != c.holds {
				t.Errorf("holds: %v, want %v", got, c.holds)
			}
			if got := log.String(); (got == "") != (c.says == "") || !strings.Contains(got, c.says) || strings.Count(got, "\n") > 1 {
				t.Errorf("the log says %q; want one line with %q", got, c.says)
			}
			if r, ok := s.Get("user-1"); ok && !r.Inherited {
				t.Error("an entry of an earlier session counts as this one's")
			}
		})
	}
}

func TestFileIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	filled(t, dir, 1)
	for name, want := range map[string]os.FileMode{fileName: 0o600, "lock": 0o600, ".": 0o700} {
		info, err := os.Stat(filepath.Join(dir, name))
		check1(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: mode %o, want %o", name, got, want)
		}
	}
}

// TestWriteFailureGivesTheStoreUp: nothing is answered any more, one line says why, and what the
// file has is true of its checkpoint.
func TestWriteFailureGivesTheStoreUp(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	conf := quiet(dir)
	conf.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := mustOpen(t, conf)
	put(s, "1", 1, "x")
	s.Checkpoint([]byte("first"))
	s.commit()
	s.db.MaxSize = 1 << 10 // as a disk that is full
	for i := range 20_000 {
		put(s, fmt.Sprint("more-", i), 1, strings.Repeat("x", 1000))
	}
	s.Delete("1")
	s.Checkpoint([]byte("second"))
	s.commit()
	put(s, "2", 2, "x")
	s.commit()
	if s.On() || s.Stats().Off == "" || holds(s, "1") != 0 || holds(s, "2") != 0 {
		t.Errorf("on: %v, %+v; want a store that is given up", s.On(), s.Stats())
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "given up") {
		t.Errorf("the log says %s; want one line", log.String())
	}
	check1(t, s.Close())
	s = mustOpen(t, quiet(dir))
	defer func() { check1(t, s.Close()) }()
	if holds(s, "1") != 1 || string(s.Resume()) != "first" {
		t.Errorf("user 1 is %d at %q; want what the first checkpoint vouches for", holds(s, "1"), s.Resume())
	}
}

// TestFileCutUnderAStore: a fault of the memory that shows the file is an error, and not the end of
// the process.
func TestFileCutUnderAStore(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir, 3000)
	s := mustOpen(t, quiet(dir))
	check1(t, os.Truncate(s.path(), 3*pageSize))
	for i := range 3000 {
		s.Get(fmt.Sprint("user-", i))
	}
	if s.On() {
		t.Error("the store is still on")
	}
	_ = s.Close()
}

func TestRoomIsKept(t *testing.T) {
	conf := quiet(t.TempDir())
	conf.MaxBytes = 1 << 20
	s := mustOpen(t, conf)
	defer func() { check1(t, s.Close()) }()
	for round := range 60 {
		for i := range 200 {
			put(s, fmt.Sprint(round*7919%60, "-", i, "-", round), 1, strings.Repeat("x", 400))
		}
		s.commit()
	}
	st := s.Stats()
	if st.Bytes > 2<<20 || st.Evicted == 0 || st.Entries < 500 {
		t.Errorf("%+v; want about 1 MiB of entries", st)
	}
	r, err := reportOpen(s)
	check1(t, err)
	if int64(r) != st.Entries {
		t.Errorf("%d entries are counted, there are %d", st.Entries, r)
	}
}

func reportOpen(s *Store) (n int, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(usersBucket).Stats().KeyN
		return nil
	})
	return n, err
}

func TestOffline(t *testing.T) {
	dir := t.TempDir()
	if _, err := Stat(dir); !errors.Is(err, ErrNone) {
		t.Errorf("Stat of an empty folder: %v; want ErrNone", err)
	}
	filled(t, dir, 1000)
	got, err := Verify(dir)
	check1(t, err)
	if got.Entries != 800 || !got.Clean || got.Checkpoint != "here" || got.Refused != "" || got.Sessions != 1 ||
		!got.Oldest.Equal(time.Unix(2, 0)) || !got.Newest.Equal(time.Unix(1000, 0)) {
		t.Errorf("Verify: %+v", got)
	}
	before, after, err := Compact(dir)
	check1(t, err)
	if after >= before {
		t.Errorf("compacted from %d to %d bytes", before, after)
	}
	s := mustOpen(t, quiet(dir))
	if holds(s, "user-999") != 1000 || string(s.Resume()) != "here" {
		t.Error("the compacted store has lost something")
	}
	check1(t, s.Close())
	flip(t, filepath.Join(dir, fileName), []byte("profile 998"))
	if got, err := Verify(dir); !errors.Is(err, ErrDamaged) || got.Damaged != 1 {
		t.Errorf("Verify of a damaged value: %+v, %v; want ErrDamaged", got, err)
	}
}

// flip changes the last byte of what is found in a file.
func flip(t *testing.T, path string, what []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	check1(t, err)
	for rest := b; ; {
		i := bytes.Index(rest, what)
		if i < 0 {
			break
		}
		rest[i+len(what)-1] ^= 1
		rest = rest[i+1:]
	}
	check1(t, os.WriteFile(path, b, 0o600))
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		conf Config
		says string
	}{
		{Config{}, "Config.Dir is empty"},
		{Config{Dir: "x", MaxBytes: 5}, "Config.MaxBytes is 5; want at least 1 MiB"},
		{Config{Dir: "x", Every: -1}, "Config.Every is -1ns"},
	} {
		if _, err := Open(c.conf); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v; want %q", c.conf, err, c.says)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	check1(t, os.WriteFile(file, nil, 0o600))
	if _, err := Open(Config{Dir: file}); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// FuzzCheck has the pages of a file be anything: the check ends, with an error or without.
func FuzzCheck(f *testing.F) {
	dir, err := os.MkdirTemp("", "kv")
	check1(f, err)
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := mustOpen(f, quiet(dir))
	for i := range 200 {
		put(s, fmt.Sprint(i), 1, "some bytes of a profile that is not too short for a few pages")
	}
	check1(f, s.Close())
	good, err := os.ReadFile(filepath.Join(dir, fileName))
	check1(f, err)
	f.Add(good, uint32(0), byte(0))
	f.Add([]byte{}, uint32(1), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at uint32, by byte) {
		if len(b) > 0 {
			b[int(at)%len(b)] ^= by
		}
		_, err := check(bytes.NewReader(b), int64(len(b)), func(string, []byte) error { return nil })
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// Who learns that the rest has ended does not find in the store what ended with it.
func TestEndsTogether(t *testing.T) {
	for name, end := range map[string]func(*Store, func()){
		"a deletion": func(s *Store, end func()) { s.DeleteAs("1", end) },
		"a flush":    (*Store).FlushAs,
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, quiet(t.TempDir()))
			defer s.Close()
			put(s, "1", 1, "one")
			found := make(chan bool, 1)
			end(s, func() {
				go func() { _, ok := s.Get("1"); found <- ok }()
				select {
				case ok := <-found:
					found <- ok
				case <-time.After(20 * time.Millisecond):
				}
			})
			if <-found {
				t.Error("a reader who began after the end found what had ended")
			}
		})
	}
}

// A doubtful entry of which a change came to the file while it was looked at is not put back.
func TestVouchLooksAgain(t *testing.T) {
	s := mustOpen(t, quiet(t.TempDir()))
	defer s.Close()
	put(s, "1", 1, "one")
	s.commit()
	s.Flush()
	looked := s.exchange("1", func(held *Record) *Record {
		if held.Version == 1 {
			put(s, "1", 2, "two")
			s.commit()
			return held
		}
		return nil
	}, always)
	if held := holds(s, "1"); looked || held != 2 {
		t.Errorf("put back: %v; held: version %d", looked, held)
	}
}

// What is renewed takes the place of what is as old or older, and of nothing else: who compared an
// entry may be late, and a load may have brought a newer one meanwhile.
func TestRenewIsNotOlder(t *testing.T) {
	s := mustOpen(t, quiet(t.TempDir()))
	defer s.Close()
	renew := func(id string, version int64) bool {
		return s.Renew(id, Record{Version: version, Packed: []byte("renewed")}, always)
	}
	for _, where := range []string{"pending", "in the file"} {
		put(s, "1", 2, "two")
		if where == "in the file" {
			s.commit()
		}
		if renew("1", 1) || holds(s, "1") != 2 {
			t.Errorf("%s: version 1 took the place of 2", where)
		}
		if !renew("1", 2) || !renew("1", 3) || holds(s, "1") != 3 {
			t.Errorf("%s: holds version %d, want 3", where, holds(s, "1"))
		}
	}
	if renew("none", 1) {
		t.Error("nobody's entry was renewed")
	}
}
