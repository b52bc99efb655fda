package l2

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func onRedis(t *testing.T, conf Config) (suite, *Redis) {
	s := suite{client: open(t, redistest.Server(t).URL())}
	return s, s.l2(t, conf)
}

// TestChangesEndLeases has answers that only the lost lease can refuse: no version of theirs is
// below what is known.
func TestChangesEndLeases(t *testing.T) {
	s, l := onRedis(t, Config{})
	id := s.id(t)
	v := beginOne(t, l, id, 0)
	must[bool](t)(l.Apply(t.Context(), user(id, 5)))
	if err := fillOne(t, l, id, v.Token, nil); !errors.Is(err, ErrRefused) || stored(t, l, id) == nil {
		t.Errorf("no such user, from before an update: %v, stored %v", err, stored(t, l, id))
	}
	id = s.id(t)
	v = beginOne(t, l, id, 0)
	must[bool](t)(l.Remove(t.Context(), id, 5))
	if err := fillOne(t, l, id, v.Token, user(id, 6)); !errors.Is(err, ErrRefused) || stored(t, l, id) != nil {
		t.Errorf("a load begun before the deletion: %v, stored %v", err, stored(t, l, id))
	}
	id = s.id(t)
	v = beginOne(t, l, id, 0)
	check(t, l.Invalidate(t.Context(), id))
	if err := fillOne(t, l, id, v.Token, user(id, 6)); !errors.Is(err, ErrRefused) || stored(t, l, id) != nil {
		t.Errorf("a load begun before the invalidation: %v, stored %v", err, stored(t, l, id))
	}
}

func TestAbsenceIsKeptAndEnds(t *testing.T) {
	s, l := onRedis(t, Config{})
	known := s.id(t)
	must[bool](t)(l.Apply(t.Context(), user(known, 5)))
	check(t, fillOne(t, l, known, beginOne(t, l, known, 6).Token, nil))
	if stored(t, l, known) != nil {
		t.Error("a user who does not exist any more is still stored")
	}
	absentUser := func() string {
		id := s.id(t)
		check(t, fillOne(t, l, id, beginOne(t, l, id, 0).Token, nil))
		if v := beginOne(t, l, id, 0); v.Kind != Absent {
			t.Errorf("after the origin knew nobody: %+v; want absent", v)
		}
		return id
	}
	byFill := absentUser()
	if ttl := must[time.Duration](t)(s.client.PTTL(t.Context(), keys(byFill)[1]).Result()); ttl <= 0 {
		t.Errorf("the guard that only a fill made has TTL %v; want one", ttl)
	}
	check(t, fillOne(t, l, byFill, beginOne(t, l, byFill, 5).Token, user(byFill, 5)))
	byUpdate := absentUser()
	must[bool](t)(l.Apply(t.Context(), user(byUpdate, 5)))
	for _, id := range []string{byFill, byUpdate} {
		check(t, s.client.Del(t.Context(), profile.Key(id)).Err())
		if v := beginOne(t, l, id, 0); v.Kind != Leased {
			t.Errorf("after he existed and was evicted: %+v; want a lease", v)
		}
	}
}

// TestFillLooksAtEachWhenAnyIsKnown has news of the second user of a call, and none of the first.
func TestFillLooksAtEachWhenAnyIsKnown(t *testing.T) {
	s, l := onRedis(t, Config{})
	ids := []string{s.id(t), s.id(t)}
	must[bool](t)(l.Apply(t.Context(), user(ids[1], 10)))
	check(t, s.client.Del(t.Context(), profile.Key(ids[1])).Err())
	var fills []Fill
	for i, v := range l.Begin(t.Context(), asksFor(ids), noRoom) {
		fills = append(fills, Fill{ID: ids[i], Token: v.Token, Profile: user(ids[i], 9)})
	}
	if errs := l.Fill(t.Context(), fills); errs[0] != nil || !errors.Is(errs[1], ErrRefused) {
		t.Errorf("fills: %v; want only the second refused", errs)
	}
}

