package mongodb

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// since is the time since when users count, in all of these tests.
var since = time.UnixMilli(1_700_000_000_250)

// conversation is a document of the collection.
func conversation(id any, at any, participants any) bson.Raw {
	return document(bson.D{{Key: "_id", Value: id}, {Key: "updatedAt", Value: at}, {Key: "participants", Value: participants}})
}

func TestParticipants(t *testing.T) {
	object, _ := bson.ObjectIDFromHex("65a1b2c3d4e5f60718293a4b")
	other := bson.NewObjectID()
	decimal, _ := bson.ParseDecimal128("12")
	for name, c := range map[string]struct {
		participant any
		want        string // the id, or else what the error says
		refused     bool
	}{
		"text": {participant: "123", want: "123"},
		// the run counts it as invalid
		"a text with spaces is no matter":  {participant: "a b", want: "a b"},
		"int32":                            {participant: int32(42), want: "42"},
		"int64":                            {participant: int64(1) << 60, want: "1152921504606846976"},
		"negative":                         {participant: int32(-7), want: "-7"},
		"whole double":                     {participant: 300_000.0, want: "300000"},
		"the largest exact double":         {participant: float64(1 << 53), want: "9007199254740992"},
		"ObjectID":                         {participant: object, want: "65a1b2c3d4e5f60718293a4b"},
		"userId":                           {participant: bson.D{{Key: "_id", Value: other}, {Key: "userId", Value: 5}}, want: "5"},
		"id":                               {participant: bson.D{{Key: "_id", Value: other}, {Key: "id", Value: "7"}}, want: "7"},
		"_id":                              {participant: bson.D{{Key: "role", Value: "admin"}, {Key: "_id", Value: object}}, want: "65a1b2c3d4e5f60718293a4b"},
		"null is passed over for the next": {participant: bson.D{{Key: "userId", Value: nil}, {Key: "id", Value: 8.0}}, want: "8"},

		"fraction":           {participant: 1.5, want: "the number 1.5; want a whole one", refused: true},
		"a double too large": {participant: float64(1<<53) * 2, want: "want a whole one of at most 2^53", refused: true},
		"infinity":           {participant: math.Inf(1), want: "the number +Inf", refused: true},
		"no number":          {participant: math.NaN(), want: "the number NaN", refused: true},
		"null":               {participant: nil, want: "of type null", refused: true},
		"boolean":            {participant: true, want: "of type boolean", refused: true},
		"decimal":            {participant: decimal, want: "of type 128-bit decimal", refused: true},
		"date":               {participant: since, want: "of type UTC datetime", refused: true},
		"binary":             {participant: []byte("x"), want: "of type binary", refused: true},
		"array":              {participant: bson.A{"1"}, want: "of type array", refused: true},
		"empty document":     {participant: bson.D{}, want: "a document without userId, id or _id", refused: true},
		"document in one":    {participant: bson.D{{Key: "userId", Value: bson.D{{Key: "id", Value: 1}}}}, want: "of type embedded document", refused: true},
	} {
		at, list, err := decode(conversation("c", since, bson.A{c.participant}))
		if err != nil || !at.Equal(since) || len(list) != 1 {
			t.Errorf("%s: %v, %v, %v", name, at, list, err)
			continue
		}
		id, err := userID(list[0])
		switch {
		case c.refused && (id != "" || !errors.Is(err, prewarm.ErrMalformed) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %q, %v; want an error with %q", name, id, err, c.want)
		case !c.refused && (id != c.want || err != nil):
			t.Errorf("%s: %q, %v; want %q", name, id, err, c.want)
		}
	}
}

func TestConversationsThatAreNone(t *testing.T) {
	whole := conversation("c", since, bson.A{"1"})
	for want, raw := range map[string]bson.Raw{
		`conversation "9": updatedAt is of type 64-bit integer; want a date`:                       conversation(9, since.UnixMilli(), bson.A{}),
		`conversation with an _id missing: updatedAt is missing`:                                   document(bson.D{}),
		`conversation with an _id of type embedded document: participants is missing`:              document(bson.D{{Key: "_id", Value: bson.D{}}, {Key: "updatedAt", Value: since}}),
		`conversation "c": participants is of type string; want an array`:                          conversation("c", since, "1"),
		`conversation "c": participants is of type null; want an array`:                            conversation("c", since, nil),
		`conversation "` + strings.Repeat("x", 40) + `": participants is of type boolean; want an`: conversation(strings.Repeat("x", 5000), since, true),
		"a conversation is no BSON": whole[:len(whole)-3],
	} {
		if _, _, err := decode(raw); !errors.Is(err, prewarm.ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

func TestRefusalsAreCountedAndTheirReportIsShort(t *testing.T) {
	s := &Source{}
	participants := bson.A{"1"}
	for range 500 {
		participants = append(participants, true, "2")
	}
	var ids []string
	more := s.yield(conversation("c", since, participants), func(u prewarm.User, _ error) bool {
		ids = append(ids, u.ID)
		return true
	})
	if n, why := s.Skipped(); !more || len(ids) != 501 || n != 500 || len(why) != 10 || !strings.Contains(why[0].Error(), `conversation "c": participant 2: `) {
		t.Errorf("%d ids, %d passed over, %v", len(ids), n, why)
	}
	ids = nil
	if s.yield(conversation("c", since, participants), func(u prewarm.User, _ error) bool {
		ids = append(ids, u.ID)
		return len(ids) < 2
	}) || !slices.Equal(ids, []string{"1", "2"}) {
		t.Errorf("it went on after %v", ids)
	}
}

// FuzzConversation: no document makes the decoder panic, and what it takes for an id is not empty
// by accident.
func FuzzConversation(f *testing.F) {
	f.Add([]byte(conversation("c", since, bson.A{"1", 2, 3.0, bson.NewObjectID(), bson.D{{Key: "id", Value: 4}}})))
	f.Add([]byte(conversation(bson.NewObjectID(), since, bson.D{{Key: "0", Value: "1"}})))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, n := &Source{}, 0
		s.yield(raw, func(u prewarm.User, err error) bool {
			if n++; err != nil {
				t.Errorf("an error was passed on: %v", err)
			}
			return true
		})
		if skipped, why := s.Skipped(); skipped > 0 && len(why) == 0 {
			t.Errorf("%d were passed over without a reason", skipped)
		}
	})
}
