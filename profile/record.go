package profile

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// The Redis field ext holds what the plain fields beside it do not say, and a seal by which a
// reader knows that nobody has changed them since edgecache wrote the record:
//
//	[2, nom, prenom, {attribute: value, …}, sum, version]
//
// sum covers the plain fields, version repeats updatedAt; both have a fixed length, so that a
// script finds the version in the last 8 bytes and a caller compares the last 14. Layout 1 had no
// seal: [1, nom, prenom, attrs].
const (
	extVersion = 2
	extLen     = 6
	oldExtLen  = 4
	// SealLen is the length of a seal at the end of ext, in bytes.
	SealLen = 5 + 9
)

// AppendExt appends the msgpack of ext for p.
func AppendExt(dst []byte, p *Profile) []byte {
	dst = append(dst, msgpcode.FixedArrayLow|extLen, extVersion)
	dst = appendStr(dst, p.Nom)
	dst = appendStr(dst, p.Prenom)
	dst = appendAttrs(dst, p.Attrs)
	dst = binary.BigEndian.AppendUint32(append(dst, msgpcode.Uint32), plainSum(p))
	return binary.BigEndian.AppendUint64(append(dst, msgpcode.Uint64), uint64(p.UpdatedAt))
}

// plainSum covers the plain fields of p's Redis hash but for updatedAt.
func plainSum(p *Profile) uint32 {
	var sum uint64
	for _, s := range [...]string{p.FullName, p.Avatar, p.Matricule, p.Ministere, p.Sexe} {
		sum = sum*0x9e3779b97f4a7c15 + xxhash.Sum64String(s)
	}
	return uint32(sum>>32) ^ uint32(sum)
}

// Trust says what a record in Redis is worth.
type Trust uint8

const (
	// Sealed is a record as edgecache wrote it.
	Sealed Trust = iota
	// Hint is one that another service wrote or changed: a whole record, and good until the source
	// of truth has been asked.
	Hint
	// Partial is a Hint that lacks one of the plain fields, or has no version that can be read.
	Partial
)

// String returns "sealed", "hint" or "partial", and "trust(n)" for any other value.
func (t Trust) String() string {
	if names := [...]string{"sealed", "hint", "partial"}; int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("trust(%d)", uint8(t))
}

// Record reads a profile's Redis hash, field by field, into Profile.
type Record struct {
	// Profile is what is read into; its ID is the caller's to set.
	Profile *Profile
	// Seal is what tells one record of edgecache from another: the end of ext, empty when there is
	// no ext. It shares memory with the value of ext.
	Seal string

	plain   uint8 // which of the plain fields were there
	sealed  bool
	sum     uint32
	version int64
	// nom and prenom as plain fields, which only others write.
	nom, prenom string
}

// The bits of Record.plain.
const (
	hasFullName = 1 << iota
	hasAvatar
	hasMatricule
	hasMinistere
	hasSexe
	hasUpdatedAt
	hasAll = 1<<iota - 1
)

// Set takes one field. Fields that it does not know are ignored. The profile's strings then point
// into value. Errors wrap ErrMalformed or ErrTooLarge, and come from ext alone: what is wrong in
// the fields of others makes the record a hint.
func (r *Record) Set(name, value string) error {
	p := r.Profile
	switch name {
	case FieldFullName:
		p.FullName, r.plain = value, r.plain|hasFullName
	case FieldAvatar:
		p.Avatar, r.plain = value, r.plain|hasAvatar
	case FieldMatricule:
		p.Matricule, r.plain = value, r.plain|hasMatricule
	case FieldMinistere:
		p.Ministere, r.plain = value, r.plain|hasMinistere
	case FieldSexe:
		p.Sexe, r.plain = value, r.plain|hasSexe
	case FieldUpdatedAt:
		r.setVersion(value)
	case FieldExt:
		return r.setExt(value)
	case "nom":
		r.nom = value
	case "prenom":
		r.prenom = value
	}
	return nil
}

func (r *Record) setVersion(value string) {
	v, err := strconv.ParseInt(value, 10, 64)
	if err == nil && CheckVersion(v) == nil {
		r.Profile.UpdatedAt, r.plain = v, r.plain|hasUpdatedAt
	}
}

func (r *Record) setExt(value string) error {
	in := reader{rest: unsafe.Slice(unsafe.StringData(value), len(value))}
	if len(value) > MaxSize {
		in.fail("too large")
	}
	length, layout := in.array(), in.uint()
	switch {
	case length == extLen && layout == extVersion, length == oldExtLen && layout == layoutVersion:
	default:
		in.fail("unknown layout of ext")
	}
	nom, prenom, attrs := in.str(), in.str(), in.attrs()
	if layout == extVersion {
		r.sum, r.version = uint32(in.uint()), in.version()
	}
	if err := in.end(len(value)); err != nil {
		return fmt.Errorf("ext: %w", err)
	}
	r.sealed = layout == extVersion
	if len(value) >= SealLen {
		r.Seal = value[len(value)-SealLen:]
	}
	r.Profile.Nom, r.Profile.Prenom, r.Profile.Attrs = nom, prenom, attrs
	return nil
}

// Trust ends the reading, and says what the record is worth. latest returns the highest number that
// a service whose clock is right can have written, in milliseconds since 1970; a hint above that
// has no version. A hint has no part of an earlier name beside a new one.
func (r *Record) Trust(latest func() int64) Trust {
	p := r.Profile
	if r.sealed && r.plain == hasAll && r.version == p.UpdatedAt && r.sum == plainSum(p) {
		return Sealed
	}
	if p.UpdatedAt > latest() {
		p.UpdatedAt = 0
	}
	r.reconcile()
	if r.plain == hasAll {
		return Hint
	}
	return Partial
}

// reconcile gives a hint the names that agree with each other.
func (r *Record) reconcile() {
	p := r.Profile
	switch {
	case r.nom != "" || r.prenom != "":
		p.Nom, p.Prenom = r.nom, r.prenom
	case p.FullName != "" && p.FullName != p.Prenom+" "+p.Nom:
		p.Nom, p.Prenom = "", ""
	}
	p.Complete()
}
