package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// running runs a command until the end of the test.
func running(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &background{stop: cancel, done: make(chan error, 1)}
	p := &program{stdin: strings.NewReader(""), stdout: &b.stdout, stderr: &b.stderr, getenv: func(string) string { return "" }}
	go func() { b.done <- p.run(ctx, args) }()
	t.Cleanup(func() { b.end(t) })
	return b
}

// someEvents adds an entry of each form and returns their ids.
func someEvents(t *testing.T, c *redis.Client) (ids []string) {
	t.Helper()
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	avatar := "/a.webp"
	for _, e := range []stream.Event{
		{Kind: profile.Created, UserID: "1", Version: 10, Profile: &profile.Profile{ID: "1", Nom: "Ngo", UpdatedAt: 10}},
		{Kind: profile.Updated, UserID: "2", Version: 11, Patch: &profile.Patch{ID: "2", Version: 11, Avatar: &avatar}},
		{Kind: profile.Invalidated, UserID: "3"},
	} {
		id, err := publisher.Publish(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	id, err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: stream.Name, Values: []any{"payload", "no \x1b[31mJSON"}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return append(ids, id)
}

func TestEventsTailShowsEachForm(t *testing.T) {
	server := redistest.Server(t)
	ids := someEvents(t, server.Client())
	for _, c := range []struct {
		args string
		want []string
	}{
		{"--from start --count 4", []string{
			ids[0] + "  2", "user.profile.created", "  1  10  whole", ids[1], "  2  11  patch", ids[2], "user.profile.invalidated  3  -  bare",
			ids[3], "  -  -  malformed: malformed event: payload:"}},
		{"--from " + ids[1] + " --count 1", []string{ids[2]}},
		{"--from start --count 2 --json", []string{`{"id":"` + ids[0] + `","at":"20`, `"kind":"user.profile.created","user":"1","version":10,"form":"whole"}`, `"form":"patch","hint":true}`}},
	} {
		got := command(t, "", nil, append([]string{"events", "tail", "--redis", server.URL()}, strings.Fields(c.args)...)...)
		if got.err != nil || strings.Contains(got.stdout, "\x1b") {
			t.Errorf("%s: %+v", c.args, got)
		}
		for _, want := range c.want {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%s: no %q in\n%s", c.args, want, got.stdout)
			}
		}
	}
}

func TestEventsTailFollowsAndSurvivesARestart(t *testing.T) {
	// keeps nothing, so that after the restart the stream is another one
	server := redistest.Server(t)
	before := someEvents(t, server.Client())
	tail := running(t, "events", "tail", "--redis", server.URL())
	add := func(at string) {
		values := []any{"payload", `{"event":"user.profile.updated","userId":"` + at + `","timestamp":5}`}
		if err := server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: stream.Name, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the first change", func() bool { add("new"); return strings.Contains(tail.stdout.String(), "  new  5  patch") })
	if strings.Contains(tail.stdout.String(), before[0]) {
		t.Errorf("it began before now:\n%s", tail.stdout.String())
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two attempts", func() bool { return strings.Contains(tail.stderr.String(), "attempt 2: ") })
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a change after the restart", func() bool { add("again"); return strings.Contains(tail.stdout.String(), "  again  5  patch") })
	if lines := strings.Count(tail.stderr.String(), "\n"); lines < 2 || lines > 20 {
		t.Errorf("%d lines about the attempts:\n%s", lines, tail.stderr.String())
	}
}

func TestEventsPending(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	pending := func(args ...string) outcome {
		return command(t, "", map[string]string{"REDIS_URL": server.URL()}, append([]string{"events", "pending"}, args...)...)
	}
	if got := pending(); exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), "there is no stream events:users in this Redis") {
		t.Errorf("without a stream: %+v", got)
	}
	ids := someEvents(t, c)
	if got := pending(); exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), "has no group of workers") {
		t.Errorf("without a group: %+v", got)
	}
	const group = "edgecache:worker"
	if err := c.XGroupCreate(t.Context(), stream.Name, group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	read := &redis.XReadGroupArgs{Group: group, Consumer: "host-1", Streams: []string{stream.Name, ">"}, Count: 2}
	if err := c.XReadGroup(t.Context(), read).Err(); err != nil {
		t.Fatal(err)
	}
	got := pending()
	text := strings.Join(strings.Fields(got.stdout), " ")
	for _, want := range []string{"entries 4 last id " + ids[3] + " delivered up to " + ids[1] + " pending 2 oldest pending " + ids[0] + ", ",
		"ago dead letters 0 WORKER PENDING IDLE host-1 2 "} {
		if got.err != nil || !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s%v", want, got.stdout, got.err)
		}
	}
	var b stream.Backlog
	if got := pending("--json"); json.Unmarshal([]byte(got.stdout), &b) != nil || b.Pending != 2 || b.Consumers["host-1"].Pending != 2 {
		t.Errorf("as JSON: %+v", got)
	}
}

