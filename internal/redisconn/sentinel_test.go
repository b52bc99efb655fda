package redisconn_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// Sentinels that ask for a password of their own are given it, beside that of the servers.
func TestSentinelsWithAPassword(t *testing.T) {
	s := redistest.Sentinel(t, redistest.Options{Password: "of-the-data"})
	for _, p := range s.Sentinels {
		c := redis.NewClient(&redis.Options{Addr: p.Addr, Protocol: 2})
		if err := c.Do(t.Context(), "ACL", "SETUSER", "default", "resetpass", ">of-the-sentinels").Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for url, works := range map[string]bool{
		s.URL(): false, s.URL() + "?sentinel-password=wrong": false, s.URL() + "?sentinel-password=of-the-sentinels": true,
		s.URL() + "?db=2&sentinel-user=default&sentinel-password=of-the-sentinels": true,
	} {
		if err := set(t, url); (err == nil) != works {
			t.Errorf("%s: %v; want that it works is %t", strings.ReplaceAll(url, s.URL(), "URL"), err, works)
		}
	}
}

func set(t *testing.T, url string) error {
	t.Helper()
	client, err := redisconn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return client.Set(ctx, "k", 1, time.Minute).Err()
}
