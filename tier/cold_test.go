package tier

import (
	"strconv"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func TestColdBatchesBeginAtOnceUntilRedisHasThem(t *testing.T) {
	server := redistest.Server(t)
	origin := newTruth(1000)
	c := newCache(t, server.URL(), origin, nil)
	reads := func(from, to int) int {
		var ids []string
		for i := from; i < to; i++ {
			ids = append(ids, strconv.Itoa(i))
		}
		if err := server.Client().ConfigResetStat(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		b, err := c.BatchGet(t.Context(), ids, Want{})
		if err != nil || len(b.Found) != len(ids) {
			t.Fatalf("%d of %d found, %v", len(b.Found), len(ids), err)
		}
		stats, err := server.Client().InfoMap(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		return calls(stats["Commandstats"]["cmdstat_hgetall"])
	}
	if n := reads(1, 101); n != 100 {
		t.Errorf("the first cold batch took %d reads; want 100: before begin, which looks at all of a call at once", n)
	}
	if n := reads(101, 201); n != 0 {
		t.Errorf("the second cold batch took %d reads; want none", n)
	}
	if n := reads(201, 250); n != 49 {
		t.Errorf("a small batch took %d reads; want 49", n)
	}
	c.Flush()
	if n := reads(1, 101); n != 100 {
		t.Errorf("a batch that Redis has took %d reads; want 100", n)
	}
	c.Flush()
	if n := reads(1, 151); n != 150 {
		t.Errorf("the next one took %d reads; want 150: it is read by HGETALL alone", n)
	}
	if c.coldReads.empty.Load() {
		t.Error("Redis still counts as empty")
	}
	for i := 1; i < 250; i++ {
		if n := origin.timesAsked(strconv.Itoa(i)); n != 1 {
			t.Errorf("user %d was asked for %d times", i, n)
		}
	}
}

// TestBrokenRecordIsRepairedAfterAColdBatch has a record that does not decode among those that are
// begun at once.
func TestBrokenRecordIsRepairedAfterAColdBatch(t *testing.T) {
	server := redistest.Server(t)
	c := newCache(t, server.URL(), newTruth(200), nil)
	c.coldReads.empty.Store(true)
	if err := server.Client().HSet(t.Context(), profile.Key("7"), "ext", "no msgpack").Err(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := 1; i <= 200; i++ {
		ids = append(ids, strconv.Itoa(i))
	}
	for range 2 {
		if b, err := c.BatchGet(t.Context(), ids, Want{}); err != nil || len(b.Found) != 200 {
			t.Fatalf("%d found, %v", len(b.Found), err)
		}
		c.Flush()
	}
	found := make(entries, 1)
	if _, err := c.l2.ReadOne(t.Context(), "7", found.room); err != nil || found[0] == nil {
		t.Errorf("the record is %+v, %v; want it repaired", found[0], err)
	}
}

// calls reads the number of calls from a line of commandstats.
func calls(line string) (n int) {
	for i := len("calls="); i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
		n = n*10 + int(line[i]-'0')
	}
	return n
}
