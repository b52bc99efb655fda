package gossip

import (
	"encoding/hex"
	"errors"
	"math"

	"github.com/hashicorp/memberlist"
)

const (
	// metaVersion is the first byte of the metadata that this version writes. It understands
	// metaStoreless as well, whose report tells nothing of a store, and metaWithout, which has
	// none.
	metaVersion   = 3
	metaStoreless = 2
	metaWithout   = 1
	metaFixed     = 5 // version, weight, warmth in percent, number of key ids, length of HTTP
	keyIDSize     = 4 // bytes
)

var (
	errMetaVersion = errors.New("gossip: metadata of an unknown version")
	errMeta        = errors.New("gossip: malformed metadata")
)

// meta is what a node tells of itself. It fits by construction: memberlist ends the process over
// more than 512 bytes.
//
//	version | weight | warmth | n | n × 4 bytes of key id, the primary's first | len | HTTP | report
type meta struct {
	weight int
	warmth float64
	keys   []string
	http   string
	report Report
}

const (
	mostMeta      = metaFixed + maxKeys*keyIDSize + maxHTTP + reportFixed + maxVersion
	_        uint = memberlist.MetaMaxSize - mostMeta // does not compile when negative
)

func (m meta) encode() []byte {
	b := make([]byte, 0, metaFixed+len(m.keys)*keyIDSize+len(m.http))
	b = append(b, metaVersion, byte(m.weight), percent(m.warmth), byte(len(m.keys)))
	for _, id := range m.keys {
		b, _ = hex.AppendDecode(b, []byte(id))
	}
	b = append(b, byte(len(m.http)))
	return m.report.append(append(b, m.http...))
}

// decodeMeta returns what can be known of any member: with an error, weight 1 and nothing else.
func decodeMeta(b []byte) (meta, error) {
	unknown := meta{weight: 1}
	switch {
	case len(b) > 0 && (b[0] < metaWithout || b[0] > metaVersion):
		return unknown, errMetaVersion
	case len(b) < metaFixed || len(b) > mostMeta:
		return unknown, errMeta
	}
	n := int(b[3])
	if b[1] < 1 || b[1] > maxWeight || b[2] > 100 || n > maxKeys || len(b) < metaFixed+n*keyIDSize {
		return unknown, errMeta
	}
	m := meta{weight: int(b[1]), warmth: float64(b[2]) / 100}
	rest := b[4:]
	for ; n > 0; n-- {
		m.keys = append(m.keys, hex.EncodeToString(rest[:keyIDSize]))
		rest = rest[keyIDSize:]
	}
	err := m.end(b[0], rest)
	return m, err
}

// end reads what follows the keys: the address, and in all but old metadata the report.
func (m *meta) end(version byte, rest []byte) (err error) {
	to := 1 + int(rest[0])
	if len(rest) < to || version == metaWithout && len(rest) > to || !printable(string(rest[1:to])) {
		*m = meta{weight: 1}
		return errMeta
	}
	m.http = string(rest[1:to])
	decode := decodeReport
	switch version {
	case metaWithout:
		return nil
	case metaStoreless:
		decode = decodeReportBefore
	}
	if m.report, err = decode(rest[to:]); err != nil {
		*m = meta{weight: 1}
	}
	return err
}

// percent rounds down, so that a node is fully warm only when it is. Not a number is cold.
func percent(share float64) byte {
	if !(share > 0) {
		return 0
	}
	return byte(math.Floor(min(share, 1)*100 + 1e-9))
}
