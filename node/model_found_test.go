package node

import (
	"testing"
	"testing/synctest"
	"time"
)

// What the model has found, each as a test of its own.

// A load that began before another load of the node brought a newer version, and hangs on Redis meanwhile, does not answer
// readers that came after with what Redis has. Two loads of one user are under way because the node was flushed between them.
func TestLoadThatHangsDoesNotTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, new(compiled))
		defer m.close()
		n := m.nodes[0]
		m.update("2")
		time.Sleep(time.Second)
		n.cache.Flush()
		n.flushed++
		n.data.hush(true)
		m.truth.set(person("2", 3)) // and nobody is told
		m.look(n, "2")              // is answered by the origin, after a second of waiting for Redis
		time.Sleep(300 * time.Millisecond)
		n.cache.Flush()
		n.flushed++
		m.look(n, "2")
		time.Sleep(900 * time.Millisecond)
		m.look(n, "2") // joins the second load
		time.Sleep(300 * time.Millisecond)
		n.data.heal()
		synctest.Wait()
		check(t, m.settled())
	})
}
