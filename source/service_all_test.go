package source_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

func TestServiceAll(t *testing.T) {
	const users = 2*source.PageUsers + 7
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	_, url := truth.StartService(t, source.ServiceConfig{Store: s})
	for _, accept := range []string{"*/*", source.MIMENDJSON} {
		if got := truth.Ask(t, "GET", url+"/all", "", "Accept: "+accept); strings.TrimSpace(got.Body) != map[string]string{"*/*": "[]"}[accept] {
			t.Errorf("nobody as %s: %q", accept, got.Body)
		}
	}
	loadNumbered(t, s, users)
	var list []profile.Profile
	if got := truth.Ask(t, "GET", url+"/all", ""); json.Unmarshal([]byte(got.Body), &list) != nil || len(list) != users {
		t.Errorf("array of %d users, %.100s", len(list), got.Body)
	}
	got := truth.Ask(t, "GET", url+"/all?after=000997", "", "Accept: "+source.MIMENDJSON)
	lines := strings.Split(strings.TrimSpace(got.Body), "\n")
	if got.Header.Get("Content-Type") != source.MIMENDJSON || len(lines) != users-998 || !strings.HasPrefix(lines[0], `{"id":"000998"`) {
		t.Errorf("%d lines, %v", len(lines), got.Header)
	}
	var ids []string
	for next := "/all?limit=400"; next != ""; {
		got := truth.Ask(t, "GET", url+next, "")
		if err := json.Unmarshal([]byte(got.Body), &list); err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			ids = append(ids, p.ID)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(got.Header.Get("Link"), "<"), ">")
	}
	if len(ids) != users || !slices.IsSorted(ids) {
		t.Errorf("pages have %d users", len(ids))
	}
}

// loadNumbered loads users "000000", "000001" and so on.
func loadNumbered(t *testing.T, s source.Store, n int) {
	t.Helper()
	var users iter.Seq[*profile.Profile] = func(yield func(*profile.Profile) bool) {
		for i := 0; i < n && yield(&profile.Profile{ID: fmt.Sprintf("%06d", i), Nom: "N", Prenom: "P"}); i++ {
		}
	}
	if _, err := s.BulkLoad(t.Context(), users); err != nil {
		t.Fatal(err)
	}
}

// pagesThenError is a store whose Page fails after some pages.
type pagesThenError struct {
	source.Store
	left int
}

func (s *pagesThenError) Page(ctx context.Context, after string, limit int) ([]*profile.Profile, error) {
	if s.left--; s.left < 0 {
		return nil, fmt.Errorf("read page: %w: disk is gone", origin.ErrInternal)
	}
	return s.Store.Page(ctx, after, limit)
}

func TestServiceAllThatFailsIsCutOff(t *testing.T) {
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	loadNumbered(t, s, 3*source.PageUsers)
	_, url := truth.StartService(t, source.ServiceConfig{Store: &pagesThenError{Store: s, left: 1}})
	for _, want := range []string{"unexpected EOF", ""} {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(mustRequest(t, url+"/all"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		switch {
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("a stream that failed in the middle: status %d, %v", resp.StatusCode, err)
		case want == "" && resp.StatusCode != 500:
			t.Errorf("one that failed at once: %d", resp.StatusCode)
		}
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
