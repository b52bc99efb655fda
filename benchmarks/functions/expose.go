package functions

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// expose returns a module that also exports its mutable globals, as g0, g1 and so on, so that they
// can be put back without rewriting anything else. It knows what the examples have: globals of i32
// with a constant.
func expose(wasm []byte) (out []byte, names []string, err error) {
	const header = 8
	out = append(out, wasm[:header]...)
	for rest := wasm[header:]; len(rest) > 0; {
		size, n := binary.Uvarint(rest[1:])
		id, body := rest[0], rest[1+n:1+n+int(size)]
		rest = rest[1+n+int(size):]
		switch id {
		case 6:
			if names, err = mutable(body); err != nil {
				return nil, nil, err
			}
		case 7:
			body = withExports(body, names)
		}
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	return out, names, nil
}

// mutable names the mutable globals of a section; the name ends with the index.
func mutable(section []byte) (names []string, err error) {
	count, n := binary.Uvarint(section)
	at := n
	for i := range count {
		if section[at] != 0x7f || section[at+2] != 0x41 {
			return nil, errors.New("a global that is no i32 with a constant")
		}
		if section[at+1] == 1 {
			names = append(names, fmt.Sprint("g", i))
		}
		for at += 3; section[at] >= 0x80; at++ {
		}
		at += 2
	}
	return names, nil
}

func withExports(section []byte, names []string) []byte {
	count, n := binary.Uvarint(section)
	out := append(binary.AppendUvarint(nil, count+uint64(len(names))), section[n:]...)
	for _, name := range names {
		var index uint64
		_, _ = fmt.Sscanf(name, "g%d", &index)
		out = append(binary.AppendUvarint(out, uint64(len(name))), name...)
		out = binary.AppendUvarint(append(out, 3), index)
	}
	return out
}
