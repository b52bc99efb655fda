package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/chatapp-ngomna/edgecache/bench/report"
)

func readMachine() report.Machine {
	m := report.Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.GOMAXPROCS(0), Kernel: firstLine("/proc/sys/kernel/osrelease"),
		Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, LoadBefore: loadAverage(),
	}
	if m.CPU == "" {
		m.CPU = runtime.GOARCH
	}
	if total, _, ok := strings.Cut(field("/proc/meminfo", "MemTotal"), " "); ok {
		kib, _ := strconv.ParseFloat(total, 64)
		m.Memory = fmt.Sprintf("%.1f GiB", kib/(1<<20))
	}
	return m
}

// field returns the value of "name : value" in a file of the system's, or "" where there is none.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func loadAverage() string {
	parts := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(parts[:min(3, len(parts))], " ")
}
