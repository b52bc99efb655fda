package gossip

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// results collects the figures of the long forms.
var results report

type report struct {
	mu   sync.Mutex
	rows []string
}

func (r *report) add(what, figure, want string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, fmt.Sprintf("| %s | %s | %s |\n", what, figure, want))
}

// write writes gossip.md, when there is a folder and something to write.
func (r *report) write(dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if dir == "" || len(r.rows) == 0 {
		return nil
	}
	form := "Short forms: times are a fifth, numbers a tenth or less."
	if *long {
		form = "Long forms, with the times that nodes have by default."
	}
	text := fmt.Sprintf("# Gossip: loss, partitions, intruders, balance\n\nWritten by `go test ./gossip -long -parallel 8 -timeout 30m -out DIR`, %s; %s%s/%s, %d processors, %s. %s\n\n"+
		"| what | figure | to reach |\n|---|---|---|\n%s",
		time.Now().UTC().Format(time.RFC3339), commit(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), form, strings.Join(r.rows, ""))
	return os.WriteFile(filepath.Join(dir, "gossip.md"), []byte(text), 0o644)
}

func commit() string {
	text, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return ""
	}
	return "commit " + strings.TrimSpace(string(text)) + "; "
}
