//go:build linux

package check

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redisConf writes deploy/redis.conf, for a server of this test, and returns its path.
func redisConf(t *testing.T, dir, port string) string {
	t.Helper()
	conf := strings.NewReplacer("dir /data", "dir "+dir, "port 6379", "port "+port, "bind * -::*", "bind 127.0.0.1").Replace(read(t, "deploy/redis.conf"))
	file := filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// awaitPong asks until the answer is PONG.
func awaitPong(t *testing.T, ping func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ping() != "PONG"; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("Redis does not answer: %s", ping())
		}
	}
}

// keepsToItself fails the test if others can see the password of a process.
func keepsToItself(t *testing.T, pid int, password string) {
	t.Helper()
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
		if err != nil || strings.Contains(string(text), password) {
			t.Errorf("%s of the server shows the password (%v)", file, err)
		}
	}
}

// TestRedisStartsAsComposed runs the very command of docker-compose.yml on the Redis of this
// machine, with the folders of the container replaced by temporary ones and another port.
func TestRedisStartsAsComposed(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: run `make deps`")
	}
	dir, port := t.TempDir(), freePort(t)
	file := redisConf(t, dir, port)
	s := project(t).Services["redis"]
	if s.Command[0] != "sh" || s.Command[1] != "-c" {
		t.Fatalf("the command is %v", s.Command)
	}
	var out bytes.Buffer
	secrets := secretFiles(t)
	secret, err := os.ReadFile(filepath.Join(secrets, "redis-password"))
	if err != nil {
		t.Fatal(err)
	}
	password := string(secret)
	here := strings.NewReplacer("$$", "$", "/etc/edgecache/redis.conf", file, "/run/secrets", secrets, "redis-cli", "redis-cli -p "+port)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", here.Replace(s.Command[2]))
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // exec made it the server
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", out.String())
		}
	}()

	ask := func(auth string, args ...string) string {
		cli := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-h", "127.0.0.1", "-p", port}, args...)...)
		cli.Env = append(os.Environ(), "REDISCLI_AUTH="+auth)
		answer, _ := cli.CombinedOutput() // an error is in the answer
		return strings.TrimSpace(string(answer))
	}
	awaitPong(t, func() string { return ask(password, "PING") })
	if got := ask("", "PING"); !strings.Contains(got, "NOAUTH") {
		t.Errorf("without the password: %s", got)
	}
	healthy := func() error {
		return exec.CommandContext(t.Context(), "sh", "-c", here.Replace(s.HealthCheck.Test[1])).Run()
	}
	if err := healthy(); err != nil || s.HealthCheck.Test[0] != "CMD-SHELL" {
		t.Errorf("the health check %v: %v", s.HealthCheck.Test, err)
	}
	for name, want := range map[string]string{"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "volatile-lru", "maxmemory": "536870912",
		"notify-keyspace-events": "", "save": "", "protected-mode": "yes"} {
		if got := ask(password, "CONFIG", "GET", name); got != strings.TrimSpace(name+"\n"+want) {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	keepsToItself(t, cmd.Process.Pid, password)
	replace(t, filepath.Join(secrets, "redis-password"), "another")
	if healthy() == nil {
		t.Error("the health check passes with another password")
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
