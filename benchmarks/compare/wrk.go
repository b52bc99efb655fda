package compare

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// findWrk returns the path of wrk, "" where there is none and none can be installed. On Debian as
// root it installs it.
func findWrk(ctx context.Context, install bool) (string, error) {
	path, err := exec.LookPath("wrk")
	if err == nil || !install || os.Geteuid() != 0 {
		return path, nil //nolint:nilerr // without wrk the rows of our own generator remain
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", nil //nolint:nilerr // as above
	}
	if out, err := exec.CommandContext(ctx, "apt-get", "install", "-y", "-qq", "wrk").CombinedOutput(); err != nil {
		return "", fmt.Errorf("install wrk: %w: %s", err, out)
	}
	if path, err = exec.LookPath("wrk"); err != nil {
		return "", fmt.Errorf("wrk was installed: %w", err)
	}
	return path, nil
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkP50    = regexp.MustCompile(`(?m)^\s+50%\s+([\d.]+)(us|ms|s)$`)
	wrkP99    = regexp.MustCompile(`(?m)^\s+99%\s+([\d.]+)(us|ms|s)$`)
	wrkFaults = regexp.MustCompile(`Socket errors:.*|Non-2xx.*`)

	errWrk = errors.New("wrk says something unexpected")
)

// wrkDriver drives with wrk at path, in whole seconds.
func wrkDriver(path string) driver {
	return func(ctx context.Context, s server, round time.Duration) (a loadAnswer, err error) {
		seconds := strconv.Itoa(int(math.Ceil(round.Seconds()))) + "s"
		args := []string{"-t2", "-c" + strconv.Itoa(httpConnections), "-d" + seconds, "--latency"}
		if s.bearer != "" {
			args = append(args, "-H", "Authorization: "+s.bearer)
		}
		out, err := exec.CommandContext(ctx, path, append(args, "http://"+s.addr+"/v1/users/1")...).CombinedOutput()
		if err != nil {
			return a, fmt.Errorf("%w: %s", err, out)
		}
		if fault := wrkFaults.Find(out); fault != nil {
			return a, fmt.Errorf("%w: %s", errWrk, fault)
		}
		rate := wrkRate.FindSubmatch(out)
		if rate == nil {
			return a, fmt.Errorf("%w: %s", errWrk, out)
		}
		a.Rate, err = strconv.ParseFloat(string(rate[1]), 64)
		a.P50, a.P99 = wrkMillis(wrkP50.FindSubmatch(out)), wrkMillis(wrkP99.FindSubmatch(out))
		return a, err
	}
}

// wrkMillis reads a latency of wrk's, 0 when there is none.
func wrkMillis(match [][]byte) float64 {
	if match == nil {
		return 0
	}
	v, _ := strconv.ParseFloat(string(match[1]), 64)
	return v * map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[string(match[2])]
}
