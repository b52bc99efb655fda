package compare

import (
	"context"
	"fmt"
	"os/exec"
	"runtime/debug"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/machine"
)

// Machine is where a run took place, and with what.
type Machine struct {
	CPU       string  `json:"cpu"`
	Cores     int     `json:"cores"`
	MemoryGiB float64 `json:"memoryGiB"`
	Kernel    string  `json:"kernel"`
	// LoadBefore and LoadAfter are the system's averages over 1, 5 and 15 minutes. Well above the
	// run's own share, the machine was not quiet, and only ratios mean something.
	LoadBefore string `json:"loadBefore"`
	LoadAfter  string `json:"loadAfter"`
	Go         string `json:"go"`
	Redis      string `json:"redis"`
	// Libraries are the direct contenders' versions.
	Libraries []string `json:"libraries"`
}

func readMachine(ctx context.Context, client redis.UniversalClient) (Machine, error) {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return Machine{}, fmt.Errorf("version of redis-server: %w", err)
	}
	here := machine.Read()
	m := Machine{
		CPU: here.CPU, Cores: here.Cores, MemoryGiB: here.MemoryGiB, Kernel: here.Kernel,
		LoadBefore: here.Load, Go: here.Go, Libraries: libraries(),
	}
	for line := range strings.SplitSeq(info, "\r\n") {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			m.Redis = v
		}
	}
	return m, nil
}

// libraries lists the modules that take part.
func libraries() (out []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/dgraph-io/ristretto/v2", "github.com/redis/go-redis/v9", "github.com/redis/rueidis",
			"github.com/go-redis/cache/v9", "github.com/maypok86/otter/v2", "github.com/gofiber/fiber/v2", "github.com/valyala/fasthttp":
			out = append(out, m.Path+" "+m.Version)
		}
	}
	return out
}

// readCommit names the commit that was measured, and says when the tree held more than that;
// results do not count.
func readCommit(ctx context.Context) string {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changes, err := git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results"); err != nil || changes != "" {
		commit += " and changes that are not committed"
	}
	return commit
}
