package gossip

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func TestMetaComesBack(t *testing.T) {
	long := meta{weight: 100, warmth: 1, http: strings.Repeat("x", maxHTTP), report: Report{
		Fenced: true, RedisLost: true, Leaving: true, Origin: 2, Lag: 18 * time.Hour, Memory: 1, Capacity: 1 << 31, MemoryWarmth: 0.5,
		Functions: 1 << 15, Store: StoreOff, StoreEntries: 1<<32 - 1, Version: strings.Repeat("v", maxVersion)}}
	for range maxKeys {
		long.keys = append(long.keys, KeyID(NewKey()))
	}
	for _, m := range []meta{{weight: 1}, {weight: 7, warmth: 0.42, keys: []string{"0badcafe"}, http: "http://10.0.0.7:8003"}, long} {
		b := m.encode()
		if len(b) > memberlist.MetaMaxSize {
			t.Errorf("%d bytes; memberlist panics over more than %d", len(b), memberlist.MetaMaxSize)
		}
		if got, err := decodeMeta(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v came back as %+v, error %v", m, got, err)
		}
	}
}

func TestMetaOfStrangers(t *testing.T) {
	good := meta{weight: 7, keys: []string{"0badcafe"}, http: "h", report: Report{Version: "v"}}.encode()
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for what, c := range map[string]struct {
		text []byte
		want error
	}{
		"none":                        {nil, errMeta},
		"a later version":             {change(0, 4), errMetaVersion},
		"text":                        {[]byte("role=web"), errMetaVersion},
		"weight 0":                    {change(1, 0), errMeta},
		"weight 101":                  {change(1, 101), errMeta},
		"warmth 101":                  {change(2, 101), errMeta},
		"too many keys":               {change(3, 255), errMeta},
		"cut short":                   {good[:len(good)-1], errMeta},
		"cut in a key":                {good[:6], errMeta},
		"an old one with more behind": {change(0, 1), errMeta},
		"unknown flags":               {change(10, 0x08), errMeta},
		"memory 101":                  {change(13, 101), errMeta},
		"memory warmth 101":           {change(14, 101), errMeta},
		"a long version":              {change(25, 255), errMeta},
		"one of before with a store":  {change(0, metaStoreless), errMeta},
		"no report":                   {good[:10], errMeta},
		"too long":                    {append(bytes.Clone(good), 0), errMeta},
		"a control":                   {change(len(good)-1, '\n'), errMeta},
		"no text":                     {change(len(good)-1, 0xff), errMeta},
		"beyond the length":           {make([]byte, 600), errMetaVersion},
	} {
		got, err := decodeMeta(c.text)
		if !errors.Is(err, c.want) || !reflect.DeepEqual(got, meta{weight: 1}) {
			t.Errorf("%s: %+v, error %v; want weight 1 alone and %v", what, got, err, c.want)
		}
	}
}

func TestWarmthIsWholePercents(t *testing.T) {
	for share, want := range map[float64]byte{
		0: 0, 0.29: 29, 0.58: 58, 0.999: 99, 1: 100, 2: 100, -1: 0, math.Inf(1): 100, math.Inf(-1): 0, math.NaN(): 0,
	} {
		if got := percent(share); got != want {
			t.Errorf("%v is %d %%; want %d", share, got, want)
		}
	}
}

func FuzzMeta(f *testing.F) {
	f.Add([]byte{})
	f.Add(meta{weight: 7, warmth: 0.42, keys: []string{"0badcafe"}, http: "http://10.0.0.7:8003"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if m.weight < 1 || m.weight > maxWeight || m.warmth < 0 || m.warmth > 1 || len(m.keys) > maxKeys || len(m.http) > maxHTTP {
			t.Fatalf("%+v", m)
		}
		if err != nil && (m.http != "" || m.weight != 1 || m.keys != nil) {
			t.Fatalf("%+v beside the error %v", m, err)
		}
		if err == nil && b[0] == metaVersion && !bytes.Equal(m.encode(), b) {
			t.Fatalf("%x came back as %x", b, m.encode())
		}
	})
}

// Nodes of before reports are understood, without one.
func TestMetaOfBefore(t *testing.T) {
	old := []byte{metaWithout, 7, 42, 1, 0x0b, 0xad, 0xca, 0xfe, 1, 'h'}
	want := meta{weight: 7, warmth: 0.42, keys: []string{"0badcafe"}, http: "h"}
	if got, err := decodeMeta(old); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v; want %+v", got, err, want)
	}
	old = append([]byte{metaStoreless, 7, 42, 1, 0x0b, 0xad, 0xca, 0xfe, 1, 'h'},
		flagFenced|2<<originShift, 0, 4, 50, 60, 0, 0, 1, 0, 0, 3, 2, 'v', '1')
	want.report = Report{Fenced: true, Origin: 2, Lag: 4 * time.Second, Memory: 0.5, MemoryWarmth: 0.6, Capacity: 256, Functions: 3, Version: "v1"}
	if got, err := decodeMeta(old); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v; want %+v", got, err, want)
	}
	if b := (meta{weight: 1, report: Report{Version: strings.Repeat("x", 2*maxVersion), Lag: 1000 * time.Hour}}).encode(); len(b) != metaFixed+reportFixed+maxVersion {
		t.Errorf("a long version takes %d bytes", len(b))
	}
}
