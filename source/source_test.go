package source_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
)

func TestSource(t *testing.T) {
	server := redistest.Server(t)
	client, err := redisconn.Open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	good := source.Config{Store: store, Redis: client, Service: source.ServiceConfig{Listen: "127.0.0.1:0"}}
	for want, change := range map[string]func(*source.Config){
		"Config.Store is nil": func(c *source.Config) { c.Store = nil },
		"Config.Redis is nil": func(c *source.Config) { c.Redis = nil },
		"want HOST:PORT":      func(c *source.Config) { c.Service.Listen = "8001" },
		"not listening on":    func(c *source.Config) { c.Service.Listen = "0.0.0.0:0" },
	} {
		cfg := good
		change(&cfg)
		if _, err := source.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}

	s, err := source.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("a second Start: %v", err)
	}
	got := truth.Ask(t, "POST", "http://"+s.Addr()+"/", `{"id":"1","nom":"Ngo"}`, truth.JSONType)
	entries, err := client.XRange(t.Context(), "events:users", "-", "+").Result()
	if got.Status != 201 || err != nil || len(entries) != 1 {
		t.Errorf("a change: %d %s, %d entries in the stream, %v; want it announced", got.Status, got.Body, len(entries), err)
	}
	if name, err := client.HGet(t.Context(), "user:profile:1", "fullName").Result(); err != nil || name != "Ngo" {
		t.Errorf("in Redis: %q, %v", name, err)
	}
	if st := s.Stats(); st.Announced != 1 || st.Failures != 0 {
		t.Errorf("stats %+v", st)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := s.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	idle, err := source.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(idle.Close(), idle.Close()); err != nil {
		t.Errorf("Close before Start: %v", err)
	}
}
