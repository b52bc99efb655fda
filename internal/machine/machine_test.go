package machine

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	m := Read()
	if m.CPU == "" || m.Cores < 1 || !strings.HasPrefix(m.Go, "go") {
		t.Errorf("%+v", m)
	}
	if runtime.GOOS == "linux" && (m.MemoryGiB < 0.1 || len(strings.Fields(m.Load)) != 3 || m.Kernel == "") {
		t.Errorf("%+v", m)
	}
	if got := (Machine{MemoryGiB: 23.46}).Memory(); got != "23.5 GiB" || (Machine{}).Memory() != "" {
		t.Errorf("memory is %q", got)
	}
}

func TestField(t *testing.T) {
	path := filepath.Join(t.TempDir(), "info")
	if err := os.WriteFile(path, []byte("first: 1\nmodel name\t: A chip: fast\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Field(path, "model name"); got != "A chip: fast" {
		t.Errorf("the field is %q", got)
	}
	if Field(path, "name") != "" || Field(path+"x", "first") != "" || firstLine(path+"x") != "" {
		t.Error("something was found that is not there")
	}
}
