//go:build wasip1

package guest

import "unsafe"

var (
	about string
	view  func(Call) []byte
	// kept is what the host knows addresses of, so that the collector leaves it.
	kept [][]byte
)

// Serve says what the function reads, as JSON, and what it does.
func Serve(description string, f func(Call) []byte) { about, view = description, f }

func span(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	kept = append(kept, b)
	return uint64(uintptr(unsafe.Pointer(&b[0])))<<32 | uint64(len(b))
}

//go:wasmexport edgecache_alloc
func alloc(size int32) unsafe.Pointer {
	b := make([]byte, size)
	kept = append(kept, b)
	return unsafe.Pointer(&b[0])
}

//go:wasmexport edgecache_describe
func describe() uint64 { return span([]byte(about)) }

//go:wasmexport edgecache_view
func call(input unsafe.Pointer, size int32) uint64 {
	return span(view(Read(unsafe.Slice((*byte)(input), size))))
}
