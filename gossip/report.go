package gossip

import (
	"encoding/binary"
	"slices"
	"time"
)

// Report is how a node does, as it tells the others. It is told with warmth, at most every two
// seconds, so what changes all the time is told in steps.
type Report struct {
	// Fenced says that its memory does not answer as fresh, RedisLost that Redis does not answer
	// it.
	Fenced, RedisLost bool
	// Leaving says that it is about to leave, so that its going is no death.
	Leaving bool
	// Origin is the state of its breaker for the origin: 0 closed, 1 half-open, 2 open.
	Origin uint8
	// Lag is how long ago the stream last proved that it has caught up, in whole seconds, 18 h at
	// most; 0 below a second.
	Lag time.Duration
	// Memory is how much of its capacity, in MiB, its memory for profiles uses, and MemoryWarmth
	// how much of what the last prewarm planned is in it: 0 to 1, in steps of 0.01.
	Memory       float64
	Capacity     uint32
	MemoryWarmth float64
	// Functions is how many edge functions it serves.
	Functions uint16
	// Store is the state of its store on disk, and StoreEntries how many users that holds.
	Store        StoreState
	StoreEntries uint32
	// Version is its build, in at most 48 bytes.
	Version string
}

// StoreState is the state of a node's store on disk.
type StoreState uint8

const (
	// StoreNone is that of a node without one.
	StoreNone StoreState = iota
	// StoreOn is that of a store in use.
	StoreOn
	// StoreAlone is that of one whose node has started without Redis and has not found it since.
	StoreAlone
	// StoreOff is that of a store that could not be opened, or was given up.
	StoreOff
)

// String returns "", "ok", "alone", "off", and "" for any other value.
func (s StoreState) String() string {
	if names := [...]string{"", "ok", "alone", "off"}; int(s) < len(names) {
		return names[s]
	}
	return ""
}

const (
	// maxVersion is the longest Report.Version, in bytes; the rest is cut off.
	maxVersion = 48
	// reportFixed are the bytes of a report without the text of its version.
	reportFixed = 16
	// reportBefore are they in metadata of metaStoreless, which tells nothing of a store.
	reportBefore = reportFixed - 4

	flagFenced, flagRedisLost, flagLeaving = 1, 2, 4
	originShift, storeShift                = 4, 6
	flagsKnown                             = flagFenced | flagRedisLost | flagLeaving | 3<<originShift | 3<<storeShift
	mostLag                                = 1<<16 - 1
)

// append adds the report to metadata:
//
//	flags | lag 2 | memory % | memory warmth % | capacity 4 | functions 2 | store 4 | len | version
func (r Report) append(b []byte) []byte {
	flags := (r.Origin&3)<<originShift | byte(r.Store&3)<<storeShift
	for flag, on := range map[byte]bool{flagFenced: r.Fenced, flagRedisLost: r.RedisLost, flagLeaving: r.Leaving} {
		if on {
			flags |= flag
		}
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(min(max(r.Lag/time.Second, 0), mostLag)))
	b = append(b, percent(r.Memory), percent(r.MemoryWarmth))
	b = binary.BigEndian.AppendUint32(b, r.Capacity)
	b = binary.BigEndian.AppendUint16(b, r.Functions)
	b = binary.BigEndian.AppendUint32(b, r.StoreEntries)
	version := r.Version[:min(len(r.Version), maxVersion)]
	return append(append(b, byte(len(version))), version...)
}

// decodeReport reads what append has written, and nothing else.
func decodeReport(b []byte) (r Report, err error) {
	if len(b) < reportFixed || len(b) != reportFixed+int(b[reportFixed-1]) || len(b) > reportFixed+maxVersion {
		return r, errMeta
	}
	flags, version := b[0], string(b[reportFixed:])
	if flags&^flagsKnown != 0 || b[3] > 100 || b[4] > 100 || !printable(version) {
		return r, errMeta
	}
	return Report{
		Fenced: flags&flagFenced != 0, RedisLost: flags&flagRedisLost != 0, Leaving: flags&flagLeaving != 0,
		Origin: flags >> originShift & 3, Store: StoreState(flags >> storeShift), Lag: time.Duration(binary.BigEndian.Uint16(b[1:])) * time.Second,
		Memory: float64(b[3]) / 100, MemoryWarmth: float64(b[4]) / 100,
		Capacity: binary.BigEndian.Uint32(b[5:]), Functions: binary.BigEndian.Uint16(b[9:]), StoreEntries: binary.BigEndian.Uint32(b[11:]), Version: version,
	}, nil
}

// decodeReportBefore reads what a node has written that knows of no store.
func decodeReportBefore(b []byte) (Report, error) {
	if len(b) < reportBefore || b[0]>>storeShift != 0 {
		return Report{}, errMeta
	}
	return decodeReport(slices.Concat(b[:reportBefore-1], make([]byte, reportFixed-reportBefore), b[reportBefore-1:]))
}

// SetReport tells the others how this node does.
func (c *Cluster) SetReport(r Report) { c.told.setReport(r) }
