package outage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
)

// nodeChild is a node with its API, whose origin is at dbEnv.
func nodeChild() {
	client, err := origin.NewClient(origin.ClientConfig{URL: "http://" + os.Getenv(dbEnv)})
	must(err)
	n, err := node.New(node.Config{RedisURL: os.Getenv(redisEnv), Origin: client})
	must(err)
	must(n.Start(context.Background()))
	server, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0"})
	must(err)
	must(server.Start(context.Background()))
	_, _ = fmt.Println(server.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	must(errors.Join(server.Close(), n.Close(), client.Close()))
}

// TestPausedNodeTrustsNothing stops a node's process (SIGSTOP) for less than FenceAfter, changes
// users, and asks for all of them the moment it runs again.
func TestPausedNodeTrustsNothing(t *testing.T) {
	const users = 100
	url := redistest.Server(t).URL()
	truth := startOrigin(t, url, users)
	addr, pid := startProcess(t, "node", truth, url)
	writer := clientOf(t, truth)
	askAll(t, addr, users, nil)
	for _, stopped := range pick([]time.Duration{1100 * time.Millisecond, 2 * time.Second},
		[]time.Duration{time.Second, 1300 * time.Millisecond, 1700 * time.Millisecond, 2 * time.Second,
			2300 * time.Millisecond, 2600 * time.Millisecond, 2900 * time.Millisecond}) {
		check(t, syscall.Kill(pid, syscall.SIGSTOP))
		over := time.Now().Add(stopped)
		want := changeAll(t, writer, users)
		time.AfterFunc(time.Until(over), func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
		old := askAll(t, addr, users, want)
		result(t, fmt.Sprintf("a node stopped (SIGSTOP) for %v while %d users change: no answer is older", stopped, users),
			"%d older", old)
		if old > 0 {
			t.Errorf("stopped for %v: %d of %d first answers are older than the change before the question", stopped, old, users)
		}
	}
}

// changeAll changes each user and returns the versions that the cluster was told of.
func changeAll(t *testing.T, c *origin.Client, users int) []int64 {
	t.Helper()
	versions := make([]int64, users)
	var group sync.WaitGroup
	for i := range users {
		group.Go(func() {
			nom := fmt.Sprint("N", time.Now().UnixNano())
			change, err := c.Put(t.Context(), strconv.Itoa(i+1), origin.Update{Nom: &nom})
			if err != nil {
				t.Errorf("put: %v", err)
			} else if change.Relayed {
				versions[i] = change.Version
			}
		})
	}
	group.Wait()
	return versions
}

// askAll asks for all users at once, each on its own connection, and returns how many answers are
// below want.
func askAll(t *testing.T, addr string, users int, want []int64) (old int) {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range users {
		group.Go(func() {
			got, err := versionAt(client, addr, i+1)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("ask: %v", err)
			} else if want != nil && got < want[i] {
				old++
			}
		})
	}
	group.Wait()
	return old
}

func versionAt(client *http.Client, addr string, id int) (int64, error) {
	res, err := client.Get(fmt.Sprintf("http://%s/v1/users/%d", addr, id))
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	var p struct{ UpdatedAt int64 }
	if res.StatusCode != http.StatusOK {
		return 0, errors.New(res.Status)
	}
	return p.UpdatedAt, json.NewDecoder(res.Body).Decode(&p)
}
