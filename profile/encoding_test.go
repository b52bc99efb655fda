package profile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5"
)

func TestMsgpackRoundTrip(t *testing.T) {
	long := sample()
	long.Avatar = strings.Repeat("a", 300)
	long.Ministere = strings.Repeat("é", 20)
	long.Attrs = map[string]string{}
	for i := range 40 {
		long.Attrs[strings.Repeat("k", i+1)] = strings.Repeat("v", i*9)
	}
	for _, p := range []*Profile{sample(), {ID: "1"}, long, {ID: "2", UpdatedAt: MaxVersion}, {ID: "3", UpdatedAt: 200}} {
		got, err := DecodeMsgpack(AppendMsgpack(nil, p))
		if err != nil || !equal(got, p) {
			t.Errorf("round trip of %q: %+v, %v", p.ID, got, err)
		}
		if got != nil && len(p.Attrs) == 0 && got.Attrs != nil {
			t.Errorf("round trip of %q: attributes %v, want nil", p.ID, got.Attrs)
		}
	}
}

func TestMsgpackIsReadableByTheLibrary(t *testing.T) {
	var got []any
	if err := msgpack.Unmarshal(AppendMsgpack(nil, sample()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != layoutLen || got[1] != "123" || got[4] != "Amélie Ngo Mbé" || got[9] != uint64(1700000000123) {
		t.Errorf("the library reads %v", got)
	}
	for _, version := range []any{uint8(7), int64(1700000000123), uint16(700), int8(7)} {
		b, err := msgpack.Marshal([]any{1, "123", "", "", "", "", "", nil, "", version, map[string]string{"a": "b"}})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := DecodeMsgpack(b); err != nil || p.Attrs["a"] != "b" || p.UpdatedAt == 0 {
			t.Errorf("version as %T: %+v, %v", version, p, err)
		}
	}
}

func TestStringsPointIntoThePackedBytes(t *testing.T) {
	b := AppendMsgpack(nil, sample())
	plain := &Profile{ID: "1", FullName: "Jean Dupont", UpdatedAt: 5}
	packed := AppendMsgpack(nil, plain)
	p, err := DecodeMsgpack(b)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[strings.Index(string(b), "623456"):], "999999")
	if p.Matricule != "999999-K" {
		t.Errorf("matricule %q does not follow its bytes", p.Matricule)
	}
	var into Profile
	if n := testing.AllocsPerRun(100, func() { _ = DecodeMsgpackInto(&into, packed) }); n != 0 {
		t.Errorf("DecodeMsgpackInto allocates %v times, want 0", n)
	}
}

func TestPackedProfileStandsInItsBytes(t *testing.T) {
	for _, n := range []int{0, 1, 31, 32, 255, 256, 40_000} {
		for _, attrs := range []map[string]string{nil, {"room": "7"}} {
			p := sample()
			p.Nom, p.Sexe, p.Attrs = strings.Repeat("n", n), strings.Repeat("s", min(n, 300)), attrs
			want := AppendMsgpack(nil, p)
			b := Pack(p)
			if !bytes.Equal(b, want) || !bytes.Equal(AppendMsgpack(nil, p), want) {
				t.Errorf("a name of %d bytes: the profile is not what was packed: %.200v", n, p)
			}
			for i, s := range p.texts() {
				if from := uintptr(unsafe.Pointer(unsafe.SliceData(b))); *s != "" {
					if at := uintptr(unsafe.Pointer(unsafe.StringData(*s))); at < from || at >= from+uintptr(len(b)) {
						t.Errorf("a name of %d bytes: string %d lies outside the packed bytes", n, i)
					}
				}
			}
		}
	}
}

// hostile is input that a reflection decoder answers with gigabytes, a dead stack or half a value.
func hostile() map[string][]byte {
	good := AppendMsgpack(nil, sample())
	with := func(b ...byte) []byte { return append([]byte{0x9b, 1}, b...) }
	h := map[string][]byte{
		"empty": {}, "nil": {0xc0}, "array32": {0xdd, 0xff, 0xff, 0xff, 0xff}, "map32": {0xdf, 0xff, 0xff, 0xff, 0xff},
		"bin32 of 2 GiB": with(0xc6, 0x7f, 0xff, 0xff, 0xff), "str32 of 4 GiB": with(0xdb, 0xff, 0xff, 0xff, 0xff),
		"array16": {0xdc, 0xff, 0xff}, "8 MB of nesting": []byte(strings.Repeat("\x91", 8<<20)),
		"nesting in a field": with([]byte(strings.Repeat("\x91", 60<<10))...), "trailing": append(good[:len(good):len(good)], 0),
		"layout 2": append([]byte{0x9b, 2}, good[2:]...), "ten elements": append([]byte{0x9a, 1}, good[2:]...),
		"integer as id": with(5), "too large": append(good[:len(good):len(good)], make([]byte, MaxSize)...),
	}
	for i := range good {
		h["cut at "+string(rune('0'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10))] = good[:i:i]
	}
	head := AppendMsgpack(nil, &Profile{ID: "1"})
	head = head[:len(head)-2] // without version and attributes
	h["attrs of 2^32"] = append(head[:len(head):len(head)], 1, 0xdf, 0xff, 0xff, 0xff, 0xff)
	h["attrs twice"] = append(head[:len(head):len(head)], 1, 0x82, 0xa1, 'a', 0xa0, 0xa1, 'a', 0xa0)
	h["attrs of 65,535"] = append(append(head[:len(head):len(head)], 1, 0xde, 0xff, 0xff), make([]byte, 60000)...)
	h["negative version"] = append(head[:len(head):len(head)], 0xff, 0x80)
	h["int64 -1"] = append(binary.BigEndian.AppendUint64(append(head[:len(head):len(head)], 0xd3), ^uint64(0)), 0x80)
	h["version 2^53"] = append(binary.BigEndian.AppendUint64(append(head[:len(head):len(head)], 0xcf), 1<<53), 0x80)
	h["float version"] = append(append(head[:len(head):len(head)], 0xcb), make([]byte, 9)...)
	h["bad id"] = AppendMsgpack(nil, &Profile{ID: "a b"})
	return h
}

func TestHostileMsgpackIsRefusedCheaply(t *testing.T) {
	for name, b := range hostile() {
		before, started := allocated(), time.Now()
		p, err := DecodeMsgpack(b)
		took, bytes := time.Since(started), allocated()-before
		if p != nil || (!errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge)) {
			t.Errorf("%s: decoded to %v, %v", name, p, err)
		}
		if bytes > 64<<10 {
			t.Errorf("%s: allocated %d bytes, want at most 64 KiB", name, bytes)
		}
		t.Logf("%s: %v, %d bytes allocated", name, took, bytes)
		kept := Profile{ID: "kept"}
		if DecodeMsgpackInto(&kept, b) == nil || kept.ID != "kept" || kept.Nom != "" {
			t.Errorf("%s: a partial value escaped: %+v", name, kept)
		}
	}
}