// TestLateLoadFillsWhenNobodyTookOver has a load that takes longer than its lease.
func TestLateLoadFillsWhenNobodyTookOver(t *testing.T) {
	s, l := onRedis(t, Config{Lease: 20 * time.Millisecond})
	id, other := s.id(t), s.l2(t, Config{})
	v := beginOne(t, l, id, 0)
	if ttl := must[time.Duration](t)(s.client.PTTL(t.Context(), keys(id)[2]).Result()); ttl < time.Minute {
		t.Errorf("the lease is kept for %v; want the guard's time", ttl)
	}
	var over LeaseReply
	eventually(t, "the lease to be over", func() bool {
		at := must[string](t)(s.client.Get(t.Context(), keys(id)[2]).Result())
		ms, err := strconv.ParseInt(at[:13], 10, 64)
		return err == nil && time.Now().UnixMilli() > ms
	})
	check(t, fillOne(t, l, id, v.Token, user(id, 5)))
	id = s.id(t)
	v = beginOne(t, l, id, 0)
	eventually(t, "another to take over", func() bool { over = beginOne(t, other, id, 0); return over.Kind == Leased })
	if err := fillOne(t, l, id, v.Token, user(id, 5)); !errors.Is(err, ErrRefused) {
		t.Errorf("a fill after another took over: %v", err)
	}
	check(t, fillOne(t, other, id, over.Token, user(id, 5)))
}

// What raised a floor that the origin is below is believed for most of a minute: the origin may
// lag. Then the origin is, and the next change is taken, though it is below that floor as well.
func TestFloorGivesWayToTheOrigin(t *testing.T) {
	s, l := onRedis(t, Config{})
	id := s.id(t)
	guard := keys(id)[1]
	raised := func(ago time.Duration) {
		check(t, s.client.HSet(t.Context(), guard, "floor", 50).Err())
		check(t, s.client.PExpire(t.Context(), guard, 10*time.Minute-ago).Err())
	}
	raised(45 * time.Second)
	if err := fillOne(t, l, id, beginOne(t, l, id, 0).Token, user(id, 10)); err == nil {
		t.Error("a floor of 45 s ago gives way")
	}
	v := beginOne(t, l, id, 0)
	vouched := Fill{ID: id, Token: v.Token, Profile: user(id, 10), Vouched: true}
	if err := l.Fill(t.Context(), []Fill{vouched})[0]; err != nil {
		t.Errorf("a node that has heard of nothing for a minute: %v", err)
	}
	ends, floor := must[time.Duration](t)(s.client.PTTL(t.Context(), keys(id)[0]).Result()), must[string](t)(s.client.HGet(t.Context(), keys(id)[1], "floor").Result())
	if ends <= 0 || ends > 10*time.Second || floor != "50" {
		t.Errorf("what it vouches for ends after %v, and the floor is %s; want at most 10 s, and 50", ends, floor)
	}
	check(t, s.client.Del(t.Context(), keys(id)[0]).Err())
	raised(51 * time.Second)
	check(t, fillOne(t, l, id, beginOne(t, l, id, 0).Token, user(id, 10)))
	if ttl := must[time.Duration](t)(s.client.PTTL(t.Context(), keys(id)[0]).Result()); ttl > 10*time.Minute {
		t.Errorf("the record is kept for %v; want no longer than the guard", ttl)
	}
	if !must[bool](t)(l.Apply(t.Context(), user(id, 20))) {
		t.Error("the next change, 20, is refused")
	}
	if p := stored(t, l, id); p == nil || p.UpdatedAt != 20 {
		t.Errorf("stored %+v; want version 20", p)
	}
	raised(51 * time.Second)
	for _, vouched := range []bool{false, true} {
		v := beginOne(t, l, id, 99)
		older := Fill{ID: id, Token: v.Token, Profile: user(id, 10), Vouched: vouched}
		if err := l.Fill(t.Context(), []Fill{older})[0]; err == nil {
			t.Error("what is older than the record itself takes its place")
		}
	}
}

// TestLostLeasesAreBounded forgets what is long over.
func TestLostLeasesAreBounded(t *testing.T) {
	var l lostLeases
	for i := range 10 * lostMost {
		l.note(strconv.Itoa(i), context.DeadlineExceeded)
		if !l.has(strconv.Itoa(max(0, i-lostMost+1))) {
			t.Fatalf("after %d, one of the last %d is forgotten", i, lostMost)
		}
	}
	if n := len(l.young) + len(l.aged); n > 2*lostMost {
		t.Errorf("%d are kept", n)
	}
	for _, err := range []error{nil, ErrDown, proto("ERR no")} {
		if l.note("answered", err); l.has("answered") {
			t.Errorf("%v leaves nothing open", err)
		}
	}
}
