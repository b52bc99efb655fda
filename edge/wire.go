package edge

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// The layouts of docs/edge-functions.md. A call gets
//
//	[1, profile, [claim, …], [argument, …], locale]
//
// with the claims and arguments that the function declares, in that order, nil for those that are
// not there, and the profile as docs/contracts.md has it. It returns the profile to show, or [0,
// reason].
const (
	inputVersion = 1
	codeArray5   = 0x95
	codeArray2   = 0x92
	codeNil      = 0xc0
	codeFixStr   = 0xa0
	codeFixArray = 0x90
	codeArray16  = 0xdc
	codeStr8     = 0xd9
	codeStr16    = 0xda
	codeBin8     = 0xc4
	codeBin16    = 0xc5
)

// AppendTail appends what a call of f gets after the profile: exactly what its answer depends on
// beside the profile. Errors wrap ErrRequest.
func (f *Function) AppendTail(dst []byte, r Request) ([]byte, error) {
	from := len(dst)
	dst = appendValues(dst, f.about.Claims, r.Claims)
	dst = appendValues(dst, f.about.Args, r.Args)
	if f.about.Locale && r.Locale != "" {
		dst = appendText(dst, r.Locale)
	} else {
		dst = append(dst, codeNil)
	}
	if n := len(dst) - from; n > MaxTail {
		return dst[:from], fmt.Errorf("%w: claims, arguments and locale take %d bytes; at most %d", ErrRequest, n, MaxTail)
	}
	return dst, nil
}

func appendValues(dst []byte, names []string, from Values) []byte {
	if n := len(names); n < 16 {
		dst = append(dst, codeFixArray|byte(n))
	} else {
		dst = append(dst, codeArray16, byte(n>>8), byte(n))
	}
	for _, name := range names {
		if from != nil {
			if text, ok := from.Value(name); ok {
				dst = appendText(dst, text)
				continue
			}
		}
		dst = append(dst, codeNil)
	}
	return dst
}

// appendText appends a text. One that is longer than the ABI can say is cut: it is over MaxTail all
// the same.
func appendText(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, codeFixStr|byte(n))
	case n < 1<<8:
		dst = append(dst, codeStr8, byte(n))
	default:
		s = s[:min(n, 1<<16-1)]
		dst = append(dst, codeStr16, byte(len(s)>>8), byte(len(s)))
	}
	return append(dst, s...)
}

// refusal returns the reason if output is [0, reason].
func refusal(output []byte) (reason string, ok bool, err error) {
	if len(output) < 2 || output[0] != codeArray2 {
		return "", false, nil
	}
	if output[1] != 0 {
		return "", false, fmt.Errorf("an array of 2 that does not begin with 0")
	}
	reason, rest := readText(output[2:])
	if len(rest) != 0 || reason == "" || len(reason) > MaxReason || !utf8.ValidString(reason) {
		return "", false, fmt.Errorf("a refusal without a reason of 1-%d bytes of UTF-8", MaxReason)
	}
	return reason, true, nil
}

// readText takes a text off b. What is no text comes back whole in rest.
func readText(b []byte) (text string, rest []byte) {
	n, head := 0, 0
	switch {
	case len(b) >= 1 && b[0]&0xe0 == codeFixStr:
		n, head = int(b[0]&0x1f), 1
	case len(b) >= 2 && (b[0] == codeStr8 || b[0] == codeBin8):
		n, head = int(b[1]), 2
	case len(b) >= 3 && (b[0] == codeStr16 || b[0] == codeBin16):
		n, head = int(b[1])<<8|int(b[2]), 3
	default:
		return "", b
	}
	if len(b)-head < n {
		return "", b
	}
	return strings.Clone(string(b[head : head+n])), b[head+n:]
}

// decode returns the profile that a function returned for that of the id and version, or a Failure.
// output is not kept.
func (f *Function) decode(output []byte, id string, version int64) (*profile.Profile, error) {
	if len(output) > profile.MaxSize {
		return nil, f.fail(ErrOutput, fmt.Sprintf("%d bytes; at most %d", len(output), profile.MaxSize))
	}
	reason, refused, err := refusal(output)
	if err != nil {
		return nil, f.fail(ErrOutput, err.Error())
	}
	if refused {
		return nil, f.fail(ErrRefused, reason)
	}
	p, err := profile.DecodeMsgpack(append([]byte(nil), output...))
	if err != nil {
		return nil, f.fail(ErrOutput, strings.TrimPrefix(err.Error(), "profile: "))
	}
	if p.ID != id || p.UpdatedAt != version {
		return nil, f.fail(ErrIdentity, fmt.Sprintf("%q at %d became %.128q at %d", id, version, p.ID, p.UpdatedAt))
	}
	if err := p.Check(); err != nil {
		return nil, f.fail(ErrOutput, strings.TrimPrefix(err.Error(), "profile: "))
	}
	return p, nil
}

func (f *Function) fail(why error, detail string) *Failure {
	return &Failure{Function: f.name, Err: why, Detail: detail}
}