// allocated returns the bytes that this process has allocated since it began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestJSONEqualsEncodingJSON(t *testing.T) {
	type plain Profile // without MarshalJSON
	tricky := sample()
	tricky.FullName = "\"\\\b\n\x00\x1f\x7f<b>&é漢字\u2028 \U0001F600"
	for _, p := range []*Profile{sample(), {ID: "1"}, tricky} {
		var a, b any
		mine, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%s: %v", mine, err)
		}
		theirs, _ := json.Marshal((*plain)(p))
		if json.Unmarshal(mine, &a) != nil || json.Unmarshal(theirs, &b) != nil {
			t.Fatalf("not JSON: %s", mine)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if string(x) != string(y) {
			t.Errorf("AppendJSON gives %s, encoding/json %s", x, y)
		}
		back, err := DecodeJSON(mine)
		if err != nil || !equal(back, p) {
			t.Errorf("round trip: %+v, %v", back, err)
		}
	}
	if got := string(AppendJSONString(nil, "a\xffb")); got != "\"a\uFFFDb\"" {
		t.Errorf("broken UTF-8 gives %q", got)
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"": ErrMalformed, "[]": ErrMalformed, `{"id":"1"} x`: ErrMalformed, `{"id":"1"}]`: ErrMalformed, `{"id":1}`: ErrMalformed,
		`{"id":"a b"}`: ErrInvalidID, `{}`: ErrInvalidID, `{"id":"1","updatedAt":-1}`: ErrMalformed,
		`{"id":"1","updatedAt":9007199254740992}`: ErrMalformed, `{"id":"1"` + strings.Repeat(" ", MaxSize) + "}": ErrTooLarge,
	} {
		if p, err := DecodeJSON([]byte(in)); p != nil || !errors.Is(err, want) {
			t.Errorf("DecodeJSON(%.40q) = %v, %v, want %v", in, p, err, want)
		}
	}
}

func TestHashRoundTrip(t *testing.T) {
	for _, p := range []*Profile{sample(), {ID: "1"}} {
		got, trust := read(t, p.ID, AppendHash(nil, p)...)
		if !equal(got, p) || trust != Sealed {
			t.Errorf("round trip gives %+v, %v, want %+v, sealed", got, trust, p)
		}
	}
}

// latestTime is the highest number that a clock which is right writes, in these tests.
func latestTime() int64 { return 2e12 }

