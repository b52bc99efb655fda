package embedded_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKeysExpireByThemselves(t *testing.T) {
	r, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Set(t.Context(), "short", 1, 50*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(t.Context(), "long", 1, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	for client.Get(t.Context(), "short").Err() != redis.Nil {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatal("a key of 50 ms is still there after 10 s")
		}
	}
	if err := client.Get(t.Context(), "long").Err(); err != nil {
		t.Errorf("a key of an hour: %v", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func Example() {
	r, err := embedded.StartRedis()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	_, err = redisconn.Open(r.URL())
	fmt.Println(err)
	// Output: <nil>
}
