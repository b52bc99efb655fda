package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream/history"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// TestWhyAsksEachNode asks two nodes, of which one holds the user and does not say where its API
// is.
func TestWhyAsksEachNode(t *testing.T) {
	redis, keys := redistest.Server(t).URL(), filepath.Join(t.TempDir(), "keys")
	if got := command(t, "", nil, "cluster", "keys", "add", "--file", keys); got.err != nil {
		t.Fatal(got.err)
	}
	origin := start(t, "origin", "--redis", redis, "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--sample-users", "9", "--listen", "127.0.0.1:0")
	serve := func(args ...string) string {
		args = append([]string{"serve", "--redis", redis, "--origin", origin.urls()[0], "--listen", "127.0.0.1:0",
			"--cluster-bind", "127.0.0.1:0", "--cluster-key-file", keys}, args...)
		return start(t, args...).urls()[0]
	}
	first := serve("--cluster-node", "first")
	second := serve("--cluster-node", "second", "--cluster-join", members(t, first)[0].Addr, "--listen", freePort(t))
	testkit.Eventually(t, 20*time.Second, "two members", func() bool { return len(members(t, first)) == 2 })
	if got := command(t, "", nil, "get", "7", "--node", first); got.err != nil {
		t.Fatal(got.err)
	}
	got := command(t, "", nil, "why", "7", "--node", first)
	for _, want := range []string{"user 7 at ", "node first: a read is answered from its memory: version ", "because memory holds it", "loaded from the origin",
		"node second: a read is answered from Redis: version ", "memory holds nothing of the user; Redis has the record", "as edgecache wrote it, kept for ", "no lease: nobody loads the user", "answered in ", "events of the user in the last"} {
		if got.err != nil || !strings.Contains(got.stdout, want) {
			t.Fatalf("%q is missing, %v:\n%s", want, got.err, got.stdout)
		}
	}
	if got := command(t, "", nil, "why", "7", "--node", second); !strings.Contains(got.stdout, "node first: not known: it does not say where its API is") {
		t.Errorf("asked the other way round: %+v", got)
	}
	var answers []node.Why
	got = command(t, "", nil, "why", "7", "--node", first, "--alone", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &answers); err != nil || len(answers) != 1 || answers[0].Read.Tier != "L1" {
		t.Errorf("why --json: %+v, %v", got, err)
	}
	if got := command(t, "", nil, "why", "a b"); exitCode(got.err) != exitUsage {
		t.Errorf("an id that is none: %+v", got)
	}
}

// TestWhyInWords has each state told.
func TestWhyInWords(t *testing.T) {
	now := time.UnixMilli(1_700_000_100_000).UTC()
	p := &profile.Profile{ID: "7", FullName: "Awa Ngo Mbé", UpdatedAt: 1_700_000_000_000}
	answers := []whyAnswer{
		{name: "a", why: node.Why{Node: "a", At: now,
			Why: look.Why{ID: "7", Read: look.Reading{Tier: "stale", Version: p.UpdatedAt, Because: "nobody else answers"},
				Memory: look.Copy{State: look.CopyFenced, Profile: p, Age: 61_400}, RedisDown: true,
				Redis:  l2.Held{Profile: p, Trust: "hint", TTL: -1, Floor: 5, Guard: 1000, Absent: 9, Said: "0000018bcfe568000000000000000003", Lease: &l2.LeaseHeld{Left: 4}},
				Origin: look.Truth{Error: "out of order"}},
			Past: history.Past{Searched: 3, Since: now.Add(-time.Hour), Events: []history.Line{{ID: "5-0", At: now.Add(-time.Second), Kind: "user.profile.updated", Form: "patch", Hint: true, Version: 9}}}}},
		{name: "b", why: node.Why{Why: look.Why{Read: look.Reading{Tier: "none"}, Loading: true, Memory: look.Copy{State: look.CopyNone}}}},
		{name: "c", why: node.Why{Why: look.Why{Read: look.Reading{Tier: "L2", Missing: true}, Memory: look.Copy{State: look.CopyExpired, Absent: true}}}},
		{name: "d\x1b", err: errors.New("no route\x1b[2J")},
	}
	text := whyText(answers)
	for _, want := range []string{
		"node a: a read is answered with a copy that is marked stale: version 1700000000000 (2023-11-14 22:13:20.000)\n  because nobody else answers\n",
		`"Awa Ngo Mbé"`, "loaded from Redis 1m1s ago, fenced", "as another service wrote or changed it, kept for ever", "counts as down",
		"stores nothing below version 5", "the user is known not to exist, for 9ms", "(entry 1700000000000-3), for which the origin was not asked yet",
		"another node loads the user, and may for 4ms more", "does not answer: out of order", "5-0, 1s ago: said by another service updated, patch version 9",
		"1 events of the user in the last 3 entries, which go back 1h0m0s", "node b: a read fails: nobody can answer it", "nothing yet, a load is under way",
		"node c: a read is answered from Redis: there is no such user", "that there is no such user; loaded from Redis 0s ago, expired", "node d·: not known: no route·[2J",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
