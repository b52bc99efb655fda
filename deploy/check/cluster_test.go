//go:build linux

package check

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// formWithin is how long the nodes may take to find each other on a loaded machine.
const formWithin = 40 * time.Second

// allRanges is profile.Ranges: the parts of all ids that the members share.
const allRanges = 1024

// composed runs services of docker-compose.yml as processes of this machine: with their own
// commands and environments, each at an address of its own in 127.0.0.0/8 where a container would
// have one. PostgreSQL alone is replaced, by a file of SQLite.
type composed struct {
	t       *testing.T
	project *types.Project
	names   *strings.Replacer // the names and folders of the containers
	addr    map[string]string // of each service
	secrets string            // the folder that /run/secrets is in the containers
}

func newComposed(t *testing.T) *composed {
	t.Helper()
	project, err := load(example(t), "deploy/node4.yml")
	if err != nil {
		t.Fatal(err)
	}
	c := &composed{t: t, project: project, addr: map[string]string{}, secrets: secretFiles(t)}
	dir, net := t.TempDir(), fmt.Sprintf("127.%d.%d.", 1+rand.N(250), rand.N(256))
	var pairs, all []string
	for i, name := range []string{"redis", "origin", "node1", "node2", "node3", "node4"} {
		c.addr[name] = fmt.Sprint(net, 1+i)
		pairs = append(pairs, "@"+name+":", "@"+c.addr[name]+":", "//"+name+":", "//"+c.addr[name]+":",
			name+".gossip:", c.addr[name]+":")
		if strings.HasPrefix(name, "node") {
			all = append(all, c.addr[name]+":7946")
		}
	}
	c.names = strings.NewReplacer(append(pairs, "nodes:7946", strings.Join(all, ","),
		"/etc/edgecache/cluster/cluster.keys", filepath.Join(c.secrets, "cluster/cluster.keys"), "/run/secrets", c.secrets)...)
	replace(t, filepath.Join(c.secrets, "database-url"), "sqlite:"+filepath.Join(dir, "users.db"))
	return c
}

// secretFiles returns a folder with what deploy/secrets.sh makes.
func secretFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "deploy", "secrets.sh")
	if err := copyFile(filepath.Join(root, "deploy/secrets.sh"), script); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "deploy", "secrets")
}

// replace writes a file anew, whatever its mode.
func replace(t *testing.T, file, text string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o400); err != nil {
		t.Fatal(err)
	}
}

// secret returns what is in a file of /run/secrets.
func (c *composed) secret(name string) string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.secrets, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// start runs a service until the test ends, and shows what it wrote if the test has failed.
func (c *composed) start(name string) {
	c.t.Helper()
	s := c.project.Services[name]
	args := make([]string, len(s.Command))
	for i, arg := range s.Command {
		args[i] = c.names.Replace(arg)
	}
	var out output
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(imageRoot(c.t), "edgecache"), args...)
	for key, value := range s.Environment {
		text := strings.ReplaceAll(c.names.Replace(*value), "0.0.0.0", c.addr[name])
		cmd.Env = append(cmd.Env, key+"="+text)
	}
	cmd.Stdout, cmd.Stderr = &out, &out
	c.run(name, cmd, &out)
	waitFor(c.t, &out, `ready on (\S+)`)
}

func (c *composed) run(name string, cmd *exec.Cmd, out *output) {
	c.t.Helper()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if c.t.Failed() {
			c.t.Logf("%s wrote:\n%s", name, out)
		}
	})
}

// startRedis runs the Redis of this machine at the address and with the password of the composed.
func (c *composed) startRedis() {
	c.t.Helper()
	var out output
	cmd := exec.CommandContext(c.t.Context(), "redis-server", "--bind", c.addr["redis"], "--save", "",
		"--requirepass", c.secret("redis-password"), "--dir", c.t.TempDir())
	cmd.Stdout, cmd.Stderr = &out, &out
	c.run("redis", cmd, &out)
	waitFor(c.t, &out, `(Ready to accept connections)`)
}

// token returns a token that the nodes take.
func (c *composed) token() string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(imageRoot(c.t), "edgecache"), "token", "--role", "admin")
	cmd.Env = []string{"JWT_SECRET_FILE=" + filepath.Join(c.secrets, "jwt-secret")}
	text, err := cmd.Output()
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// membersOf returns how many ranges each member has that the node knows to be alive.
func (c *composed) membersOf(name string) map[string]int {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.addr[name]+":8003/v1/cluster", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var answer struct {
		Members []struct {
			Name, State string
			Ranges      int
		}
	}
	if json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return nil
	}
	ranges := map[string]int{}
	for _, m := range answer.Members {
		if m.State == "alive" {
			ranges[m.Name] = m.Ranges
		}
	}
	return ranges
}

// wantCluster waits until each of the nodes knows all of them, with an even share of the ranges.
func (c *composed) wantCluster(names ...string) {
	c.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(formWithin)
	for _, name := range names {
		for !even(c.membersOf(name), names) {
			if <-tick.C; time.Now().After(deadline) {
				c.t.Fatalf("%s knows %v; want %v, each with its share", name, c.membersOf(name), names)
			}
		}
	}
}

// even reports whether the members are those named, and own all ranges between them, each its share
// or at most a fifth more or less: a hash deals them out.
func even(ranges map[string]int, names []string) bool {
	total := 0
	for _, n := range ranges {
		total += n
	}
	for _, name := range names {
		if n := ranges[name] * len(names); 5*n < 4*total || 5*n > 6*total || n == 0 {
			return false
		}
	}
	return len(ranges) == len(names) && total == allRanges
}

// TestComposedNodesFormOneCluster: three nodes started as docker-compose.yml starts them are one
// cluster of three, and deploy/node4.yml adds a fourth to it.
func TestComposedNodesFormOneCluster(t *testing.T) {
	c := newComposed(t)
	c.startRedis()
	for _, name := range ours {
		c.start(name)
	}
	c.wantCluster(nodes...)
	c.start("node4")
	c.wantCluster(append(slices.Clone(nodes), "node4")...)
}