// bury puts dead letters into Redis as a worker does.
func bury(t *testing.T, c *redis.Client, users ...string) (ids []string) {
	t.Helper()
	for i, user := range users {
		values := []any{"entry", fmt.Sprintf("%d-0", 1764000000000+i), "reason", "failed: no\ttime", "deliveries", 5,
			"payload", `{"event":"user.profile.updated","userId":"` + user + `","timestamp":5}`}
		if user == "cut" {
			values = append(values, "cut", 1)
		}
		id, err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: stream.Name + ":dead", Values: values}).Result()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestEventsDeadAndReplay(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	ask := func(args ...string) outcome {
		return command(t, "", nil, append(append([]string{"events"}, args...), "--redis", server.URL())...)
	}
	if got := ask("dead"); got.err != nil || got.stdout != "" || !strings.Contains(got.stderr, "there are no dead letters") {
		t.Errorf("without any: %+v", got)
	}
	ids := bury(t, c, "7", "8", "cut", "9")
	got := ask("dead", "--count", "2")
	if want := "entry 1764000000000-0  tries 5  user 7  failed: no·time\n"; got.err != nil || !strings.Contains(got.stdout, want) ||
		strings.Count(got.stdout, "\n") != 2 || !strings.Contains(got.stderr, "there are more than 2") {
		t.Errorf("dead: %+v; want %q", got, want)
	}
	if got := ask("dead", "--json"); strings.Count(got.stdout, "\n") != 4 || !strings.Contains(got.stdout, `"entry":"1764000000001-0"`) || !strings.Contains(got.stdout, `"user":"8"`) {
		t.Errorf("dead as JSON: %+v", got)
	}
	if got := ask("replay", "--all", "--dry-run"); exitCode(got.err) != 1 || got.stdout != "3 of 4 would be put back\n" || c.XLen(t.Context(), stream.Name).Val() != 0 {
		t.Errorf("dry run: %+v", got)
	}
	if got := ask("replay", ids[1], "5-0"); exitCode(got.err) != 1 || got.stdout != "1 of 2 put back\n" || !strings.Contains(got.err.Error(), "5-0 is not among the dead letters") {
		t.Errorf("two of which one is not there: %+v", got)
	}
	if got := ask("replay", ids[0]); got.err != nil || got.stdout != "1 of 1 put back\n" {
		t.Errorf("one: %+v", got)
	}
	if got := ask("replay", "--all"); exitCode(got.err) != 1 || got.stdout != "1 of 2 put back\n" || !strings.Contains(got.err.Error(), ids[2]+" was too large to be kept whole") {
		t.Errorf("all: %+v", got)
	}
	entries := c.XRange(t.Context(), stream.Name, "-", "+").Val()
	if len(entries) != 3 || entries[0].Values["replayOf"] != "1764000000001-0" {
		t.Errorf("put back: %v", entries)
	}
}
