package redistest

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestClusterHoldsEverySlotOnThreeMasters(t *testing.T) {
	c := Cluster(t)
	ctx := t.Context()
	for i := range 300 {
		if err := c.Client().Set(ctx, "k"+strconv.Itoa(i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range c.Nodes {
		n, err := p.Client().DBSize(ctx).Result()
		if err != nil || n < 50 {
			t.Errorf("node %s holds %d keys, %v", p.Addr, n, err)
		}
	}
	if want := "redis+cluster://" + strings.Join(c.Addrs, ","); c.URL() != want {
		t.Errorf("URL is %q, want %q", c.URL(), want)
	}
}

func TestClusterIsWholeAgainAfterANodeRestarts(t *testing.T) {
	c := Cluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), ReadyTimeout)
	defer cancel()
	must(t, c.Nodes[1].Restart())
	must(t, c.AwaitOK(ctx))
	for i := range 100 {
		if err := c.Client().Set(ctx, "k"+strconv.Itoa(i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSentinelFailsOverToTheReplica(t *testing.T) {
	s := Sentinel(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), ReadyTimeout)
	defer cancel()
	if err := s.Client().Set(ctx, "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Master.Client().Wait(ctx, 1, ReadyTimeout).Result(); err != nil || n != 1 {
		t.Fatalf("replicas in step: %d, %v", n, err)
	}
	if addr, err := s.MasterAddr(ctx); err != nil || addr != s.Master.Addr {
		t.Fatalf("master is %s, %v; want %s", addr, err, s.Master.Addr)
	}
	must(t, s.Master.Kill())
	addr, err := s.AwaitFailover(ctx, s.Master.Addr)
	if err != nil || addr != s.Replica.Addr {
		t.Fatalf("new master is %s, %v; want %s", addr, err, s.Replica.Addr)
	}
	if got, err := s.Client().Get(ctx, "a").Result(); err != nil || got != "1" {
		t.Fatalf("after failover: %q, %v", got, err)
	}
	if !strings.HasSuffix(s.URL(), s.Sentinels[2].Addr+"/"+MasterName) {
		t.Errorf("URL is %q", s.URL())
	}
}

func TestPasswordHoldsForEveryTopology(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*ReadyTimeout)
	defer cancel()
	o := Options{Password: "open"}
	s := Sentinel(t, o)
	c, err := StartCluster(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for url, client := range map[string]redis.Cmdable{s.URL(): s.Client(), c.URL(): c.Client()} {
		if err := client.Set(ctx, "a", "1", 0).Err(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if !strings.Contains(url, "://:open@127.0.0.1:") {
			t.Errorf("URL without its password: %s", url)
		}
	}
}
