package mongodb

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/prewarm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSource(t *testing.T, conf Config) *Source {
	t.Helper()
	s, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read returns the ids that a source yields, in their order, and the error that ended it.
func read(t *testing.T, s *Source) (ids []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for u, e := range s.Active(ctx, since) {
		if e != nil {
			return ids, e
		}
		if u.LastActive.Before(since) {
			t.Errorf("%s was active at %v, before %v", u.ID, u.LastActive, since)
		}
		ids = append(ids, u.ID)
	}
	return ids, nil
}

// conversations returns n of two participants each: 0 and 1, 1 and 2, …
func conversations(n int) (docs []bson.Raw) {
	for i := range n {
		docs = append(docs, conversation(i, since.Add(time.Duration(i)*time.Second), bson.A{strconv.Itoa(i), int32(i + 1)}))
	}
	return docs
}

func index(keys bson.D, more ...bson.E) bson.Raw {
	return document(append(bson.D{{Key: "v", Value: 2}, {Key: "key", Value: keys}, {Key: "name", Value: "i"}}, more...))
}

// A server that is not there costs seconds, however long an answer may take.
func TestNoServerCostsSeconds(t *testing.T) {
	began := time.Now()
	_, err := read(t, newSource(t, Config{URI: "mongodb://127.0.0.1:1/chat"}))
	if took := time.Since(began); err == nil || took > 12*time.Second {
		t.Errorf("%v after %v; want an error within some 5 s", err, took)
	}
}

func TestWhatTheDriverAsksTheServer(t *testing.T) {
	f := startFake(t, &fakeServer{documents: conversations(7), indexes: []bson.Raw{
		index(bson.D{{Key: "_id", Value: 1}}), index(bson.D{{Key: "updatedAt", Value: 1}, {Key: "room", Value: 1}})}})
	s := newSource(t, Config{URI: f.uri(), BatchSize: 3})
	ids, err := read(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields("0 1 1 2 2 3 3 4 4 5 5 6 6 7"); !slices.Equal(ids, want) || s.Name() != "mongodb" {
		t.Errorf("got %v; want %v", ids, want)
	}
	if n := len(f.got("find")); n != 1 {
		t.Fatalf("%d finds", n)
	}
	find := f.got("find")[0]
	for field, want := range map[string]any{
		"find": "conversations", "$db": "chat", "batchSize": int32(3),
		"filter":          bson.D{{Key: "updatedAt", Value: bson.D{{Key: "$gte", Value: bson.NewDateTimeFromTime(since)}}}},
		"projection":      bson.D{{Key: "participants", Value: 1}, {Key: "updatedAt", Value: 1}},
		"sort":            bson.D{{Key: "updatedAt", Value: -1}},
		"$readPreference": bson.D{{Key: "mode", Value: "secondaryPreferred"}},
	} {
		if got, want := find.Lookup(field), document(bson.D{{Key: "v", Value: want}}).Lookup("v"); !got.Equal(want) {
			t.Errorf("%s is %v; want %v", field, got, want)
		}
	}
	more := f.got("getMore")
	if len(more) != 2 || more[0].Lookup("getMore").AsInt64() != 77 || more[0].Lookup("collection").StringValue() != "conversations" {
		t.Errorf("getMore: %v", more)
	}
	if n := len(f.got("killCursors")); n != 0 {
		t.Errorf("a cursor that was read to its end was killed %d times", n)
	}
}

func TestNewestFirstOnlyWhereAnIndexHasThatOrder(t *testing.T) {
	for name, c := range map[string]struct {
		indexes []bson.Raw
		fail    string
		want    bool
	}{
		"no index":              {indexes: []bson.Raw{index(bson.D{{Key: "_id", Value: 1}})}},
		"descending":            {indexes: []bson.Raw{index(bson.D{{Key: "updatedAt", Value: -1.0}})}, want: true},
		"not its first key":     {indexes: []bson.Raw{index(bson.D{{Key: "room", Value: 1}, {Key: "updatedAt", Value: 1}})}},
		"hashed":                {indexes: []bson.Raw{index(bson.D{{Key: "updatedAt", Value: "hashed"}})}},
		"partial":               {indexes: []bson.Raw{index(bson.D{{Key: "updatedAt", Value: 1}}, bson.E{Key: "partialFilterExpression", Value: bson.D{}})}},
		"not allowed to see":    {indexes: []bson.Raw{index(bson.D{{Key: "updatedAt", Value: 1}})}, fail: "listIndexes"},
		"an index without keys": {indexes: []bson.Raw{document(bson.D{{Key: "key", Value: bson.D{}}}), document(bson.D{})}},
	} {
		f := startFake(t, &fakeServer{documents: conversations(1), indexes: c.indexes, fail: c.fail})
		if ids, err := read(t, newSource(t, Config{URI: f.uri()})); err != nil || len(ids) != 2 {
			t.Errorf("%s: %v, %v", name, ids, err)
		} else if _, err := f.got("find")[0].LookupErr("sort"); (err == nil) != c.want {
			t.Errorf("%s: sorted is %v; want %v", name, err == nil, c.want)
		}
	}
}

func TestTheCursorIsClosedWhenNoMoreAreWanted(t *testing.T) {
	f := startFake(t, &fakeServer{documents: conversations(100)})
	for _, err := range newSource(t, Config{URI: f.uri(), BatchSize: 2}).Active(t.Context(), since) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if len(f.got("getMore")) != 0 || len(f.got("killCursors")) != 1 {
		t.Errorf("getMore %v, killCursors %v; want none and one", f.got("getMore"), f.got("killCursors"))
	}
}

func TestErrorsEndTheStream(t *testing.T) {
	t.Run("the server refuses", func(t *testing.T) {
		f := startFake(t, &fakeServer{fail: "find"})
		_, err := read(t, newSource(t, Config{URI: f.uri()}))
		if err == nil || !strings.Contains(err.Error(), "mongodb: read chat.conversations: ") || !strings.Contains(err.Error(), "not authorized") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the server refuses in the middle", func(t *testing.T) {
		f := startFake(t, &fakeServer{documents: conversations(5), fail: "getMore"})
		ids, err := read(t, newSource(t, Config{URI: f.uri(), BatchSize: 2}))
		if err == nil || len(ids) != 4 {
			t.Errorf("got %v, %v; want what came before the error, and the error", ids, err)
		}
	})
	t.Run("nobody is there", func(t *testing.T) {
		_, err := read(t, newSource(t, Config{URI: "mongodb://chat:s3cr3t@127.0.0.1:1/chat", Timeout: 100 * time.Millisecond}))
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the run is cancelled", func(t *testing.T) {
		f := startFake(t, &fakeServer{documents: conversations(50)})
		why := errors.New("the run was cancelled")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var ended error
		for _, err := range newSource(t, Config{URI: f.uri(), BatchSize: 1}).Active(ctx, since) {
			cancel(why)
			ended = err
		}
		if !errors.Is(ended, why) {
			t.Errorf("ended with %v", ended)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	const secret = "s3cr3t"
	for name, c := range map[string]struct {
		conf Config
		want string
	}{
		"no URI":                  {Config{}, "Config.URI is no address of MongoDB"},
		"another scheme":          {Config{URI: "http://a:" + secret + "@h/d"}, "Config.URI is no address of MongoDB"},
		"no database":             {Config{URI: "mongodb://a:" + secret + "@h1,h2:27018/?tls=true"}, "no database, neither in Config.URI"},
		"a slash in the password": {Config{URI: "mongodb://a:" + secret + "/x@h/d"}, "Config.URI cannot be parsed"},
		"an at in the password":   {Config{URI: "mongodb://a:" + secret + "@x@h/d"}, "Config.URI cannot be parsed"},
		"a percent in it":         {Config{URI: "mongodb://a:%" + secret + "@h/d"}, "Config.URI cannot be parsed"},
		"a bad port":              {Config{URI: "mongodb://a:" + secret + "@h:port/d"}, "Config.URI cannot be parsed"},
		"options that contradict": {Config{URI: "mongodb://a:" + secret + "@h1,h2/d?directConnection=true"}, "its options contradict each other"},
		"a database with a dot":   {Config{URI: "mongodb://h/", Database: "a.b"}, `the database is "a.b"; it may have none of`},
		"a collection with a $":   {Config{URI: "mongodb://h/d", Collection: "a$b"}, `Config.Collection is "a$b"; it may have no $`},
		"a negative batch":        {Config{URI: "mongodb://h/d", BatchSize: -1}, "Config.BatchSize is -1; want 1 to 100000"},
		"a large batch":           {Config{URI: "mongodb://h/d", BatchSize: 100_001}, "Config.BatchSize is 100001; want 1 to 100000"},
		"a short timeout":         {Config{URI: "mongodb://h/d", Timeout: time.Microsecond}, "Config.Timeout is 1µs; want at least 1ms"},
	} {
		_, err := New(c.conf)
		if !errors.Is(err, prewarm.ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestFromURL(t *testing.T) {
	for address, want := range map[string]Config{
		"mongodb://127.0.0.1/chat":                                            {URI: "mongodb://127.0.0.1/chat", Database: "chat", Collection: "conversations"},
		"mongodb://a:b@h1:1,h2:2/my%2Dchat?collection=rooms":                  {URI: "mongodb://a:b@h1:1,h2:2/my%2Dchat", Database: "my-chat", Collection: "rooms"},
		"mongodb://h/chat?retryReads=false&collection=a%20b&appName=x":        {URI: "mongodb://h/chat?retryReads=false&appName=x", Database: "chat", Collection: "a b"},
		"mongodb+srv://u:p@cluster.example.com/chat?readPreference=secondary": {URI: "mongodb+srv://u:p@cluster.example.com/chat?readPreference=secondary", Database: "chat", Collection: "conversations"},
	} {
		s, err := FromURL(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if c := s.conf; c.URI != want.URI || c.Database != want.Database || c.Collection != want.Collection {
			t.Errorf("%s: %+v; want %+v", address, c, want)
		}
	}
	if _, err := FromURL("mongodb://h/chat?collection=%zz"); !errors.Is(err, prewarm.ErrConfig) {
		t.Errorf("got %v", err)
	}
}

func TestTheURIsOptionsAreHeeded(t *testing.T) {
	own, err := Config{URI: "mongodb://h/d?readPreference=nearest&serverSelectionTimeoutMS=7&timeoutMS=8&appName=x"}.withDefaults().client()
	if err != nil {
		t.Fatal(err)
	}
	if own.ReadPreference.Mode().String() != "nearest" || *own.ServerSelectionTimeout != 7*time.Millisecond || *own.Timeout != 8*time.Millisecond || *own.AppName != "x" {
		t.Errorf("got %v, %v, %v, %v", own.ReadPreference, own.ServerSelectionTimeout, own.Timeout, *own.AppName)
	}
	ours, err := Config{URI: "mongodb://h/d"}.withDefaults().client()
	if err != nil {
		t.Fatal(err)
	}
	if ours.ReadPreference.Mode().String() != "secondaryPreferred" || *ours.Timeout != 30*time.Second {
		t.Errorf("got %v, %v", ours.ReadPreference, *ours.Timeout)
	}
}
