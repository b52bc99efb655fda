//go:build linux

package check

import (
	"bytes"
	"context"
	"debug/elf"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxImage is how large the image may be, in bytes: 40 MB.
const maxImage = 40_000_000

// nobody is the user and group in the image.
const nobody = 65532

func TestTheImageIsSmallAndHasNothingElse(t *testing.T) {
	dir := imageRoot(t)
	var files []string
	var size int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the image has %.1f MB", float64(size)/1e6)
	if size > maxImage {
		t.Errorf("the image has %.1f MB; want at most %.0f", float64(size)/1e6, maxImage/1e6)
	}
	if want := []string{"/edgecache", "/etc/group", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt"}; !slices.Equal(files, want) {
		t.Errorf("the image has %v; want %v", files, want)
	}
}

func TestTheBinaryIsStatic(t *testing.T) {
	binary, err := elf.Open(filepath.Join(imageRoot(t), "edgecache"))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it wants a loader")
		}
	}
	if libraries, err := binary.DynString(elf.DT_NEEDED); len(libraries) > 0 {
		t.Errorf("it wants the libraries %v (%v)", libraries, err)
	}
	if symbols, err := binary.Symbols(); len(symbols) > 0 {
		t.Errorf("it has %d symbols (%v); want it stripped", len(symbols), err)
	}
}

// output is what a process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// confined returns a command of the binary in its image: no other file, no variable, an
// unprivileged user.
func confined(t *testing.T, out io.Writer, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/edgecache", args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "/", []string{}, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: imageRoot(t), Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	// only root may change its root folder, or who is root in a world of its own
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.Credential.NoSetGroups = true
	}
	return cmd
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// waitFor returns the first match of a pattern in what a process writes.
func waitFor(t *testing.T, out *output, pattern string) string {
	t.Helper()
	wanted := regexp.MustCompile(pattern)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		if found := wanted.FindString(out.String()); found != "" {
			return found
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%s", pattern, out.String())
		}
	}
}

// TestTheImageServes runs what a container of the image would, in an empty root.
func TestTheImageServes(t *testing.T) {
	out := new(output)
	serve := confined(t, out, "serve", "--listen", "127.0.0.1:0", "--origin-listen", "127.0.0.1:0", "--sample-users", "20")
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	node := strings.TrimPrefix(waitFor(t, out, `ready on http://[0-9.]+:\d+`), "ready on ")

	if status, text := get(t, node+"/readyz"); status != 200 {
		t.Errorf("/readyz: %d %s", status, text)
	}
	for _, tier := range []string{"origin", "L1"} {
		if status, text := get(t, node+"/v1/users/7"); status != 200 || !strings.Contains(text, `"id":"7"`) {
			t.Errorf("a lookup by %s: %d %s", tier, status, text)
		}
	}
	if status, _ := get(t, node+"/v1/users/a%20b"); status != 400 {
		t.Errorf("a bad id: %d", status)
	}
	t.Run("its health check", func(t *testing.T) {
		for want, args := range map[string][]string{"ok\n": {"health", "--node", node}, "cannot reach the node": {"health", "--node", "http://127.0.0.1:1"}} {
			said := new(output)
			err := confined(t, said, args...).Run()
			if (err == nil) != (want == "ok\n") || !strings.Contains(said.String(), want) {
				t.Errorf("%v: %v, %s", args, err, said.String())
			}
		}
	})
	t.Run("the dashboard shows metrics that exist", func(t *testing.T) {
		_, metrics := get(t, node+"/metrics")
		checkDashboard(t, nodesDashboard, metrics)
		checkAlerts(t, metrics)
		lint(t, metrics)
	})
	t.Run("and the origin's", func(t *testing.T) {
		_, origin, _ := strings.Cut(waitFor(t, out, `Origin +embedded, http://[0-9.]+:\d+`), ", ")
		_, metrics := get(t, origin+"/metrics")
		checkDashboard(t, originDashboard, metrics)
		lint(t, metrics)
	})

	began := time.Now()
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("it ended after %v with %v\n%s", time.Since(began), err, out.String())
	}
	if left, err := os.ReadDir(filepath.Join(imageRoot(t), "tmp")); err != nil || len(left) > 0 {
		t.Errorf("it left %v in /tmp (%v)", left, err)
	}
}
