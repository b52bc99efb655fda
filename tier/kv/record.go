package kv

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
	"unsafe"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Record is what is held of one user.
type Record struct {
	// Version is the profile's.
	Version int64
	// Loaded is when its load began, by the machine's clock.
	Loaded time.Time
	// Origin says that the source of truth gave it, and not Redis or an event.
	Origin bool
	// Inherited says that it is from an earlier session, or from before a gap after which only its
	// version was compared. Put does not take it.
	Inherited bool
	// Packed is the profile in msgpack. Put keeps it: it must not change.
	Packed []byte

	session, generation uint32
}

// The layout of a value:
//
//	0   layout
//	1   CRC-32C of the id and of all that follows
//	5   flags
//	6   generation
//	10  session
//	14  version
//	22  loaded, nanoseconds since 1970
//	30  the profile in msgpack
const (
	atSum        = 1
	atFlags      = 5
	atGeneration = 6
	atSession    = 10
	atVersion    = 14
	atLoaded     = 22
	headSize     = 30

	flagOrigin = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(id string, value []byte) uint32 {
	key := unsafe.Slice(unsafe.StringData(id), len(id)) // is read only
	crc := crc32.Update(0, castagnoli, key)
	return crc32.Update(crc, castagnoli, value[atFlags:])
}

// appendTo appends the value of r under id.
func (r *Record) appendTo(values []byte, id string) []byte {
	from := len(values)
	values = append(values, make([]byte, headSize)...)
	values = append(values, r.Packed...)
	b := values[from:]
	b[0] = layout
	if r.Origin {
		b[atFlags] = flagOrigin
	}
	binary.LittleEndian.PutUint32(b[atGeneration:], r.generation)
	binary.LittleEndian.PutUint32(b[atSession:], r.session)
	binary.LittleEndian.PutUint64(b[atVersion:], uint64(r.Version))
	binary.LittleEndian.PutUint64(b[atLoaded:], uint64(r.Loaded.UnixNano()))
	binary.LittleEndian.PutUint32(b[atSum:], sum(id, b))
	return values
}

// decode reads the value of id; Packed points into it. Errors wrap ErrDamaged.
func decode(id string, b []byte) (r Record, err error) {
	switch {
	case len(b) < headSize || len(b) > headSize+profile.MaxSize:
		return r, fmt.Errorf("%w: the value of %q has %d bytes", ErrDamaged, id, len(b))
	case b[0] != layout:
		return r, fmt.Errorf("%w: the value of %q has layout %d", ErrDamaged, id, b[0])
	case binary.LittleEndian.Uint32(b[atSum:]) != sum(id, b):
		return r, fmt.Errorf("%w: the value of %q has another checksum", ErrDamaged, id)
	}
	return Record{
		Version: int64(binary.LittleEndian.Uint64(b[atVersion:])),
		Loaded:  time.Unix(0, int64(binary.LittleEndian.Uint64(b[atLoaded:]))),
		Origin:  b[atFlags]&flagOrigin != 0, Packed: b[headSize:],
		generation: binary.LittleEndian.Uint32(b[atGeneration:]),
		session:    binary.LittleEndian.Uint32(b[atSession:]),
	}, nil
}
