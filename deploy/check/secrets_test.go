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

// TestSecrets runs deploy/secrets.sh twice in a folder of its own: it makes all that docker-compose.yml asks for, readable by those who need it, and changes nothing the second time.
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
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(values); err != nil {
		t.Errorf("docker-compose.yml with the .env that was made: %v", err)
	}
	plain := regexp.MustCompile(`^[0-9a-f]{24,}$`) // it goes into URLs
	for _, name := range []string{"REDIS_PASSWORD", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD", "JWT_SECRET"} {
		if !plain.MatchString(values[name]) {
			t.Errorf("%s is %q", name, values[name])
		}
	}
	if len(values["JWT_SECRET"]) < 32 {
		t.Errorf("JWT_SECRET has %d bytes", len(values["JWT_SECRET"]))
	}
	keys := filepath.Join(dir, "deploy/secrets/cluster/cluster.keys")
	key, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(key))); err != nil || len(raw) != 32 {
		t.Errorf("the key has %d bytes, %v", len(raw), err)
	}
	for path, want := range map[string]os.FileMode{".env": 0o600, "deploy/secrets": 0o700, "deploy/secrets/cluster": 0o755, "deploy/secrets/cluster/cluster.keys": 0o444} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
	run()
	if again, err := os.ReadFile(keys); err != nil || string(again) != string(key) {
		t.Errorf("a second run made another key (%v)", err)
	}
	if second, err := dotenv.Read(filepath.Join(dir, ".env")); err != nil || second["JWT_SECRET"] != values["JWT_SECRET"] {
		t.Errorf("a second run made other secrets (%v)", err)
	}
}
