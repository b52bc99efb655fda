// Package web holds what the HTTP servers of edgecache share: how request bodies are read, what
// bodies and answers may hold together, and which requests of browsers are refused.
package web

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

const (
	// Free is how many bytes a body or an answer may have without being counted: what one
	// connection costs anyway.
	Free = 4 << 10
	// MaxHeld is what the counted bodies and answers of one server hold together.
	MaxHeld = 12 << 20
)

// ErrBusy reports that the bodies and answers of other requests hold all that they may.
var ErrBusy = errors.New("web: too much is being read and written at once")

// Budget counts the bytes of the bodies that are being read and the answers that are being written.
// The zero value is ready for use; all methods may be called concurrently.
type Budget struct{ used atomic.Int64 }

// take reports whether n more bytes may be held. One that is alone may be as large as it is.
func (b *Budget) take(n int64) bool {
	if used := b.used.Add(n); used > MaxHeld && used > n {
		b.used.Add(-n)
		return false
	}
	return true
}

// Used returns how many bytes are held now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Hold returns what one body or answer of n bytes holds, or ErrBusy. Release it.
func (b *Budget) Hold(n int) (*Hold, error) {
	h := &Hold{budget: b}
	return h, h.Grow(n)
}

// Hold is what one body or answer holds of a Budget. It is used by one goroutine at a time.
type Hold struct {
	budget *Budget
	n      int64
}

// Grow makes h hold n bytes, or returns ErrBusy and changes nothing. It never makes it hold less.
func (h *Hold) Grow(n int) error {
	more := int64(n) - h.n
	if n <= Free || more <= 0 {
		return nil
	}
	if !h.budget.take(more) {
		return ErrBusy
	}
	h.n = int64(n)
	return nil
}

// Release gives back what h holds. It may be called twice.
func (h *Hold) Release() {
	h.budget.used.Add(-h.n)
	h.n = 0
}

// Send makes body the answer, which holds what h held until it is written or given up; h is empty
// then.
func (h *Hold) Send(r *fasthttp.Response, body []byte) {
	a := &answer{rest: body, hold: *h}
	h.n = 0
	r.SetBodyStream(a, len(body))
}

// Count has an answer that is already made counted until it is written. It returns ErrBusy when
// there is no room.
func (b *Budget) Count(r *fasthttp.Response) error {
	if r.IsBodyStream() || len(r.Body()) <= Free {
		return nil
	}
	body := r.Body()
	h, err := b.Hold(len(body))
	if err != nil {
		return err
	}
	r.SwapBody(nil) // the pool of bodies shall not have it
	h.Send(r, body)
	return nil
}

// answer is a body that is being written. The server closes it when it is written, and when it
// cannot be.
type answer struct {
	rest []byte
	hold Hold
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// WriteTo writes all at once.
func (a *answer) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(a.rest)
	a.rest = a.rest[n:]
	return int64(n), err
}

// Close gives back what the answer holds.
func (a *answer) Close() error {
	a.rest = nil
	a.hold.Release()
	return nil
}
