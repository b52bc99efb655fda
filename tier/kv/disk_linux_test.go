package kv

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// diskChild fills a store until its disk is full, and opens one on a disk that is read-only.
func diskChild(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
		return err
	}
	var log bytes.Buffer
	conf := Config{Dir: filepath.Join(dir, "store"), Every: 1e12, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s, err := Open(conf)
	if err != nil {
		return err
	}
	for awaitCommit(s); s.On() && s.Stats().Entries < 100_000; s.commit() {
		for i := range 500 {
			put(s, fmt.Sprint(s.Stats().Entries, "-", i), 1, strings.Repeat("x", 300))
		}
	}
	_, held := s.Get("0-1")
	fmt.Printf("%q %v %v %v\n", log.String(), s.Stats().Off, held, s.Close())
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	_, err = Open(conf)
	fmt.Println("read-only:", err)
	return nil
}

// A disk that is full ends the use of the store with one line, and a disk that is read-only is an
// error of Open; nothing else happens to the process.
func TestDiskThatIsFullOrReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	check1(t, os.Mkdir(dir, 0o755))
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), diskEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	full, readOnly, _ := strings.Cut(string(out), "\n")
	if strings.Count(full, `level=ERROR`) != 1 || !strings.Contains(full, "given up") || !strings.Contains(full, "no space left on device") ||
		!strings.HasSuffix(full, " false <nil>") {
		t.Errorf("full: %s", full)
	}
	if !strings.Contains(readOnly, "read-only: kv: ") || !strings.Contains(readOnly, "read-only file system") {
		t.Errorf("read-only: %s", readOnly)
	}
}
