// Package machine says on what a benchmark runs.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what a benchmark runs on. What the system does not tell is empty.
type Machine struct {
	CPU string
	// Cores is how many the process may use.
	Cores     int
	MemoryGiB float64
	Kernel    string
	// Go is the version that built this, with its platform.
	Go string
	// Load has the system's averages over 1, 5 and 15 minutes.
	Load string
}

// Read looks at the machine.
func Read() Machine {
	m := Machine{
		CPU: Field("/proc/cpuinfo", "model name"), Cores: runtime.GOMAXPROCS(0),
		Kernel: firstLine("/proc/sys/kernel/osrelease"),
		Go:     runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Load: Load(),
	}
	if m.CPU == "" {
		m.CPU = runtime.GOARCH
	}
	if total, _, ok := strings.Cut(Field("/proc/meminfo", "MemTotal"), " "); ok {
		kib, _ := strconv.ParseFloat(total, 64)
		m.MemoryGiB = kib / (1 << 20)
	}
	return m
}

// Memory is MemoryGiB as text, "" when it is not known.
func (m Machine) Memory() string {
	if m.MemoryGiB == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f GiB", m.MemoryGiB)
}

// Load returns the system's averages over 1, 5 and 15 minutes, "" where there are none.
func Load() string {
	parts := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(parts[:min(3, len(parts))], " ")
}

// Field returns the value of "name : value" in a file of the system's, or "" where there is none.
func Field(path, name string) string {
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
