package node

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
)

// stored is the number of the node that has a store.
const stored = 2

// giveStore gives a node the store in dir, and a tail that goes on from there. marks are what a
// perfect observer knew at each checkpoint, of the processes before as well.
func (m *model) giveStore(n *modelNode, dir string, marks map[string]shadow) *kv.Config {
	n.dir, n.marks = dir, marks
	return &kv.Config{Dir: dir, Every: 40 * time.Millisecond}
}

// storeTail is the tail of a node with a store; the node takes up what a perfect observer knew at
// the checkpoint.
func (m *model) storeTail(n *modelNode, conf stream.TailConfig) (*stream.Tail, error) {
	if at := n.store.Resume(); at != nil {
		n.shadow = n.marks[string(at)]
		n.shadow.flushes, n.shadow.reasons = 0, ""
		conf.Resume, n.resumes = at, true
	}
	conf.Checkpoint = func(at []byte) {
		// in the bubble's time: until the shadow has the read that this is of
		time.Sleep(time.Nanosecond)
		m.server.mu.Lock()
		n.marks[string(at)] = n.shadow
		m.server.mu.Unlock()
		n.store.Checkpoint(at)
	}
	return stream.NewTail(conf)
}

// restartNode ends the node that has a store as kill -9 would, between two of its transactions, and
// starts it again after others have changed users, and the stream maybe.
func (m *model) restartNode(s step) {
	old := m.nodes[stored]
	synctest.Wait()
	dir := m.t.TempDir()
	text, err := os.ReadFile(filepath.Join(old.dir, "profiles.bbolt"))
	check(m.t, err)
	check(m.t, os.WriteFile(filepath.Join(dir, "profiles.bbolt"), text, 0o600))
	if !m.recognizes(old, dir) {
		return
	}
	marks := maps.Clone(old.marks)
	m.journal.note("", "%s dies", old.judge.Name)
	check(m.t, old.Close())
	for id := range s.n {
		m.update(strconv.Itoa(1 + id%modelUsers))
	}
	switch s.n {
	case 1:
		m.trim(0)
	case 2:
		m.invalidate(s.user)
	case 3:
		m.delete(s.user)
	case 4:
		m.deleteStream()
	}
	time.Sleep(s.lasts)
	m.nodes[stored] = m.startNode(stored, dir, marks)
}

// recognizes reports whether what a node has left is of the stream that there is. One that took
// another's place unseen can look like it: see shadow.
func (m *model) recognizes(n *modelNode, dir string) bool {
	left, err := kv.Stat(dir)
	check(m.t, err)
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	now := m.server.data.streams[stream.Name]
	return left.Checkpoint == "" || now != nil && n.marks[left.Checkpoint].born == now.born
}
