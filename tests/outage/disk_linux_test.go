package outage

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chatapp-ngomna/edgecache/source"
)

// diskChild is a process in which a folder is a disk of 1 MiB, and another one shows the same
// read-only. An origin runs on the first; one on the second says why it does not.
func diskChild() {
	disk := os.Getenv(dbEnv)
	readOnly := filepath.Join(filepath.Dir(disk), "ro")
	must(os.Mkdir(readOnly, 0o755))
	must(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(syscall.Mount("none", disk, "tmpfs", 0, "size=1m"))
	must(syscall.Mount(disk, readOnly, "", syscall.MS_BIND, ""))
	service, err := serveDisk(disk)
	must(err)
	must(syscall.Mount("", readOnly, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err = serveDisk(readOnly)
	fmt.Printf("%s\n%q\n", service.Addr(), fmt.Sprint(err))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it, or is gone
}

func serveDisk(dir string) (*source.Service, error) {
	store, err := newStore(dir)
	must(err)
	must(store.Start(context.Background()))
	service, err := source.NewService(source.ServiceConfig{Listen: "127.0.0.1:0", Store: store})
	must(err)
	return service, service.Start(context.Background())
}

// An origin whose disk takes no more says so, in its health and to writers, and goes on answering
// readers.
func TestOriginSaysThatItsDiskIsFullOrReadOnly(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	check(t, os.Mkdir(disk, 0o755))
	cmd, stderr := process(t, "disk", disk, "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, stderr.Bytes())
		}
	})
	lines := bufio.NewReader(out)
	addr, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	refusal, err := lines.ReadString('\n')
	check(t, err)
	if !strings.Contains(refusal, "health is 503") || !strings.Contains(refusal, "read-only") {
		t.Errorf("on a read-only disk: %s", refusal)
	}
	url := "http://" + strings.TrimSpace(addr)
	if status, body := call(t, http.MethodGet, url+"/health", ""); status != 200 {
		t.Errorf("health of an empty disk is %d %s", status, body)
	}
	fillDisk(t, url)
	if status, body := call(t, http.MethodGet, url+"/health", ""); status != 503 || !strings.Contains(body, "its disk is full") {
		t.Errorf("health of a full disk: %d %s", status, body)
	}
	if status, body := call(t, http.MethodGet, url+"/0", ""); status != 200 {
		t.Errorf("GET on a full disk: %d %s", status, body)
	}
}

// fillDisk creates users until none goes in.
func fillDisk(t *testing.T, url string) {
	t.Helper()
	refused := 0
	for n := 0; refused < 20; n++ {
		switch status, body := call(t, http.MethodPost, url+"/", userBody(n)); status {
		case 201:
			refused = 0
		case 503:
			if refused++; !strings.Contains(body, "its disk is full") {
				t.Fatalf("user %d: %s", n, body)
			}
		default:
			t.Fatalf("user %d: %d %s", n, status, body)
		}
		if n == 2000 {
			t.Fatal("2000 users of 2 KiB on a disk of 1 MiB")
		}
	}
}

func userBody(n int) string {
	return fmt.Sprintf(`{"id":"%d","attrs":{"text":"%s"}}`, n, strings.Repeat("x", 2000))
}

func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	check(t, err)
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, string(text)
}
