package stream

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

func whole(id string, version int64) *profile.Profile {
	return &profile.Profile{ID: id, Nom: "Dupont", Prenom: "Jean", FullName: "Jean Dupont", Avatar: "https://cdn.example.org/a.webp",
		Matricule: "623456-K", Ministere: "MINFI", Sexe: "M", UpdatedAt: version, Attrs: map[string]string{"grade": "A2"}}
}

func TestEntryBefore(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"1-1", "1-2", true}, {"1-2", "1-2", false}, {"9-9", "10-0", true}, {"10-0", "9-9", false}, {"5-9", "5-10", true}, {"", "1-0", true}, {"1-0", "x", false}} {
		if got := EntryBefore(c.a, c.b); got != c.want {
			t.Errorf("%q before %q: %v", c.a, c.b, got)
		}
	}
}

func updated(id string, version int64) Event {
	return Event{Kind: profile.Updated, UserID: id, Version: version, Profile: whole(id, version)}
}

// fields turns what Encode returns, or pairs in general, into what a client delivers.
func fields(pairs ...any) map[string]any {
	m := make(map[string]any)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[text(pairs[i])] = text(pairs[i+1])
	}
	return m
}

func encoded(t testing.TB, e Event) map[string]any {
	t.Helper()
	values, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return fields(values...)
}

func TestEventsSurviveTheWire(t *testing.T) {
	name, empty := "Amélie \"Ngo\" <Mbé>", ""
	for _, e := range []Event{
		updated("123", 1700000000123),
		{Kind: profile.Created, UserID: "a@b.c", Version: 1, Profile: &profile.Profile{ID: "a@b.c", UpdatedAt: 1}},
		{Kind: profile.Updated, UserID: "1", Version: 7, Hint: true, Patch: &profile.Patch{ID: "1", Version: 7, FullName: &name, Avatar: &empty}},
		{Kind: profile.Updated, UserID: "1", Hint: true, Patch: &profile.Patch{ID: "1"}},
		{Kind: profile.Deleted, UserID: "1", Version: profile.MaxVersion},
		{Kind: profile.Deleted, UserID: "1", Version: 7, Hint: true},
		{Kind: profile.Invalidated, UserID: "1", Hint: true},
	} {
		got, err := Decode(encoded(t, e))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s of %q came back as %+v, %v; want %+v", e.Kind, e.UserID, got, err, e)
		}
	}
}

func TestThePayloadIsTheContracts(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal([]byte(encoded(t, updated("123", 1700000000123))[fieldPayload].(string)), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"event": "user.profile.updated", "userId": "123", "fullName": "Jean Dupont", "avatar": "https://cdn.example.org/a.webp",
		"matricule": "623456-K", "ministere": "MINFI", "sexe": "M", "timestamp": 1700000000123.0}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("payload %v, want %v", got, want)
	}
}

func TestDecodeIsLiberal(t *testing.T) {
	const head = `{"event":"user.profile.updated","userId":"7"`
	for name, tc := range map[string]struct {
		payload string
		version int64
	}{
		"number":               {head + `,"timestamp":1700000000123}`, 1700000000123},
		"number in a string":   {head + `,"timestamp":"1700000000123"}`, 1700000000123},
		"float":                {head + `,"timestamp":1.700000000123e12}`, 1700000000123},
		"fraction":             {head + `,"timestamp":1700000000123.75}`, 1700000000123},
		"ISO 8601":             {head + `,"timestamp":"2023-11-14T22:13:20.123Z"}`, 1700000000123},
		"ISO 8601 with offset": {head + `,"timestamp":"2023-11-14T23:13:20.123+01:00"}`, 1700000000123},
		"ISO 8601 without":     {head + `,"timestamp":"2023-11-14T22:13:20"}`, 1700000000000},
		"null":                 {head + `,"timestamp":null}`, 0},
		"absent":               {head + `}`, 0},
		"number as id":         {`{"event":"user.profile.updated","userId":7,"timestamp":5}`, 5},
		"unknown fields":       {head + `,"roles":["a",{"b":null}],"timestamp":5,"x":1e400}`, 5},
		"escapes in names":     {`{"\u0065vent":"user.profile.updated","userId":"\u0037","timestamp":5}`, 5},
	} {
		e, err := Decode(fields("payload", tc.payload, "source", "auth-user-service"))
		if err != nil || e.Version != tc.version || e.UserID != "7" || e.Kind != profile.Updated || e.Patch == nil || e.Patch.Version != tc.version {
			t.Errorf("%s: %+v, %v; want version %d of 7", name, e, err, tc.version)
		}
	}
}