// read reads a hash of these names and values.
func read(t *testing.T, id string, pairs ...any) (*Profile, Trust) {
	t.Helper()
	r := Record{Profile: &Profile{ID: id}}
	for i := 0; i < len(pairs); i += 2 {
		if err := r.Set(text(pairs[i]), text(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	return r.Profile, r.Trust(latestTime)
}

// TestRecordsOfOthers has another service change a record, or write one, and wants to see that it
// is not ours, with names that agree.
func TestRecordsOfOthers(t *testing.T) {
	ours := AppendHash(nil, &Profile{ID: "1", Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", Sexe: "F", UpdatedAt: 7})
	plain := []any{"fullName", "Jean Dupont", "avatar", "", "matricule", "", "ministere", "", "sexe", "M", "updatedAt", "7"}
	for name, c := range map[string]struct {
		hash  []any
		trust Trust
		want  Profile
	}{
		"a field":             {append(ours, "avatar", "x"), Hint, Profile{Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", Avatar: "x", Sexe: "F", UpdatedAt: 7}},
		"the name":            {append(ours, "fullName", "Eve Ndi"), Hint, Profile{FullName: "Eve Ndi", Sexe: "F", UpdatedAt: 7}},
		"names":               {append(ours, "nom", "Ndi", "prenom", "Eve", "fullName", "Eve Ndi"), Hint, Profile{Nom: "Ndi", Prenom: "Eve", FullName: "Eve Ndi", Sexe: "F", UpdatedAt: 7}},
		"the version":         {append(ours, "updatedAt", "8"), Hint, Profile{Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", Sexe: "F", UpdatedAt: 8}},
		"what we do not know": {append(ours, "color", "red", "nom", "Ndi"), Sealed, Profile{Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", Sexe: "F", UpdatedAt: 7}},
		"microseconds":        {append(ours, "updatedAt", "1700000000000000"), Hint, Profile{Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", Sexe: "F"}},
		"inf":                 {append(plain[:10:10], "updatedAt", "inf"), Partial, Profile{FullName: "Jean Dupont", Sexe: "M"}},
		"nanoseconds":         {append(plain[:10:10], "updatedAt", "1700000000000000000"), Partial, Profile{FullName: "Jean Dupont", Sexe: "M"}},
		"a whole one":         {plain, Hint, Profile{FullName: "Jean Dupont", Sexe: "M", UpdatedAt: 7}},
		"an event's fields":   {append(plain[:6:6], "updatedAt", "7"), Partial, Profile{FullName: "Jean Dupont", UpdatedAt: 7}},
		"of before seals":     {append(plain, "ext", "\x94\x01\xa6Dupont\xa4Jean\x80"), Hint, Profile{Nom: "Dupont", Prenom: "Jean", FullName: "Jean Dupont", Sexe: "M", UpdatedAt: 7}},
	} {
		c.want.ID = "1"
		if got, trust := read(t, "1", c.hash...); !equal(got, &c.want) || trust != c.trust {
			t.Errorf("%s: read as %+v, %v, want %+v, %v", name, got, trust, c.want, c.trust)
		}
	}
}

func text(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v.(string)
}

func TestMalformedExtIsAnError(t *testing.T) {
	for _, v := range []string{"", "\x93", "\x94\x01\xa1a", "\x94\x02\xa0\xa0\x80", string(AppendExt(nil, sample())) + "x"} {
		r := Record{Profile: new(Profile)}
		if err := r.Set(FieldExt, v); !errors.Is(err, ErrMalformed) {
			t.Errorf("ext %q: %v, want ErrMalformed", v, err)
		}
	}
}

func TestPatchAppendHashHasOnlyWhatItCarries(t *testing.T) {
	name, empty := "Jean Dupont", ""
	got := (&Patch{ID: "1", Version: 7, FullName: &name, Avatar: &empty}).AppendHash(nil)
	want := []any{FieldFullName, name, FieldAvatar, empty}
	if len(got) != len(want) {
		t.Fatalf("AppendHash gives %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func FuzzDecodeMsgpack(f *testing.F) {
	for _, b := range hostile() {
		if len(b) <= MaxSize {
			f.Add(b)
		}
	}
	f.Add(AppendMsgpack(nil, sample()))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeMsgpack(b)
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Fatalf("decoded what may not be stored: %v", err)
		}
		if q, err := DecodeMsgpack(AppendMsgpack(nil, p)); err != nil || !equal(p, q) {
			t.Fatalf("round trip: %+v, %v", q, err)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add(AppendJSON(nil, sample()))
	f.Add([]byte(`{"id":"1","attrs":{"a":"\ud800"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeJSON(b)
		if err != nil {
			return
		}
		if q, err := DecodeJSON(AppendJSON(nil, p)); err == nil && !equal(p, q) {
			t.Fatalf("round trip: %+v, want %+v", q, p)
		}
	})
}

func FuzzHashField(f *testing.F) {
	f.Add(FieldExt, string(AppendExt(nil, sample())))
	f.Add(FieldUpdatedAt, "1700000000123")
	f.Fuzz(func(t *testing.T, name, value string) {
		r := Record{Profile: &Profile{ID: "1"}}
		if r.Set(name, value) == nil && r.Trust(latestTime) != Partial {
			t.Fatalf("one field, %q = %q, makes a whole record", name, value)
		}
		if err := r.Profile.Check(); err != nil && len(value) <= MaxSize {
			t.Fatalf("took %q = %q, which may not be stored: %v", name, value, err)
		}
	})
}

func BenchmarkDecodeMsgpackInto(b *testing.B) {
	packed := AppendMsgpack(nil, &Profile{ID: "123", Nom: "Dupont", Prenom: "Jean", FullName: "Jean Dupont", Avatar: "https://cdn.example.org/a/123.webp", UpdatedAt: 1})
	var p Profile
	for b.Loop() {
		_ = DecodeMsgpackInto(&p, packed)
	}
}
