package tier

import (
	"sync"
	"weak"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// view is a profile that was made from an answer for some callers, by an edge function. It is kept
// beside the answer that it was made from and ends with it: whatever makes L1 refuse that, an
// update, an invalidation, a flush, the time, makes the view unreachable at the same moment.
type view struct {
	by    uint64
	entry *entry // nil when err is set
	// profile is the entry's: to find it there would fetch the entry, which nobody else needs.
	profile *profile.Profile
	next    *view
	// The key lies in short if it fits, so that looking at it is no cache miss more.
	length int
	short  [inlineKey]byte
	long   string
	err    error
	// A view fills two lines of the processor's cache; most lookups want what lies in the first.
	_ [8]byte
}

// inlineKey is the longest key that a view holds in itself. One claim and no arguments take about
// 10 bytes.
const inlineKey = 48

func newView(by uint64, key []byte, e *entry, err error) *view {
	v := &view{by: by, err: err, length: len(key)}
	if err == nil {
		v.entry, v.profile = e, &e.profile
	}
	if copy(v.short[:], key) < len(key) {
		v.long = string(key)
	}
	return v
}

// is reports whether v is what by made under key.
func (v *view) is(by uint64, key []byte) bool {
	if v.by != by || v.length != len(key) {
		return false
	}
	if v.length <= inlineKey {
		return string(v.short[:v.length]) == string(key)
	}
	return v.long == string(key)
}

func (v *view) same(o *view) bool {
	return v.by == o.by && v.length == o.length && v.short == o.short && v.long == o.long
}

// maxViews is how many views one answer has; the oldest goes first.
const maxViews = 8

// viewOverhead is what a view takes beside its key and its profile: itself, and its place in the
// ring.
const viewOverhead = 240

// views bounds what all views of a node take; the zero value keeps none.
type views struct {
	max  int64
	mu   sync.Mutex
	ring []place // guarded by mu: answers that have views, the oldest first, from head on
	head int     // guarded by mu
	used int64   // guarded by mu
}

// place is an answer with a view, and what the view takes. The answer may be gone.
type place struct {
	of   weak.Pointer[entry]
	size int64
}

// Find returns the view of r that by made under key, and false if there is none. The result, or the
// error, is what was given to Keep; its tier and age are those of r.
func (r Result) Find(by uint64, key []byte) (Result, error, bool) {
	for v := r.from.views.Load(); v != nil; v = v.next {
		if v.is(by, key) {
			return r.seen(v)
		}
	}
	return Result{}, nil, false
}

func (r Result) seen(v *view) (Result, error, bool) {
	if v.entry == nil { // err itself lies in the second line
		return Result{}, v.err, true
	}
	return Result{Profile: v.profile, Tier: r.Tier, Age: r.Age, from: v.entry}, nil, true
}

// As returns r with another profile, which must have passed profile.Check: what a view shows in its
// place.
func (r Result) As(p *profile.Profile) Result {
	return newEntry(p).result(r.Tier, r.Age)
}

// Keep keeps what by made of r under key: shown, which is r itself or made by As, or an error. All
// that is kept takes about Config.ViewBytes at most; the oldest goes first.
func (c *Cache) Keep(r Result, by uint64, key []byte, shown Result, err error) {
	c.views.keep(r, by, key, shown, err)
}

func (vs *views) keep(r Result, by uint64, key []byte, shown Result, err error) {
	v := newView(by, key, shown.from, err)
	size := int64(viewOverhead + len(key))
	if v.entry != nil && v.entry != r.from {
		size += v.entry.cost()
	}
	if size > vs.max/2 || !r.from.addView(v) {
		return
	}
	vs.charge(place{weak.Make(r.from), size})
}

// addView puts v before the others, unless another caller was faster with the same. It keeps
// maxViews.
func (e *entry) addView(v *view) bool {
	for {
		old := e.views.Load()
		v.next = old
		for n, o := 1, v; o != nil; n, o = n+1, o.next {
			if o != v && o.same(v) {
				return false
			}
			if n == maxViews && o.next != nil {
				v.next = old.first(maxViews - 1)
			}
		}
		if e.views.CompareAndSwap(old, v) {
			return true
		}
	}
}

// first returns a copy of the first n of a list.
func (v *view) first(n int) *view {
	if v == nil || n == 0 {
		return nil
	}
	c := *v
	c.next = v.next.first(n - 1)
	return &c
}

// charge counts a view. Where there is no room the oldest answers lose all of theirs.
func (vs *views) charge(p place) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.ring = append(vs.ring, p)
	vs.used += p.size
	for vs.used > vs.max {
		oldest := vs.ring[vs.head]
		vs.ring[vs.head] = place{}
		vs.head++
		vs.used -= oldest.size
		if e := oldest.of.Value(); e != nil {
			e.views.Store(nil)
		}
	}
	if vs.head > len(vs.ring)/2 {
		vs.ring = append(vs.ring[:0], vs.ring[vs.head:]...)
		vs.head = 0
	}
}

// bytes returns about how many bytes the views take, those of answers that are gone included until
// their turn comes.
func (vs *views) bytes() int64 {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.used
}

// Fresh reports whether what is held answers as fresh now: a recent proof says that all changes
// were heard.
func (c *Cache) Fresh() bool { return c.alive(c.clock.nanos()) }
