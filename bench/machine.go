package bench

import (
	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/machine"
)

func readMachine() report.Machine {
	m := machine.Read()
	return report.Machine{CPU: m.CPU, Cores: m.Cores, Memory: m.Memory(), Kernel: m.Kernel, Go: m.Go, LoadBefore: m.Load}
}
