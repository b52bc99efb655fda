package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tempFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const twoCommands = `redis: redis://127.0.0.1:1
log-level: warn
sample-users: 7
serve:
  listen: 127.0.0.1:3
  prewarm: true
origin:
  listen: 127.0.0.1:4
  redis: redis://127.0.0.1:2
  import:
    format: csv
`

func TestOneFileHasSectionsForCommands(t *testing.T) {
	file := tempFile(t, "edgecache.yaml", twoCommands)
	for _, c := range []struct {
		command, flag, want string
	}{
		{"serve", "listen", "127.0.0.1:3"}, {"serve", "redis", "redis://127.0.0.1:1"}, {"serve", "log-level", "warn"}, {"serve", "prewarm", "true"},
		{"serve", "sample-users", "7"}, {"origin", "listen", "127.0.0.1:4"}, {"origin", "redis", "redis://127.0.0.1:2"}, {"stats", "log-level", "warn"},
	} {
		if got := settled(t, nil, c.flag, c.command, "--config", file); got != c.want {
			t.Errorf("%s: %s is %q, want %q", c.command, c.flag, got, c.want)
		}
	}
	if got := settled(t, map[string]string{"EDGECACHE_LISTEN": "127.0.0.1:9"}, "listen", "serve", "--config", file); got != "127.0.0.1:9" {
		t.Errorf("the environment is weaker than a section: %q", got)
	}
}

func TestSectionsThatAreWrong(t *testing.T) {
	for text, says := range map[string]string{
		"stats:\n  lissten: x\n":              `:2: unknown setting "lissten"`,
		"stats:\n  node: a\n  node: b\n":      "set twice",
		"origin: {}\nnothing: 1\n":            `unknown setting "nothing"`,
		"stats:\n  timeout: 5s\ntimeout: 0\n": "timeout",
		"starts:\n  timeout: 5s\n":            "a mapping",
	} {
		file := tempFile(t, "edgecache.yaml", text)
		got := command(t, "", nil, "stats", "--config", file)
		if got.err == nil || !strings.Contains(got.err.Error(), says) && !strings.Contains(got.err.Error(), `unknown setting "starts"`) || exitCode(got.err) != exitUsage {
			t.Errorf("%q: %v, want %q", text, got.err, says)
		}
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	var stderr buffer
	p := &program{stdin: strings.NewReader(""), stdout: &stderr, stderr: &stderr, getenv: func(string) string { return "" },
		environ: func() []string {
			return []string{"EDGECACHE_REDSI=x", "EDGECACHE_DB_FILE=x", "EDGECACHE_TOKEN=x", "EDGECACHE_LISTEN=x", "PATH=x", "EDGECACHE_TLS_CRET=x"}
		}}
	if err := p.run(t.Context(), []string{"version"}); err != nil {
		t.Fatal(err)
	}
	got := stderr.String()
	for _, want := range []string{"EDGECACHE_REDSI is no setting and changes nothing; the nearest is EDGECACHE_REDIS\n", "the nearest is EDGECACHE_TLS_CERT\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if n := strings.Count(got, "is no setting"); n != 2 {
		t.Errorf("%d variables are named:\n%s", n, got)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	db := tempFile(t, "db", "postgres://u:hidden@127.0.0.1:1/x\n")
	if got := settled(t, map[string]string{"EDGECACHE_DB_FILE": db}, "db", "origin"); got != "postgres://u:hidden@127.0.0.1:1/x" {
		t.Errorf("EDGECACHE_DB_FILE: %q", got)
	}
	if got := settled(t, map[string]string{"EDGECACHE_DB_FILE": db, "EDGECACHE_DB": "sqlite:x"}, "db", "origin"); got != "sqlite:x" {
		t.Errorf("EDGECACHE_DB beside it: %q", got)
	}
	secret := tempFile(t, "jwt", testSecret+"\n")
	for _, c := range []struct {
		env  map[string]string
		says string
	}{
		{map[string]string{"JWT_SECRET_FILE": secret, "JWT_SECRET": testSecret}, "want one of them"},
		{map[string]string{"JWT_SECRET_FILE": secret + "x"}, "JWT_SECRET_FILE"},
		{map[string]string{"JWT_SECRET_FILE": tempFile(t, "empty", "\n")}, "is empty"},
		{map[string]string{"JWT_SECRET": "hunter2"}, "32 or more"},
		{map[string]string{}, "needs the secret"},
	} {
		got := command(t, "", c.env, "token")
		if got.err == nil || !strings.Contains(got.err.Error(), c.says) || strings.Contains(got.err.Error(), "hunter2") {
			t.Errorf("%v: %v, want %q", c.env, got.err, c.says)
		}
	}
	a := command(t, "", map[string]string{"JWT_SECRET_FILE": secret}, "token", "--role", "write", "--ttl", "1h", "--subject", "x")
	if a.err != nil || strings.Count(a.stdout, ".") != 2 {
		t.Errorf("token: %q, %v", a.stdout, a.err)
	}
}
