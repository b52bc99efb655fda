package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/chatapp-ngomna/edgecache/internal/machine"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// goalMemory is the bytes a user that edgecache may take, all in.
	goalMemory = 600
	// notesSent is when a node has sent what it noted about who was read, up to 4 MiB, which it
	// does every 3 s.
	notesSent = 5 * time.Second
)

// memoryOrder is what a child that measures memory is asked for.
type memoryOrder struct {
	Holder, RedisURL string
	Users            int
	Seed             uint64
}

// memoryAnswer is what it measured, in bytes: growth from before the holder was made until all
// users are in it.
type memoryAnswer struct {
	// Heap is live memory after a collection; RSS is what the system counts, at once and after
	// unused memory was given back.
	Heap, RSS, Trimmed int64
	// Resident is how many users the holder has in the end.
	Resident int
}

// holders make what holds the users. They return how many it holds, and what keeps it alive.
func holders() map[string]func(context.Context, memoryOrder) (resident int, keep any, err error) {
	return map[string]func(context.Context, memoryOrder) (int, any, error){
		"map": holdInMap, "ristretto": holdInRistretto, "edgecache": holdInNode,
	}
}

// measureMemory tells what a user takes in a process that holds all of them.
func measureMemory(ctx context.Context, r *rig) ([]Table, error) {
	t := Table{
		Title: fmt.Sprintf("Memory, %d users in one process", r.Users), Unit: "B/user",
		Note: "live heap, all in: the profiles, the cache around them, and for edgecache a whole node with its stream and stamps. Each holder " +
			"has a process of its own, and a node has sent its notes of who was read, at most 4 MiB, before it is measured. RSS is what the system counts, first with the garbage of loading, then without",
	}
	for _, h := range []struct{ holder, name string }{
		{"map", "bare map[string]*Profile, decoded from JSON"}, {"ristretto", "ristretto of *Profile, decoded from JSON"},
		{"edgecache", "edgecache node, filled from Redis"},
	} {
		var a memoryAnswer
		if err := askChild(ctx, "memory", memoryOrder{h.holder, r.server.URL(), r.Users, r.Seed}, &a); err != nil {
			return nil, err
		}
		users := float64(a.Resident)
		row := newRow(h.name, []float64{float64(a.Heap) / users})
		row.Extras = []Extra{{"RSS B/user", float64(a.RSS) / users}, {"trimmed RSS B/user", float64(a.Trimmed) / users}, {"resident", users}}
		if h.holder == "edgecache" {
			row.Limit = goalMemory
		}
		row.against(&t, 0)
		t.Rows = append(t.Rows, row)
	}
	return []Table{t}, nil
}

var errHolder = errors.New("no holder of that name")

func memoryTask(ctx context.Context, argument []byte) (any, error) {
	var o memoryOrder
	if err := json.Unmarshal(argument, &o); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	hold := holders()[o.Holder]
	if hold == nil {
		return nil, fmt.Errorf("%w: %q", errHolder, o.Holder)
	}
	sample.User(o.Seed, 1) // its tables are not the holder's
	before := memoryNow()
	resident, keep, err := hold(ctx, o)
	if err != nil {
		return nil, err
	}
	rss := residentSet()
	after := memoryNow()
	runtime.KeepAlive(keep)
	return memoryAnswer{Heap: after.Heap - before.Heap, RSS: rss - before.RSS, Trimmed: after.RSS - before.RSS, Resident: resident}, nil
}

// memoryNow collects garbage, gives what is free back to the system, and measures.
func memoryNow() memoryAnswer {
	runtime.GC() // once more below: the first empties pools into a second generation
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memoryAnswer{Heap: int64(m.HeapAlloc), RSS: residentSet()}
}

// residentSet returns the bytes of this process that are in memory; 0 where the system does not
// tell.
func residentSet() int64 {
	kib, _, _ := strings.Cut(machine.Field("/proc/"+strconv.Itoa(os.Getpid())+"/status", "VmRSS"), " ")
	n, _ := strconv.ParseInt(kib, 10, 64)
	return n << 10
}

// decoded returns user i as a program has it that decodes JSON.
func (o memoryOrder) decoded(i int) (*profile.Profile, error) {
	p, err := profile.DecodeJSON(profile.AppendJSON(nil, sample.User(o.Seed, i)))
	if err != nil {
		return nil, err
	}
	return p, nil
}

func holdInMap(_ context.Context, o memoryOrder) (int, any, error) {
	m := make(map[string]*profile.Profile)
	for i := 1; i <= o.Users; i++ {
		p, err := o.decoded(i)
		if err != nil {
			return 0, nil, err
		}
		m[p.ID] = p
	}
	return len(m), m, nil
}

func holdInRistretto(_ context.Context, o memoryOrder) (int, any, error) {
	cache, err := ristretto.NewCache(&ristretto.Config[string, *profile.Profile]{
		NumCounters: 4 * l1Bytes / 512, MaxCost: l1Bytes, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return 0, nil, fmt.Errorf("ristretto: %w", err)
	}
	for i := 1; i <= o.Users; i++ {
		p, err := o.decoded(i)
		if err != nil {
			return 0, nil, err
		}
		if cache.Set(p.ID, p, meanEntry); i%1000 == 0 {
			cache.Wait() // the queue drops what does not fit
		}
	}
	cache.Wait()
	resident := 0
	for i := 1; i <= o.Users; i++ {
		if _, ok := cache.Get(strconv.Itoa(i)); ok {
			resident++
		}
	}
	return resident, cache, nil
}

func holdInNode(ctx context.Context, o memoryOrder) (resident int, _ any, err error) {
	n, err := node.New(node.Config{RedisURL: o.RedisURL, Origin: noOrigin{}})
	if err != nil {
		return 0, nil, err
	}
	if err := n.Start(ctx); err != nil {
		return 0, nil, errors.Join(err, n.Close())
	}
	// What the engine refused in the first pass because its queue was full, it takes in the second;
	// the third counts.
	for range 3 {
		if resident, err = readAll(ctx, n, o.Users); err != nil {
			return 0, nil, errors.Join(err, n.Close())
		}
	}
	select {
	case <-time.After(notesSent):
	case <-ctx.Done():
		return 0, nil, errors.Join(context.Cause(ctx), n.Close())
	}
	return resident, n, nil
}

// readAll reads users 1 to n and returns how many L1 had.
func readAll(ctx context.Context, n *node.Node, users int) (resident int, err error) {
	const page = 500
	ids := make([]string, 0, page)
	for i := 1; i <= users; i++ {
		if ids = append(ids, strconv.Itoa(i)); len(ids) < page && i < users {
			continue
		}
		b, err := n.BatchGet(ctx, ids, tier.Want{})
		if err != nil {
			return 0, err
		}
		if len(b.Found) != len(ids) {
			return 0, fmt.Errorf("%w: %d of %d users found, errors %v", errMiss, len(b.Found), len(ids), b.Errors)
		}
		for _, r := range b.Found {
			if r.Tier == look.FromL1 {
				resident++
			}
		}
		ids = ids[:0]
	}
	return resident, nil
}
