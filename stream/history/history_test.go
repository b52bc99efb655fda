package history

import (
	"fmt"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// TestHistory looks for a user among many others, over several pages of the stream.
func TestHistory(t *testing.T) {
	server := redistest.Server(t)
	c, ctx := server.Client(), t.Context()
	if past, err := Of(ctx, c, "", "1", 5); err != nil || len(past.Events) != 0 || past.Searched != 0 {
		t.Errorf("without a stream: %+v, %v", past, err)
	}
	pipe := c.Pipeline()
	add := func(values ...any) { pipe.Do(ctx, append([]any{"XADD", stream.Name, "*"}, values...)...) }
	whole, err := stream.Encode(stream.Event{Kind: profile.Updated, UserID: "1", Version: 7, Profile: &profile.Profile{ID: "1", FullName: "Awa", UpdatedAt: 7}})
	if err != nil {
		t.Fatal(err)
	}
	add(whole...)
	for i := range 2 * page {
		add("payload", fmt.Sprintf(`{"event":"user.profile.updated","userId":"9%d"}`, i))
	}
	add("payload", `{"event":"user.profile.updated","userId":1,"avatar":"/a","timestamp":8}`)
	add("payload", `{"event":"user.profile.renamed","userId":"1"}`)
	add("payload", `nonsense`)
	_, err = pipe.Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	past, err := Of(ctx, c, "", "1", 5)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, l := range past.Events {
		got += fmt.Sprintln(l.Kind, l.Version, l.Form, l.Hint)
	}
	if want := " 0 malformed false\nuser.profile.updated 8 patch true\nuser.profile.updated 7 whole false\n"; got != want {
		t.Errorf("events:\n%swant:\n%s", got, want)
	}
	if past.Searched != 2*page+4 || past.Since.IsZero() {
		t.Errorf("searched %d entries, since %v", past.Searched, past.Since)
	}
	if past, err := Of(ctx, c, "", "1", 1); err != nil || len(past.Events) != 1 || past.Searched != page {
		t.Errorf("the last alone: %+v, %v", past, err)
	}
}
