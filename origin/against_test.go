package origin_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

func TestClientAgainstTheService(t *testing.T) {
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	relay := truth.StartRelay(t, source.RelayConfig{Outbox: store, Announcer: truth.NewRecorder(nil)})
	_, url := truth.StartService(t, source.ServiceConfig{Store: store, Relay: relay})
	c := clientOf(t, origin.ClientConfig{URL: url + "/"})
	ctx := t.Context()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	made, err := c.Create(ctx, &profile.Profile{ID: "1", Nom: "Dupont", Prenom: "Jean", FullName: "Dr Dupont", Attrs: map[string]string{"a": "1"}})
	if err != nil || !made.Relayed || made.Profile.FullName != "Dr Dupont" || made.Version != made.Profile.UpdatedAt {
		t.Fatalf("create: %+v, %v", made, err)
	}
	if _, err := c.Create(ctx, &profile.Profile{ID: "1"}); !errors.Is(err, origin.ErrExists) {
		t.Errorf("second create: %v", err)
	}
	got, err := c.Load(ctx, "1")
	if err != nil || !testkit.SameProfile(got, made.Profile) {
		t.Errorf("load: %+v, %v", got, err)
	}
	if _, err := c.Put(ctx, "1", origin.Update{Nom: testkit.Ptr("x"), IfMatch: []int64{3}}); !errors.Is(err, origin.ErrVersion) {
		t.Errorf("put with a wrong version: %v", err)
	}
	put, err := c.Put(ctx, "1", origin.Update{Avatar: testkit.Ptr("/a"), Attrs: map[string]*string{"a": nil}, IfMatch: []int64{made.Version}})
	if err != nil || put.Profile.Avatar != "/a" || put.Profile.Attrs != nil || put.Version <= made.Version {
		t.Errorf("put: %+v, %v", put, err)
	}
	_, err = c.Put(ctx, "1", origin.Update{Nom: testkit.Ptr("a\x01"), Sexe: testkit.Ptr(strings.Repeat("x", 100))})
	e, ok := errors.AsType[*origin.Error](err)
	if !errors.Is(err, profile.ErrMalformed) || !ok || len(e.Fields) != 2 || !strings.Contains(err.Error(), "nom: control character") {
		t.Errorf("put of bad fields: %v", err)
	}
	h, err := c.Health(ctx)
	if err != nil || h.Users != 1 || h.Status != "ok" || h.Relay == nil || h.Relay.Announced != 2 {
		t.Errorf("health: %+v, %v", h, err)
	}
	del, err := c.Delete(ctx, "1", []int64{put.Version})
	if err != nil || del.Version <= put.Version || !del.Relayed {
		t.Errorf("delete: %+v, %v", del, err)
	}
	_, loadErr := c.Load(ctx, "1")
	_, putErr := c.Put(ctx, "1", origin.Update{Nom: testkit.Ptr("x")})
	_, delErr := c.Delete(ctx, "1", nil)
	for _, err := range []error{loadErr, putErr, delErr} {
		if !errors.Is(err, profile.ErrNotFound) {
			t.Errorf("after delete: %v", err)
		}
	}
	if st := c.Stats(); st.Breaker != "closed" || st.Failures != 0 || st.Retries != 0 || st.Requests == 0 {
		t.Errorf("stats %+v", st)
	}
}

func clientOf(t *testing.T, cfg origin.ClientConfig) *origin.Client {
	t.Helper()
	c, err := origin.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
