package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
)

// settled returns the value that a flag of a command ends up with.
func settled(t *testing.T, env map[string]string, flag string, args ...string) string {
	t.Helper()
	p := &program{getenv: func(name string) string { return env[name] }}
	root := p.root()
	var value string
	for _, cmd := range root.Commands() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			value = cmd.Flag(flag).Value.String()
			return nil
		}
	}
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestFlagsAreStrongerThanTheEnvironmentThanTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "edgecache.yaml")
	if err := os.WriteFile(file, []byte("# of serve\nlisten: 127.0.0.1:3\nsample-users: 3\nlog-level: error\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"EDGECACHE_LISTEN": "127.0.0.1:2", "EDGECACHE_CONFIG": file}
	for _, c := range []struct {
		env  map[string]string
		flag string
		args []string
		want string
	}{
		{nil, "listen", []string{"serve"}, "127.0.0.1:8003"},
		{nil, "listen", []string{"serve", "--config", file}, "127.0.0.1:3"},
		{env, "listen", []string{"serve"}, "127.0.0.1:2"},
		{env, "sample-users", []string{"serve"}, "3"},
		{env, "log-level", []string{"serve"}, "error"},
		{env, "log-level", []string{"serve", "--log-level", "info"}, "info"},
		{env, "listen", []string{"serve", "--listen", "127.0.0.1:1"}, "127.0.0.1:1"},
		{env, "listen", []string{"serve", "--listen", "127.0.0.1:1", "--config", file}, "127.0.0.1:1"},
	} {
		if got := settled(t, c.env, c.flag, c.args...); got != c.want {
			t.Errorf("%v with %v: %s is %q; want %q", c.args, c.env, c.flag, got, c.want)
		}
	}
}

func TestTheNamesOfTheOldServices(t *testing.T) {
	all := map[string]string{"REDIS_HOST": "r", "REDIS_PORT": "7", "AUTH_USER_SERVICE_URL": "http://a:8001",
		"AUTH_USER_SERVICE_PORT": "8001", "CHAT_FILE_SERVICE_PORT": "8003"}
	for _, c := range []struct {
		env                 map[string]string
		command, flag, want string
	}{
		{all, "serve", "redis", "redis://r:7"},
		{map[string]string{"REDIS_HOST": "r"}, "serve", "redis", "redis://r:6379"},
		{map[string]string{"REDIS_HOST": "::1"}, "serve", "redis", "redis://[::1]:6379"},
		{map[string]string{"REDIS_PORT": "7"}, "origin", "redis", "redis://127.0.0.1:7"},
		{map[string]string{"REDIS_HOST": "r", "REDIS_URL": "rediss://u"}, "serve", "redis", "rediss://u"},
		{map[string]string{"REDIS_URL": "rediss://u", "EDGECACHE_REDIS": "redis://e"}, "serve", "redis", "redis://e"},
		{map[string]string{"REDIS_URL": ""}, "serve", "redis", ""},
		{all, "serve", "origin", "http://a:8001"},
		{all, "serve", "listen", "127.0.0.1:8003"},
		{all, "serve", "origin-listen", "127.0.0.1:8001"},
		{all, "origin", "listen", "127.0.0.1:8001"},
		{map[string]string{"CHAT_FILE_SERVICE_PORT": "9"}, "stats", "node", "http://127.0.0.1:9"},
	} {
		if got := settled(t, c.env, c.flag, c.command); got != c.want {
			t.Errorf("%s with %v: %s is %q; want %q", c.command, c.env, c.flag, got, c.want)
		}
	}
}
