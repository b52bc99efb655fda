package check

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// help returns what the binary says of one of its commands.
func help(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(imageRoot(t), "edgecache"), command, "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("edgecache %s --help: %v\n%s", command, err, out)
	}
	return string(out)
}

// has reports whether a help text lists a flag.
func has(help, flag string) bool {
	return slices.ContainsFunc(strings.Fields(help), func(word string) bool { return strings.TrimSuffix(word, ",") == flag })
}

// TestEveryFlagExists: each command, flag and variable by which docker-compose.yml runs the binary
// is one that it knows.
func TestEveryFlagExists(t *testing.T) {
	check := func(service, text, flag string) {
		if !has(text, flag) {
			t.Errorf("%s uses %s, which is not in the command's --help", service, flag)
		}
	}
	services := project(t).Services
	for _, name := range ours {
		s := services[name]
		text := help(t, s.Command[0])
		for _, word := range s.Command[1:] {
			if strings.HasPrefix(word, "--") {
				check(name, text, word)
			}
		}
		for variable := range s.Environment {
			if flag, ok := strings.CutPrefix(variable, "EDGECACHE_"); ok && variable != "EDGECACHE_DB_FILE" {
				check(name, text, "--"+strings.ToLower(strings.ReplaceAll(flag, "_", "-")))
			} else if variable != "GOMEMLIMIT" && !strings.Contains(text, variable) { // Go's own
				t.Errorf("%s sets %s, which is not in the command's --help", name, variable)
			}
		}
		test := s.HealthCheck.Test
		if len(test) < 3 || test[0] != "CMD" || test[1] != "/edgecache" || test[2] != "health" {
			t.Errorf("%s is checked by %v; there is no other program in the image", name, test)
			continue
		}
		for _, word := range test[3:] {
			if strings.HasPrefix(word, "--") {
				check(name, help(t, "health"), word)
			}
		}
	}
}
