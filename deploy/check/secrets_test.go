package check

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// TestSecrets runs deploy/secrets.sh twice in a folder of its own: it makes all that
// docker-compose.yml asks for, readable by those who need it, and changes nothing the second time.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "deploy", "secrets.sh")
	if err := copyFile(filepath.Join(root, "deploy/secrets.sh"), script); err != nil {
		t.Fatal(err)
	}
	run := func() {
		if out, err := exec.CommandContext(t.Context(), script).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run()
	values, err := dotenv.Read(filepath.Join(dir, ".env"))
	if err != nil || len(values) != 1 || values["SAMPLE_USERS"] != "0" {
		t.Errorf(".env has %v, %v; want SAMPLE_USERS alone", values, err)
	}
	if _, err := load(values); err != nil {
		t.Errorf("docker-compose.yml with the .env that was made: %v", err)
	}
	secret := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, "deploy/secrets", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	plain := regexp.MustCompile(`^[0-9a-f]{24,}$`) // it goes into URLs, and nothing follows it
	for _, name := range []string{"redis-password", "postgres-password", "grafana-password", "jwt-secret"} {
		if !plain.MatchString(secret(name)) {
			t.Errorf("%s is %q", name, secret(name))
		}
	}
	if n := len(secret("jwt-secret")); n < 32 {
		t.Errorf("jwt-secret has %d bytes", n)
	}
	if url := secret("database-url"); !strings.Contains(url, ":"+secret("postgres-password")+"@postgres:") {
		t.Errorf("database-url is %q", url)
	}
	keys := filepath.Join(dir, "deploy/secrets/cluster/cluster.keys")
	key, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(key))); err != nil || len(raw) != 32 {
		t.Errorf("the key has %d bytes, %v", len(raw), err)
	}
	for path, want := range map[string]os.FileMode{".env": 0o600, "deploy/secrets": 0o700, "deploy/secrets/cluster": 0o755, "deploy/secrets/cluster/cluster.keys": 0o444,
		"deploy/secrets/redis-password": 0o444, "deploy/secrets/database-url": 0o444} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
	before := secret("jwt-secret")
	run()
	if again, err := os.ReadFile(keys); err != nil || string(again) != string(key) || secret("jwt-secret") != before {
		t.Errorf("a second run made other secrets (%v)", err)
	}
}

// TestSecretsOfBeforeAreKept: the passwords that a .env had are those that a database knows.
func TestSecretsOfBeforeAreKept(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "deploy", "secrets.sh")
	if err := copyFile(filepath.Join(root, "deploy/secrets.sh"), script); err != nil {
		t.Fatal(err)
	}
	env := "REDIS_PASSWORD=r\nPOSTGRES_PASSWORD=p\nGRAFANA_PASSWORD=g\nJWT_SECRET=j\nSAMPLE_USERS=7\n"
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), script).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "take them out") {
		t.Errorf("it said %s, %v", out, err)
	}
	for name, want := range map[string]string{"redis-password": "r", "postgres-password": "p", "grafana-password": "g", "jwt-secret": "j",
		"database-url": "postgres://edgecache:p@postgres:5432/edgecache?sslmode=disable"} {
		if got, err := os.ReadFile(filepath.Join(dir, "deploy/secrets", name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}
