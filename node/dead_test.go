package node

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// TestDeadLettersAreListed puts entries into the stream that are no events, and one that is.
func TestDeadLettersAreListed(t *testing.T) {
	server := redistest.Server(t)
	n, err := New(Config{RedisURL: server.URL(), Origin: newPeople(1), NoPrewarm: true})
	check(t, err)
	defer func() { check(t, n.Close()) }()
	check(t, n.Start(t.Context()))
	if got, err := n.DeadLetters(t.Context(), 10); err != nil || len(got) != 0 {
		t.Fatalf("before any: %+v, %v", got, err)
	}
	for _, payload := range []string{`{"event":"user.profile.updated","userId":"7"`, `{"event":"user.married","userId":"8"}`, `{"event":"user.profile.deleted","userId":"9"}`} {
		check(t, server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: stream.Name, Values: []any{"payload", payload}}).Err())
	}
	var got []DeadLetter
	eventually(t, "two dead letters", func() bool {
		got, err = n.DeadLetters(t.Context(), 10)
		return err == nil && len(got) == 2
	})
	newest, oldest := got[0], got[1]
	if newest.User != "8" || !strings.Contains(newest.Reason, "kind") || newest.Entry == "" || newest.At.IsZero() || oldest.User != "" || newest.ID <= oldest.ID {
		t.Errorf("%+v", got)
	}
	if one, err := n.DeadLetters(t.Context(), 1); err != nil || len(one) != 1 || one[0].ID != newest.ID {
		t.Errorf("one: %+v, %v", one, err)
	}
	if _, err := n.DeadLetters(t.Context(), 0); err == nil {
		t.Error("none were asked for, and that is no error")
	}
}

func TestUserIn(t *testing.T) {
	for payload, want := range map[string]string{
		`{"userId":"7"}`: "7", `{"userId":42}`: "42", `{"id":"x"}`: "x", `{"userId":{"a":1}}`: "", `{"userId":"a b"}`: "", ``: "", `[]`: "", `{"userId":null}`: "null",
	} {
		if want == "null" {
			want = ""
		}
		if got := userIn(payload); got != want {
			t.Errorf("%s is about %q; want %q", payload, got, want)
		}
	}
}
