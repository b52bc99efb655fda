package origin

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// TestStatusesMeanWhatTheyWere sends each error there and back.
func TestStatusesMeanWhatTheyWere(t *testing.T) {
	lookup, write := &call{}, &call{body: []byte("{}")}
	for _, s := range statuses {
		wrapped := fmt.Errorf("change: %w", s.err)
		if got := Status(wrapped); got != s.code {
			t.Errorf("%v: %d; want %d", s.err, got, s.code)
		}
		of := lookup
		if s.err == profile.ErrMalformed {
			of = write
		}
		if s.code < 500 && !errors.Is(meaning(of, s.code), s.err) {
			t.Errorf("%d means %v; want %v", s.code, meaning(of, s.code), s.err)
		}
	}
	for status, want := range map[int]error{410: profile.ErrNotFound, 422: profile.ErrInvalidID,
		503: profile.ErrUnavailable, 500: profile.ErrUnavailable, 418: profile.ErrUnavailable} {
		if got := meaning(lookup, status); got != want {
			t.Errorf("%d means %v; want %v", status, got, want)
		}
	}
	if got := Status(io.EOF); got != 500 {
		t.Errorf("what is no error of ours is %d; want 500", got)
	}
}