func TestAbsentAndNullPartsStayAsTheyAre(t *testing.T) {
	e, err := Decode(fields("payload", `{"event":"user.profile.created","userId":"7","fullName":"A","avatar":null,"matricule":623456,"sexe":""}`))
	if err != nil {
		t.Fatal(err)
	}
	p := e.Patch
	if *p.FullName != "A" || p.Avatar != nil || *p.Matricule != "623456" || p.Ministere != nil || *p.Sexe != "" {
		t.Errorf("patch %+v", p)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := text(encoded(t, updated("7", 5))[fieldPayload])
	packed := string(profile.AppendMsgpack(nil, whole("7", 5)))
	for name, tc := range map[string]struct {
		values map[string]any
		want   error
		id     string
	}{
		"nothing":                 {nil, ErrMalformed, ""},
		"no JSON":                 {fields("payload", "{"), ErrMalformed, ""},
		"an array":                {fields("payload", "[]"), ErrMalformed, ""},
		"something after":         {fields("payload", good+"x"), ErrMalformed, ""},
		"deep nesting":            {fields("payload", strings.Repeat("[", 60000)), ErrMalformed, ""},
		"payload that is no text": {map[string]any{"payload": 5}, ErrMalformed, ""},
		"payload too large":       {fields("payload", `{"x":"`+strings.Repeat("x", maxPayload)+`"}`), ErrTooLarge, ""},
		"no id":                   {fields("payload", `{"event":"user.profile.updated"}`), ErrMalformed, ""},
		"bad id":                  {fields("payload", `{"event":"user.profile.updated","userId":"a b"}`), profile.ErrInvalidID, ""},
		"fraction as id":          {fields("payload", `{"event":"user.profile.updated","userId":{"a":1}}`), ErrMalformed, ""},
		"no event":                {fields("payload", `{"userId":"7"}`), ErrMalformed, "7"},
		"event is a number":       {fields("payload", `{"userId":"7","event":1}`), ErrMalformed, "7"},
		"unknown event":           {fields("payload", `{"userId":"7","event":"user.profile.renamed"}`), ErrUnknownKind, "7"},
		"timestamp is a list":     {fields("payload", `{"userId":"7","event":"user.profile.deleted","timestamp":[]}`), ErrMalformed, "7"},
		"timestamp is a word":     {fields("payload", `{"userId":"7","event":"user.profile.deleted","timestamp":"now"}`), ErrMalformed, "7"},
		"timestamp is NaN":        {fields("payload", `{"userId":"7","event":"user.profile.deleted","timestamp":"NaN"}`), ErrMalformed, "7"},
		"timestamp below zero":    {fields("payload", `{"userId":"7","event":"user.profile.deleted","timestamp":-1}`), ErrMalformed, "7"},
		"timestamp of 2^53":       {fields("payload", `{"userId":"7","event":"user.profile.deleted","timestamp":9007199254740992}`), ErrMalformed, "7"},
		"a part is a list":        {fields("payload", `{"userId":"7","event":"user.profile.updated","avatar":[]}`), ErrMalformed, "7"},
		"profile too large":       {fields("payload", good, "profile", strings.Repeat("x", profile.MaxSize+1)), ErrTooLarge, "7"},
		"profile of another":      {fields("payload", strings.Replace(good, `"7"`, `"8"`, 1), "profile", packed), ErrMalformed, "8"},
		"profile of another time": {fields("payload", strings.Replace(good, `:5}`, `:6}`, 1), "profile", packed), ErrMalformed, "7"},
	} {
		e, err := Decode(tc.values)
		if !errors.Is(err, tc.want) || !reflect.DeepEqual(e, Event{UserID: tc.id}) {
			t.Errorf("%s: %+v, %v; want user %q and %v", name, e, err, tc.id, tc.want)
		}
	}
}

func TestABrokenProfileLeavesTheParts(t *testing.T) {
	values := encoded(t, updated("7", 5))
	values[fieldProfile] = values[fieldProfile].(string)[:20]
	e, err := Decode(values)
	if err != nil || !e.Degraded || e.Profile != nil || *e.Patch.Matricule != "623456-K" || e.Patch.Version != 5 {
		t.Errorf("%+v, %v; want the parts", e, err)
	}
	if got := refusedFor(e, err); got != refusedProfile {
		t.Errorf("counted as %q", got)
	}
	values[fieldPayload] = `{"event":"user.profile.deleted","userId":"7","timestamp":6}`
	if e, err := Decode(values); err != nil || e.Degraded || e.Kind != profile.Deleted {
		t.Errorf("a deletion with a profile field: %+v, %v", e, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	large := whole("7", 5)
	large.Avatar = strings.Repeat("x", profile.MaxSize)
	for name, tc := range map[string]struct {
		e    Event
		want error
	}{
		"no kind":                {Event{UserID: "7"}, ErrUnknownKind},
		"kind 9":                 {Event{Kind: 9, UserID: "7"}, ErrUnknownKind},
		"bad id":                 {Event{Kind: profile.Deleted, UserID: "a b"}, profile.ErrInvalidID},
		"negative version":       {Event{Kind: profile.Deleted, UserID: "7", Version: -1}, ErrMalformed},
		"deletion with profile":  {Event{Kind: profile.Deleted, UserID: "7", Version: 5, Profile: whole("7", 5)}, ErrMalformed},
		"both":                   {Event{Kind: profile.Updated, UserID: "7", Version: 5, Profile: whole("7", 5), Patch: &profile.Patch{ID: "7", Version: 5}}, ErrMalformed},
		"profile of another":     {Event{Kind: profile.Updated, UserID: "8", Version: 5, Profile: whole("7", 5)}, ErrMalformed},
		"parts of another":       {Event{Kind: profile.Updated, UserID: "8", Version: 5, Patch: &profile.Patch{ID: "7", Version: 5}}, ErrMalformed},
		"profile too large":      {Event{Kind: profile.Updated, UserID: "7", Version: 5, Profile: large}, ErrTooLarge},
		"part too large":         {Event{Kind: profile.Updated, UserID: "7", Version: 5, Patch: &profile.Patch{ID: "7", Version: 5, Avatar: &large.Avatar}}, ErrTooLarge},
		"unknown and impossible": {Event{Kind: 255}, ErrUnknownKind},
	} {
		if values, err := Encode(tc.e); values != nil || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestAProfileWhosePartsDoNotFitIsStillPublished(t *testing.T) {
	p := whole("7", 5)
	p.Avatar = strings.Repeat("\x01", 20<<10) // six bytes each in JSON
	values := encoded(t, Event{Kind: profile.Updated, UserID: "7", Version: 5, Profile: p})
	if n := len(values[fieldPayload].(string)); n > 100 {
		t.Errorf("payload of %d bytes, want none of the parts", n)
	}
	e, err := Decode(values)
	if err != nil || e.Profile == nil || e.Profile.Avatar != p.Avatar {
		t.Errorf("%v, %v", e.Kind, err)
	}
}

func TestEntryIDs(t *testing.T) {
	for _, s := range []string{"", "-", "x-1", "1-x", "1-", "-1", "1-2-3", "18446744073709551616-0"} {
		if id, ok := parseEntryID(s); ok {
			t.Errorf("%q is read as %v", s, id)
		}
	}
	id, ok := parseEntryID("1700000000123-4")
	if !ok || id.String() != "1700000000123-4" || id.back(time.Second).String() != "1699999999123-0" || id.back(0) != id {
		t.Errorf("%v, back a second %v", id, id.back(time.Second))
	}
	if got := (entryID{5, 1}).back(time.Hour); got != (entryID{}) {
		t.Errorf("an hour before 5 ms is %v", got)
	}
	if got := (entryID{5, 1<<64 - 1}).next(); got != (entryID{6, 0}) {
		t.Errorf("after the last of a millisecond comes %v", got)
	}
}

func TestAnEntryPutBackKeepsItsTime(t *testing.T) {
	for of, want := range map[string]int64{"": 9000, "x": 9000, "4000-0": 4000, "9999999-0": 9000} {
		if got := eventTime("9000-1", fields("replayOf", of)).UnixMilli(); got != want {
			t.Errorf("replay of %q happened at %d, want %d", of, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"event":"user.profile.updated","userId":"7","fullName":"A","timestamp":"2023-11-14T22:13:20.123Z"}`, "")
	f.Add(`{"event":"user.profile.updated","userId":"7","timestamp":5}`, string(profile.AppendMsgpack(nil, whole("7", 5))))
	f.Add(`{"event":"user.profile.deleted","userId":7,"timestamp":1e15}`, "\xdd\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, payload, packed string) {
		e, err := Decode(fields("payload", payload, "profile", packed))
		if err != nil {
			if e.UserID != "" && profile.CheckID(e.UserID) != nil || e.Kind != 0 || e.Profile != nil || e.Patch != nil {
				t.Fatalf("an error came with %+v", e)
			}
			return
		}
		e.Degraded = false
		values, err := Encode(e)
		if errors.Is(err, ErrTooLarge) {
			return // escaped, the same parts may take more room
		}
		if err != nil {
			t.Fatalf("decoded what may not be published: %v", err)
		}
		back, err := Decode(fields(values...))
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%+v came back as %+v, %v", e, back, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	values := encoded(b, updated("123", 1700000000123))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(values); err != nil {
			b.Fatal(err)
		}
	}
}

// TestFunctionsAreInvalidationsOfNobodyToOthers decodes an entry about a function with and without
// its field, which older nodes do not look at.
func TestFunctionsAreInvalidationsOfNobodyToOthers(t *testing.T) {
	values := map[string]any{fieldPayload: `{"event":"user.profile.invalidated","userId":"edgecache:functions"}`, fieldFunction: "hide"}
	if e, err := Decode(values); err != nil || e.Kind != profile.Invalidated || e.Function != "hide" || e.UserID != functionsID {
		t.Errorf("%+v, %v", e, err)
	}
	delete(values, fieldFunction)
	if e, err := Decode(values); err != nil || e.Kind != profile.Invalidated || e.Function != "" || e.UserID != functionsID {
		t.Errorf("as others read it: %+v, %v", e, err)
	}
}
