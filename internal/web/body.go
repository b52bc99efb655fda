package web

import (
	"errors"
	"fmt"
	"io"

	"github.com/valyala/fasthttp"
)

var (
	// ErrTooLarge reports a body above its limit.
	ErrTooLarge = errors.New("web: the request body is too large")
	// ErrTruncated reports a body that ended early or is not framed as HTTP wants it.
	ErrTruncated = errors.New("web: the request body is cut short")
	// ErrNoBody reports a body with a request that takes none.
	ErrNoBody = errors.New("web: the request takes no body")
)

// Stream makes s hand requests over before their bodies have arrived: ReadBody reads them, and
// their limits are its own. Its ExpectHandler must refuse announced lengths above largest; it is
// asked for those whether the client waits or not.
func Stream(s *fasthttp.Server, largest int) {
	s.StreamRequestBody = true
	s.HeaderReceived = func(h *fasthttp.RequestHeader) (none fasthttp.RequestConfig) {
		if h.ContentLength() > largest {
			// else the server would wait for the first byte
			h.Set(fasthttp.HeaderExpect, "100-continue")
		}
		return none
	}
	// It is what the server reads before the handler runs, of a buffer that it keeps. No body is
	// refused for it.
	s.MaxRequestBodySize = 1
}

// Body is the body of a request.
type Body struct {
	// Bytes are the body. They belong to the caller.
	Bytes []byte
	hold  Hold
}

// Release says that the bytes are not used any more. It may be called twice, and on nil.
func (b *Body) Release() {
	if b != nil {
		b.Bytes = nil
		b.hold.Release()
	}
}

// ReadBody reads a body of up to limit bytes. Its memory grows with what arrives, whatever length
// was announced, and counts in b. It returns ErrTooLarge, ErrBusy, ErrTruncated or an error of the
// network; an error ends the connection.
func (b *Budget) ReadBody(ctx *fasthttp.RequestCtx, limit int) (*Body, error) {
	body := &Body{hold: Hold{budget: b}}
	announced := ctx.Request.Header.ContentLength()
	if announced > limit {
		return nil, ErrTooLarge
	}
	stream := ctx.RequestBodyStream()
	if stream == nil || announced == 0 {
		return body, nil
	}
	if announced > 0 {
		limit = announced
	}
	if err := body.read(stream, limit, announced); err != nil {
		body.Release()
		return nil, err
	}
	return body, ctx.Request.CloseBodyStream() // wholly read: the connection may be used again
}

// read reads to the end of the body. The buffer has room for one byte more than limit, which tells
// that there is more.
func (b *Body) read(stream io.Reader, limit, announced int) error {
	buf := make([]byte, 0, min(limit+1, 512))
	for {
		n, err := stream.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return ErrTooLarge
		case errors.Is(err, io.EOF) && announced >= 0 && len(buf) < announced:
			return ErrTruncated
		case errors.Is(err, io.EOF):
			b.Bytes = buf
			return nil
		case err != nil:
			return readError(err)
		}
		if len(buf) < cap(buf) {
			continue
		}
		room := min(2*cap(buf), limit+1)
		if err := b.hold.Grow(room); err != nil {
			return err
		}
		buf = append(make([]byte, 0, room), buf...)
	}
}

// readError keeps what a timeout is; all else is a body that cannot be read.
func readError(err error) error {
	if timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && timeout.Timeout() {
		return err
	}
	return fmt.Errorf("%w: %w", ErrTruncated, err)
}

// Unwanted returns ErrNoBody for a body with a lookup. Those of other methods that nobody reads end
// the connection.
func Unwanted(ctx *fasthttp.RequestCtx) error {
	if n := ctx.Request.Header.ContentLength(); n == 0 || n == -2 || !ctx.IsGet() && !ctx.IsHead() {
		return nil
	}
	return ErrNoBody
}

// EndUnread ends the connection of a request whose body was not read to its end: what is left of it
// is no request.
func EndUnread(ctx *fasthttp.RequestCtx) {
	if ctx.Request.IsBodyStream() && ctx.Request.Header.ContentLength() != 0 {
		ctx.SetConnectionClose()
	}
}
