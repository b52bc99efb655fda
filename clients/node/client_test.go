// Package node runs the tests of the Node.js client against a node.
package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const secret = "0123456789abcdef0123456789abcdef"

// users knows the users 1 to 5000. Each time that it is asked for one, the version has risen.
type users struct{ asked sync.Map }

func (u *users) version(id string) int64 {
	n, _ := u.asked.LoadOrStore(id, new(atomic.Int64))
	return 1700000000000 + 1000*n.(*atomic.Int64).Add(1)
}

func (u *users) Load(_ context.Context, id string) (*profile.Profile, error) {
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > 5000 {
		return nil, fmt.Errorf("users: %q: %w", id, profile.ErrNotFound)
	}
	return &profile.Profile{ID: id, Nom: "Nom" + id, Prenom: "P", UpdatedAt: u.version(id)}, nil
}

func (u *users) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if p, err := u.Load(ctx, id); err == nil {
			b.Found[id] = p
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// startNode runs a node with tokens, and returns its URL.
func startNode(t *testing.T) string {
	t.Helper()
	redis, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(node.Config{RedisURL: redis.URL(), Origin: new(users)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	server, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0", Tokens: auth.Config{Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = server.Close(), n.Close(), redis.Close() })
	return "http://" + server.Addr().String()
}

func token(t *testing.T, role auth.Role) string {
	t.Helper()
	text, err := auth.SignToken(auth.Config{Secret: secret}, auth.Grant{Role: role, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// run runs node (the program) with an environment of the test's, and returns what it printed.
func run(t *testing.T, env []string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is not installed: run `make deps`, or `apt-get install nodejs` on Debian")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestClientAgainstANode(t *testing.T) {
	url := startNode(t)
	tests, err := filepath.Glob("test/*.test.js")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	out := run(t, []string{"EDGECACHE_URL=" + url, "EDGECACHE_READER=" + token(t, auth.RoleRead), "EDGECACHE_ADMIN=" + token(t, auth.RoleAdmin)},
		append([]string{"--test", "--test-reporter=tap"}, tests...)...)
	if !strings.Contains(out, "# pass 7") || !strings.Contains(out, "# fail 0") || !strings.Contains(out, "# skipped 0") {
		t.Errorf("not all seven tests passed:\n%s", out)
	}
}

func TestExample(t *testing.T) {
	out := run(t, []string{"EDGECACHE_URL=" + startNode(t), "EDGECACHE_TOKEN=" + token(t, auth.RoleRead)}, "examples/lookup.js", "7", "9999")
	if want := "7: P Nom7 (from origin, 0 s old)\n9999: no such user\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
}
