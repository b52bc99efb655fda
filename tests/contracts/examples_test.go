package contracts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// TestEventsAreWrittenAsThePageSays publishes the changes of the page and reads their entries back
// as any client would.
func TestEventsAreWrittenAsThePageSays(t *testing.T) {
	p, client := readPage(t), redistest.Server(t).Client()
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	user := p.user(t)
	for block, e := range map[string]stream.Event{
		"json payload":     {Kind: profile.Updated, UserID: user.ID, Version: user.UpdatedAt, Profile: user},
		"json deleted":     {Kind: profile.Deleted, UserID: user.ID, Version: user.UpdatedAt + 1},
		"json invalidated": {Kind: profile.Invalidated, UserID: user.ID},
	} {
		id, err := publisher.Publish(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		entry := client.XRange(t.Context(), stream.Name, id, id).Val()[0]
		if got, want := entry.Values["payload"], p.example(t, block); got != want {
			t.Errorf("%s: the payload is\n%v\nthe page says\n%v", block, got, want)
		}
		whole, has := entry.Values["profile"]
		if e.Profile != nil && whole != p.bytes(t, "profile") || has != (e.Profile != nil) {
			t.Errorf("%s: the field profile is % x", block, whole)
		}
	}
}

// TestFunctionsAreAnnouncedAsThePageSays pushes a function and looks at the entries and the record.
func TestFunctionsAreAnnouncedAsThePageSays(t *testing.T) {
	p, server := readPage(t), redistest.Server(t)
	pushFunction(t, startNode(t, p, server.URL()))
	client := server.Client()
	entries := client.XRange(t.Context(), stream.Name, "-", "+").Val()
	if len(entries) != 2 {
		t.Errorf("%d entries for a push; want one to make ready and one to serve", len(entries))
	}
	for _, entry := range entries {
		if entry.Values["payload"] != p.example(t, "json function") || entry.Values["function"] != "hide-matricule" {
			t.Errorf("an entry is %v", entry.Values)
		}
	}
	text := client.HGet(t.Context(), "{edgecache:fn}:names", "hide-matricule").Val()
	var is, says edge.Record
	if err := errors.Join(json.Unmarshal([]byte(text), &is), json.Unmarshal([]byte(p.example(t, "json record")), &says)); err != nil {
		t.Fatal(err)
	}
	is.Current, is.Versions[0].Number, is.Versions[0].At = says.Current, says.Versions[0].Number, says.Versions[0].At
	if !reflect.DeepEqual(is, says) {
		t.Errorf("the record is %s; the page says %s", text, p.example(t, "json record"))
	}
}

// TestEventsOfOthersAreReadAsThePageSays decodes each payload of the page's table.
func TestEventsOfOthersAreReadAsThePageSays(t *testing.T) {
	for _, cells := range readPage(t).rows(t, "payload") {
		payload := strings.Trim(cells[0], "`")
		if got := reading(stream.Decode(map[string]any{"payload": payload})); got != cells[1] {
			t.Errorf("%s\nis read as %q; the page says %q", payload, got, cells[1])
		}
	}
}

// reading says what Decode returned in the words of the page.
func reading(e stream.Event, err error) string {
	for _, refusal := range []error{stream.ErrUnknownKind, stream.ErrMalformed, stream.ErrTooLarge} {
		if errors.Is(err, refusal) {
			return strings.TrimSuffix("refused, "+e.UserID, ", ") + ": " + refusal.Error()
		}
	}
	return fmt.Sprintf("%s %s at %d: %s", e.Kind, e.UserID, e.Version, parts(e.Patch))
}

func parts(p *profile.Patch) string {
	var out []string
	for _, part := range []struct {
		name  string
		value *string
	}{{"fullName", p.FullName}, {"avatar", p.Avatar}, {"matricule", p.Matricule}, {"ministere", p.Ministere}, {"sexe", p.Sexe}} {
		if part.value != nil {
			out = append(out, part.name)
		}
	}
	if out == nil {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// TestBytesAreThoseOfThePage reads the user of the page from a node, over HTTP and in Redis.
func TestBytesAreThoseOfThePage(t *testing.T) {
	p, server := readPage(t), redistest.Server(t)
	n := startNode(t, p, server.URL())
	s, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct{ path, accept, want string }{
		{"/v1/users?ids=123,456&sources=1", "application/msgpack", p.bytes(t, "batch")},
		{"/v1/users/123", "application/msgpack", p.bytes(t, "profile")},
		{"/v1/users/123", "application/json", p.example(t, "json user") + "\n"},
	} {
		if got := get(t, "http://"+s.Addr().String()+c.path, c.accept); got != c.want {
			t.Errorf("%s as %s:\n% x\nthe page says\n% x", c.path, c.accept, got, c.want)
		}
	}
	if got := server.Client().HGet(t.Context(), "user:profile:123", "ext").Val(); got != p.bytes(t, "ext") {
		t.Errorf("ext is % x", got)
	}
}

func get(t *testing.T, url, accept string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
