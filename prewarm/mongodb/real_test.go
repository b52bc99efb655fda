//go:build mongodb

package mongodb

import (
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// TestRealServer is what the fake one cannot show: that the query finds what it should and that its
// order needs no sort.
func TestRealServer(t *testing.T) {
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		t.Fatal("MONGODB_URI is not set; want a database that may be written, such as " +
			"mongodb://127.0.0.1:27017/edgecache_test")
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) }()
	name := "prewarm_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	collection := client.Database(Config{URI: uri}.withDefaults().Database).Collection(name)
	defer func() { _ = collection.Drop(context.WithoutCancel(t.Context())) }()
	if _, err := collection.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "updatedAt", Value: 1}}}); err != nil {
		t.Fatal(err)
	}
	object := bson.NewObjectID()
	for i, participants := range []any{bson.A{"1", 2}, bson.A{3.0, true}, bson.A{object, bson.D{{Key: "userId", Value: "5"}}}, "none"} {
		document := bson.D{{Key: "updatedAt", Value: since.Add(time.Duration(i-1) * time.Millisecond)}, {Key: "participants", Value: participants}, {Key: "text", Value: "not read"}}
		if _, err := collection.InsertOne(t.Context(), document); err != nil {
			t.Fatal(err)
		}
	}
	s := newSource(t, Config{URI: uri, Collection: name, BatchSize: 1})
	ids, err := read(t, s)
	if want := []string{object.Hex(), "5", "3"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %v, %v; want %v, newest first", ids, err, want)
	}
	if n, why := s.Skipped(); n != 2 {
		t.Errorf("%d were passed over, %v; want 2", n, why)
	}
}
