package l2

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func user(id string, version int64) *profile.Profile {
	return &profile.Profile{
		ID: id, Nom: "Ngo Mbé", Prenom: "Amélie", FullName: "Amélie Ngo Mbé " + id,
		Avatar: "https://cdn.example.org/avatars/" + id + ".webp", Matricule: "623456-K",
		Ministere: "MINSANTE", Sexe: "F", UpdatedAt: version,
	}
}

// open returns a client that the test closes.
func open(tb testing.TB, url string) redis.UniversalClient {
	tb.Helper()
	client, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// check fails the test when there is an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	client := open(t, "redis://127.0.0.1:1")
	resp3 := redis.NewClient(&redis.Options{Protocol: 3})
	defer func() { _ = resp3.Close() }()
	for part, conf := range map[string]Config{
		"Client is nil": {}, "speaks RESP3": {Client: resp3},
		"TTL is 1s":   {Client: client, TTL: time.Second},
		"Lease -1ns":  {Client: client, Lease: -1},
		"Guard is 1s": {Client: client, Guard: time.Second},
	} {
		if _, err := New(conf); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New: %v, want %q", err, part)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	var names []string
	for k := Leased - 1; k <= Busy+1; k++ {
		names = append(names, k.String())
	}
	want := "kind(-1) leased present absent busy kind(4)"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the kinds are %q; want %q", got, want)
	}
}

// Round trips that are made again, because the server has lost the scripts, are due once each: a
// count that drifts would hide silence, or see it where there is none.
func TestDueRoundTripsAreCountedOnce(t *testing.T) {
	server := redistest.Server(t)
	l, err := New(Config{Client: open(t, server.URL())})
	check(t, err)
	var ids []string
	for i := range 200 {
		ids = append(ids, strconv.Itoa(i+1))
	}
	check(t, server.Client().Set(t.Context(), profile.Key("7"), "no hash", 0).Err())
	for range 2 {
		check(t, server.Client().ScriptFlush(t.Context()).Err())
		var fills []Fill
		for i, v := range l.Begin(t.Context(), asksFor(ids), noRoom) {
			fills = append(fills, Fill{ID: ids[i], Token: v.Token, Profile: user(ids[i], 1)})
		}
		l.Fill(t.Context(), fills)
		read(t, l, ids)
	}
	if n := l.health.due.Load(); n != 0 {
		t.Errorf("%d round trips are due; want none", n)
	}
}

// What the server replies shows that it lives, and a caller that leaves shows nothing.
func TestWhatCountsAsAFailure(t *testing.T) {
	var refused redis.Error = proto("READONLY")
	for name, c := range map[string]struct {
		said  []error
		fails int64
		down  bool
	}{
		"answers":            {[]error{nil, nil}, 0, false},
		"errors of its own":  {[]error{refused, refused, refused}, 0, false},
		"callers that leave": {[]error{context.Canceled, context.Canceled, context.Canceled}, 0, false},
		"two in a row":       {[]error{io.EOF, io.EOF}, 2, false},
		"not in a row":       {[]error{io.EOF, io.EOF, nil, io.EOF}, 1, false},
		"three in a row":     {[]error{io.EOF, context.Canceled, io.EOF, io.EOF}, 3, true},
		"back again":         {[]error{io.EOF, io.EOF, io.EOF, nil}, 0, false},
	} {
		var h health
		for _, err := range c.said {
			h.begin()
			h.note(time.Now(), err)
		}
		if n := h.failures.Load(); n != c.fails || h.down.Load() != c.down || h.due.Load() != 0 {
			t.Errorf("%s: %d failures, down %v; want %d, %v", name, n, h.down.Load(), c.fails, c.down)
		}
		if err := h.ask(t.Context()); errors.Is(err, ErrDown) != c.down {
			t.Errorf("%s: asked now: %v", name, err)
		}
	}
}

// proto is an error that the server replied.
type proto string

func (p proto) Error() string { return string(p) }

func (p proto) RedisError() {}
