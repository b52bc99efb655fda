package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// rig is a cluster of processes.
type rig struct {
	params
	dir    string
	redis  *redistest.Proc
	origin *counter
	nodes  []*process
	made   int
}

// process is one node.
type process struct {
	cmd    *exec.Cmd
	name   string
	api    string
	gossip string
	log    bytes.Buffer
}

// newRig starts Redis, the origin and nodes. The active users are 1 to users, the newest first.
func newRig(ctx context.Context, p params, users, nodes int) (r *rig, err error) {
	r = &rig{params: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.dir, err = os.MkdirTemp("", "edgecache-rig-"); err != nil {
		return r, err
	}
	if r.redis, err = redistest.Start(ctx, redistest.Options{}); err != nil {
		return r, err
	}
	if r.origin, err = newCounter(users); err != nil {
		return r, err
	}
	if err := r.writeActive(users); err != nil {
		return r, err
	}
	if text, err := exec.CommandContext(ctx, p.bin, "cluster", "keys", "add", "--file", r.path("keys")).CombinedOutput(); err != nil {
		return r, fmt.Errorf("cluster keys: %w: %s", err, text)
	}
	for range nodes {
		if _, err := r.start(ctx); err != nil {
			return r, err
		}
	}
	return r, r.awaitMembers(ctx, nodes)
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) writeActive(users int) error {
	var b bytes.Buffer
	now := time.Now().UnixMilli()
	for i := 1; i <= users; i++ {
		fmt.Fprintf(&b, `{"id":"%d","lastActive":%d}`+"\n", i, now-int64(i))
	}
	return os.WriteFile(r.path("active.jsonl"), b.Bytes(), 0o600)
}

// freePort returns a port that was free a moment ago.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// start starts one more node and waits until it is ready.
func (r *rig) start(ctx context.Context) (*process, error) {
	web, err := freePort()
	if err != nil {
		return nil, err
	}
	gossip, err := freePort()
	if err != nil {
		return nil, err
	}
	r.made++
	n := &process{name: fmt.Sprint("node-", r.made), api: fmt.Sprint("http://127.0.0.1:", web), gossip: fmt.Sprint("127.0.0.1:", gossip)}
	args := []string{"serve", "--redis", r.redis.URL(), "--origin", r.origin.url, "--listen", fmt.Sprint("127.0.0.1:", web),
		"--cluster-bind", n.gossip, "--cluster-key-file", r.path("keys"), "--cluster-node", n.name, "--prewarm-source", r.path("active.jsonl")}
	for _, other := range r.nodes {
		args = append(args, "--cluster-join", other.gossip)
	}
	n.cmd = exec.CommandContext(ctx, r.bin, args...)
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	r.nodes = append(r.nodes, n)
	return n, poll(ctx, "the node to be ready: "+n.name, 30*time.Second, func() bool {
		var ok struct{}
		return n.get(ctx, "/readyz", &ok) == nil
	})
}

// kill ends a node without a word.
func (r *rig) kill(i int) *process {
	n := r.nodes[i]
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait() // it was killed
	r.nodes = append(r.nodes[:i:i], r.nodes[i+1:]...)
	return n
}

func (r *rig) close() error {
	for len(r.nodes) > 0 {
		r.kill(0)
	}
	if r.origin != nil {
		r.origin.close()
	}
	var err error
	if r.redis != nil {
		err = r.redis.Close()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// get decodes the answer to a GET.
func (n *process) get(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.api+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", path, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

func (n *process) prewarm(ctx context.Context) (s prewarm.Status, err error) {
	err = n.get(ctx, "/v1/prewarm", &s)
	return s, err
}

func poll(ctx context.Context, what string, limit time.Duration, ok func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v in vain for %s", limit, what)
		}
	}
	return nil
}

func (r *rig) awaitMembers(ctx context.Context, want int) error {
	for _, n := range r.nodes {
		var c struct{ Members []json.RawMessage }
		if err := poll(ctx, fmt.Sprint("all nodes to know ", want, " members"), 30*time.Second, func() bool {
			c.Members = nil
			return n.get(ctx, "/v1/cluster", &c) == nil && len(c.Members) == want
		}); err != nil {
			return err
		}
	}
	return nil
}

// prewarm runs the command, as an operator would, and returns its output, exit code and time.
func (r *rig) prewarm(ctx context.Context, args ...string) (stdout, stderr string, code int, took time.Duration, err error) {
	cmd := exec.CommandContext(ctx, r.bin, append([]string{"prewarm", "--node", r.nodes[0].api}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err = cmd.Run()
	took = time.Since(began)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return strings.TrimSpace(out.String()), errs.String(), cmd.ProcessState.ExitCode(), took, err
}

// inRedis counts which of users 1 to n Redis has.
func (r *rig) inRedis(ctx context.Context, n int) (int, error) {
	const page = 1000
	held := 0
	for from := 1; from <= n; from += page {
		var keys []string
		for i := from; i < from+page && i <= n; i++ {
			keys = append(keys, profile.Key(fmt.Sprint(i)))
		}
		k, err := r.redis.Client().Exists(ctx, keys...).Result()
		if err != nil {
			return held, err
		}
		held += int(k)
	}
	return held, nil
}
