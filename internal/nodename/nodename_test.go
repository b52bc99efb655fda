package nodename

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestNamesDifferAndTellTheProcess(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		name := New()
		if seen[name] || len(name) > 128 || !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(name) {
			t.Fatalf("%q is there twice, too long, or has odd characters", name)
		}
		if !strings.Contains(name, "-"+strconv.Itoa(os.Getpid())+"-") {
			t.Fatalf("%q does not have the process id %d", name, os.Getpid())
		}
		seen[name] = true
	}
}

func TestOddHostNamesBecomePlain(t *testing.T) {
	if got := strings.Map(plain, "é b/c.1_X-"); got != "--b-c.1_X-" {
		t.Errorf("got %q", got)
	}
}
