package gossip

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/memberlist"
)

func TestKeysTurnWhileNodesRun(t *testing.T) {
	const n = 3
	old, new := theKey(), NewKey()
	files := make([]string, n)
	write := func(i int, keys ...[]byte) { must(t, WriteKeys(files[i], keys)) }
	nodes := several(t, n, func(i int, cfg *Config) {
		files[i] = filepath.Join(t.TempDir(), "keys")
		write(i, old)
		cfg.KeyFile = files[i]
	})
	everyone := func(what string, ok func(Member) bool) {
		t.Helper()
		await(t, what, func() bool {
			return !slices.ContainsFunc(nodes, func(c *Cluster) bool {
				members := c.Members()
				return len(members) != n || slices.ContainsFunc(members, func(m Member) bool { return !ok(m) })
			})
		})
	}
	for _, step := range []struct {
		what string
		keys [][]byte
		ids  []string
	}{
		{"added", [][]byte{old, new}, []string{KeyID(old), KeyID(new)}},
		{"used", [][]byte{new, old}, []string{KeyID(new), KeyID(old)}},
		{"removed", [][]byte{new}, []string{KeyID(new)}},
	} {
		for i := range nodes {
			write(i, step.keys...)
			await(t, "node reads its file", func() bool { return slices.Equal(nodes[i].Self().Keys, step.ids) })
		}
		everyone("each knows that each has the key "+step.what, func(m Member) bool {
			return slices.Equal(m.Keys, step.ids) && m.KeyID == step.ids[0]
		})
	}
	for _, c := range nodes {
		if s := c.Stats(); s.Leaves != 0 || s.KeyTurns != 3 || s.KeyErrors != 0 {
			t.Errorf("%s lost %d members while keys were turned %d times, with %d errors; want 0, 3, 0", c.cfg.Name, s.Leaves, s.KeyTurns, s.KeyErrors)
		}
	}
	intruder := start(t, Config{Name: "late", Keys: [][]byte{old}, Seeds: []string{nodes[0].Self().Addr}})
	late := start(t, Config{Name: "d", Keys: [][]byte{new}, Seeds: []string{nodes[0].Self().Addr}})
	await(t, "who has the new key is taken in", func() bool { return agree(nodes, n+1) && len(late.Members()) == n+1 })
	if len(intruder.Members()) != 1 {
		t.Errorf("who has only the removed key sees %q", names(intruder.Members()))
	}
}

func TestABrokenKeyFileChangesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	must(t, WriteKeys(file, [][]byte{theKey()}))
	logger, book := testLogbook(t)
	c := start(t, Config{KeyFile: file, Logger: logger})
	const said = "the keys stay as they are"
	for i, breakIt := range []func(){
		func() { must(t, os.WriteFile(file, []byte("nonsense\n"), 0o600)) },
		func() { must(t, os.Remove(file)) },
		func() { must(t, os.WriteFile(file, nil, 0o600)) },
	} {
		breakIt()
		await(t, "the file is found broken", func() bool { return c.Stats().KeyErrors == int64(i+1) })
	}
	key := NewKey()
	must(t, WriteKeys(file, [][]byte{key, theKey()}))
	await(t, "the file is whole again", func() bool { return c.Self().KeyID == KeyID(key) })
	if n := book.count(said); n != 3 {
		t.Errorf("three broken files were told in %d lines; want 3", n)
	}
	if book.count("nonsense") != 0 {
		t.Error("the log has a line of the key file")
	}
}

// TestTurnAnyRing goes from any ring to any other, while a reader walks through the keys, as
// memberlist does for each packet.
func TestTurnAnyRing(t *testing.T) {
	const seed = 5
	rng := rand.New(rand.NewPCG(seed, 1))
	all := make([][]byte, maxKeys)
	for i := range all {
		all[i] = NewKey()
	}
	pick := func() [][]byte {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return slices.Clone(all[:1+rng.IntN(len(all))])
	}
	ring, err := newKeyring(pick())
	must(t, err)
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			for _, k := range ring.GetKeys() {
				n += int(k[0])
			}
		}
	}()
	for range 500 {
		want := pick()
		must(t, turn(ring, want))
		got := ring.GetKeys()
		if !bytes.Equal(got[0], want[0]) || len(got) != len(want) {
			t.Fatalf("seed %d: the ring has %q; want %q", seed, keyIDs(got), keyIDs(want))
		}
		for _, k := range want {
			if !holds(ring, k) {
				t.Fatalf("seed %d: the ring has %q; want %q", seed, keyIDs(got), keyIDs(want))
			}
		}
	}
	close(stop)
	<-done
}

func holds(ring *memberlist.Keyring, key []byte) bool {
	return slices.ContainsFunc(ring.GetKeys(), func(k []byte) bool { return bytes.Equal(k, key) })
}

func TestWriteKeysKeepsModeAndLinks(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "keys"), filepath.Join(dir, "link")
	must(t, WriteKeys(file, [][]byte{theKey()}))
	must(t, os.Chmod(file, 0o640))
	must(t, os.Symlink(file, link))
	key := NewKey()
	must(t, WriteKeys(link, [][]byte{key, theKey()}))
	info, err := os.Lstat(link)
	must(t, err)
	if info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
	if info, err = os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v, error %v; want 0640", info.Mode(), err)
	}
	if keys, err := ReadKeys(file); err != nil || KeyID(keys[0]) != KeyID(key) {
		t.Errorf("the file has %q, error %v", keyIDs(keys), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d files are left; want 2", len(left))
	}
}
