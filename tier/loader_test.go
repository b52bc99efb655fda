package tier

import (
	"context"
	"errors"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// TestAFunctionIsALoader: what a function says of a user is what a read and a batch tell of that
// user.
func TestAFunctionIsALoader(t *testing.T) {
	down := errors.New("the database is down")
	everything := func(_ context.Context, ids []string) (profile.Batch, error) {
		b := profile.Batch{Found: map[string]*profile.Profile{}, Errors: map[string]error{}}
		for _, id := range ids {
			switch id {
			case "found":
				b.Found[id] = user(id, 1)
			case "missing":
				b.Missing = append(b.Missing, id)
			case "broken":
				b.Errors[id] = down
			case "all":
				return profile.Batch{}, down
			}
		}
		return b, nil
	}
	url := redistest.Server(t).URL()
	for id, want := range map[string]error{"found": nil, "missing": profile.ErrNotFound, "broken": down, "forgotten": errNoAnswer, "all": down} {
		c := newCache(t, url, LoaderFunc(everything), nil)
		if _, err := c.Get(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("Get(%q): %v; want %v", id, err, want)
		}
		b, err := c.BatchGet(t.Context(), []string{"found", id}, Want{})
		got := b.Errors[id]
		if len(b.Missing) == 1 {
			got = profile.ErrNotFound
		}
		if err != nil || !errors.Is(got, want) {
			t.Errorf("BatchGet(found, %q): %v, %v; want %v", id, b, err, want)
		}
	}
}
