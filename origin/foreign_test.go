package origin

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Any answer of HTTP shows that the origin lives, whatever it says and wherever it is asked.
func TestStartTakesAnyAnswer(t *testing.T) {
	for _, status := range []int{200, 204, 302, 404, 500, 503} {
		var path atomic.Value
		c := startClient(t, ClientConfig{HealthPath: "/api/status?deep=0"}, func(w http.ResponseWriter, r *http.Request) {
			path.CompareAndSwap(nil, r.URL.RequestURI())
			reply(status, "<html>")(w, r)
		})
		if err := c.Start(t.Context()); err != nil || path.Load() != "/api/status?deep=0" {
			t.Errorf("%d at %v: %v; want it to be alive", status, path.Load(), err)
		}
	}
	if err := newClient(t, ClientConfig{URL: "http://127.0.0.1:1"}).Start(t.Context()); err == nil {
		t.Error("nobody listens, and it is alive")
	}
	if _, err := NewClient(ClientConfig{URL: "http://h", HealthPath: "health"}); err == nil {
		t.Error("a health path without a slash is taken")
	}
}

// A service whose key is another field is asked by it, alone and in bulk.
func TestIDField(t *testing.T) {
	c := startClient(t, ClientConfig{IDField: "matricule"}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/batch" {
			reply(200, `{"users":[{"id":1,"matricule":"100001B","nom":"N"},{"id":2,"matricule":623456}],"count":2}`)(w, r)
			return
		}
		reply(200, `{"success":true,"user":{"id":1,"matricule":"100001B","nom":"N"}}`)(w, r)
	})
	p, err := c.Load(t.Context(), "100001B")
	if err != nil || p.ID != "100001B" || p.Matricule != "100001B" || p.Nom != "N" {
		t.Errorf("%+v, %v", p, err)
	}
	b, err := c.LoadBatch(t.Context(), []string{"100001B", "623456", "3"})
	if err != nil || b.Found["100001B"] == nil || b.Found["623456"] == nil || fmt.Sprint(b.Missing) != "[3]" || len(b.Errors) != 0 {
		t.Errorf("%+v, %v", b, err)
	}
}

// What is no profile is told apart from a service that is not there, logged once, and not asked for
// again at once.
func TestMalformedAnswersAreRemembered(t *testing.T) {
	var log bytes.Buffer
	var good atomic.Bool
	c := startClient(t, ClientConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case good.Load():
			reply(200, `{"id":"`+strings.TrimPrefix(r.URL.Path, "/")+`"}`)(w, r)
		case r.URL.Path == "/batch":
			reply(200, `[{"id":"8","nom":[]},{"id":"9"}]`)(w, r)
		default:
			reply(200, `{"profil":{}}`)(w, r)
		}
	})
	for i := range 20 {
		_, err := c.Load(t.Context(), fmt.Sprint("u", i%2))
		if !errors.Is(err, profile.ErrMalformed) || !strings.Contains(err.Error(), `the fields "profil"`) {
			t.Fatalf("load %d: %v", i, err)
		}
	}
	for range 3 {
		b, err := c.LoadBatch(t.Context(), []string{"8", "9"})
		if err != nil || b.Found["9"] == nil || !errors.Is(b.Errors["8"], profile.ErrMalformed) {
			t.Fatalf("batch: %+v, %v", b, err)
		}
	}
	// Twice for u0 and u1, and three batches of which the last two did not ask for 8.
	if st := c.Stats(); st.Requests != 5 || st.Malformed != 3 || st.Breaker != "closed" {
		t.Errorf("%+v; want 5 requests, 3 malformed answers and a closed breaker", st)
	}
	if n := strings.Count(log.String(), "is no profile"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
	good.Store(true)
	if _, err := c.Put(t.Context(), "u0", Update{Nom: new(string)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context(), "u0"); err != nil {
		t.Errorf("after a change: %v", err)
	}
}

func TestMalformedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m malformed
		m.note(slog.New(slog.DiscardHandler), "7", fmt.Errorf("%w: x", errNonsense))
		m.note(slog.New(slog.DiscardHandler), "8", errors.New("the service is not there"))
		if m.of("7") == nil || m.of("8") != nil {
			t.Errorf("7: %v, 8: %v", m.of("7"), m.of("8"))
		}
		time.Sleep(malformedFor + 1) // of virtual time
		if err := m.of("7"); err != nil || len(m.users) != 0 {
			t.Errorf("after %v: %v, %v", malformedFor, err, m.users)
		}
		for i := range maxMalformed + 1 {
			m.note(slog.New(slog.DiscardHandler), fmt.Sprint(i), errNonsense)
		}
		if len(m.users) > maxMalformed {
			t.Errorf("%d are remembered", len(m.users))
		}
	})
}

// A picture in place of its URL costs the picture, not the user; answers for many that are too long
// are asked for in parts.
func TestTooLargeFieldsAreLeftOut(t *testing.T) {
	avatar := "data:image/png;base64," + strings.Repeat("A", 200<<10)
	one := func(id string) string { return fmt.Sprintf(`{"id":%q,"nom":"N","avatar":%q}`, id, avatar) }
	c := startClient(t, ClientConfig{BatchTimeout: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		ids := strings.Split(r.URL.Query().Get("ids"), ",")
		if r.URL.Path != "/batch" {
			reply(200, one("7"))(w, r)
			return
		}
		if len(ids) > 2 {
			reply(200, strings.Repeat(" ", maxBatchBody+1))(w, r)
			return
		}
		reply(200, "["+one(ids[0])+","+one(ids[1])+"]")(w, r)
	})
	p, err := c.Load(t.Context(), "7")
	if err != nil || p.Nom != "N" || p.Avatar != "" || c.Stats().Shed != 1 {
		t.Errorf("%+v, %v, %d shed", p, err, c.Stats().Shed)
	}
	b, err := c.LoadBatch(t.Context(), []string{"1", "2", "3", "4"})
	if err != nil || len(b.Found) != 4 || len(b.Errors) != 0 || c.Stats().Shed != 5 {
		t.Errorf("%d found, errors %v, %d shed, %v", len(b.Found), b.Errors, c.Stats().Shed, err)
	}
}
