package source_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// crowd is a store whose users share one long text, and whose reads of many wait for release.
type crowd struct {
	source.Store
	text    string
	release chan struct{}
	now     atomic.Int64 // users that are being read
	most    atomic.Int64
}

func newCrowd(t *testing.T, text string) *crowd {
	return &crowd{Store: truth.MakeSQLite(t, t.TempDir(), time.Now), text: text, release: make(chan struct{})}
}

func (c *crowd) enter(n int) {
	now := c.now.Add(int64(n))
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	<-c.release
	c.now.Add(-int64(n))
}

func (c *crowd) user(id string) *profile.Profile {
	return &profile.Profile{ID: id, UpdatedAt: 1, Attrs: map[string]string{"text": c.text}}
}

func (c *crowd) GetBatch(_ context.Context, ids []string) (map[string]*profile.Profile, error) {
	c.enter(len(ids))
	found := make(map[string]*profile.Profile)
	for _, id := range ids {
		found[id] = c.user(id)
	}
	return found, nil
}

func (c *crowd) Page(_ context.Context, after string, limit int) (users []*profile.Profile, err error) {
	if after != "" {
		return nil, nil
	}
	c.enter(limit)
	for i := range limit {
		users = append(users, c.user(fmt.Sprintf("%06d", i)))
	}
	return users, nil
}

// asks are the requests for as many users as one may ask for.
func asks() map[string]string {
	var ids []string
	for i := range origin.MaxBatch {
		ids = append(ids, fmt.Sprint(i))
	}
	batch, _ := json.Marshal(map[string]any{"ids": ids})
	return map[string]string{"POST /batch": string(batch), "GET /batch?ids=" + strings.Join(ids, ","): "", "GET /all": "", "GET /all?limit=500": ""}
}

// TestRequestsForManyWaitForEachOther has thirty requests for 500 users at once: the store reads so
// many users as maxWork says, single lookups pass by, and all are answered.
func TestRequestsForManyWaitForEachOther(t *testing.T) {
	for request, body := range asks() {
		t.Run(request[:min(len(request), 20)], func(t *testing.T) {
			store := newCrowd(t, "")
			service, url := truth.StartService(t, source.ServiceConfig{Store: store})
			truth.Ask(t, "POST", url+"/", `{"id":"1"}`, truth.JSONType)
			method, path, _ := strings.Cut(request, " ")
			var group sync.WaitGroup
			for range 30 {
				group.Go(func() {
					if got := truth.Ask(t, method, url+path, body, truth.JSONType); got.Status != 200 {
						t.Errorf("%d %.200s", got.Status, got.Body)
					}
				})
			}
			testkit.Eventually(t, 10*time.Second, "as many reads as there may be", func() bool {
				return store.now.Load() > source.MaxWork-origin.MaxBatch && service.Conns() >= 30
			})
			if got := truth.Ask(t, "GET", url+"/1", ""); got.Status != 200 {
				t.Errorf("a single lookup beside: %d", got.Status)
			}
			close(store.release)
			group.Wait()
			if most := store.most.Load(); most > source.MaxWork+30 {
				t.Errorf("%d users were read at once; want at most %d", most, source.MaxWork)
			}
		})
	}
}

// TestAnswersAreNotBuiltWithoutRoom has nearly all be held that answers may hold. An answer of 30
// MB is refused then before it is written.
func TestAnswersAreNotBuiltWithoutRoom(t *testing.T) {
	store := newCrowd(t, strings.Repeat("x", 60<<10))
	close(store.release)
	service, url := truth.StartService(t, source.ServiceConfig{Store: store})
	if err := service.Hold(web.MaxHeld - 1<<20); err != nil {
		t.Fatal(err)
	}
	for request, body := range asks() {
		method, path, _ := strings.Cut(request, " ")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := truth.Ask(t, method, url+path, body, truth.JSONType)
		runtime.ReadMemStats(&after)
		if made := (after.TotalAlloc - before.TotalAlloc) >> 20; got.Status != 503 || got.Header.Get("Retry-After") == "" || made > 10 {
			t.Errorf("%.20s: %d %.100s after %d MiB were allocated; want 503 after at most 10", request, got.Status, got.Body, made)
		}
	}
}
