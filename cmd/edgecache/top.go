package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/ui"
)

const (
	// maxSnapshot is the longest snapshot that is read, in bytes: a cluster of 1,000 nodes takes
	// 400 KiB.
	maxSnapshot = 4 << 20
	// What a terminal is told: its other screen and no cursor, the way back, and how to begin anew.
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	homeScreen  = "\x1b[H"
	restOfLine  = "\x1b[K\n"
	restOfAll   = "\x1b[J"
)

func (p *program) topCommand() *cobra.Command {
	var at nodeClient
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a node: what its dashboard shows, in a terminal",
		Long: `Shows how a node does, once a second, until it is interrupted: whether its answers are true,
where they come from and how long they take, and who is looked up most. The dashboard at
/ui of the node shows the same and more. Where there is no terminal it prints one
snapshot and ends.`,
		Example: `  edgecache top
  edgecache top --node http://10.0.0.7:8003 | head -12
  edgecache top --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runTop(cmd.Context(), &at, asJSON) },
	}
	at.flags(p, cmd, auth.RoleRead)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one snapshot as the node sent it, and end")
	return cmd
}

func (p *program) runTop(ctx context.Context, at *nodeClient, asJSON bool) error {
	if asJSON {
		return at.snapshots(ctx, 1, func(text []byte) error { return p.printJSON(text) })
	}
	if !terminal(p.stdout) {
		var last ui.Snapshot
		return at.snapshots(ctx, 2, func(text []byte) error { // two, as rates are differences
			now, err := snapshotOf(text)
			if err == nil && last.At != 0 {
				_, err = fmt.Fprint(p.stdout, strings.Join(topLines(last, now, false), "\n")+"\n")
			}
			last = now
			return err
		})
	}
	fmt.Fprint(p.stdout, enterScreen)
	defer fmt.Fprint(p.stdout, leaveScreen)
	err := p.redraw(ctx, at)
	if ctx.Err() != nil { // interrupted, as it is meant to be
		return nil
	}
	return err
}

// redraw draws snapshots over one another until ctx ends.
func (p *program) redraw(ctx context.Context, at *nodeClient) error {
	var last ui.Snapshot
	colours := p.getenv("NO_COLOR") == ""
	return at.snapshots(ctx, 0, func(text []byte) error {
		now, err := snapshotOf(text)
		if err != nil {
			return err
		}
		lines := topLines(last, now, colours)
		if height := p.height(); len(lines) > height {
			lines = lines[:height]
		}
		last = now
		_, err = fmt.Fprint(p.stdout, homeScreen+strings.Join(lines, restOfLine)+"\x1b[K"+restOfAll)
		return err
	})
}

// height returns how many lines the terminal has.
func (p *program) height() int {
	if f, ok := p.stdout.(*os.File); ok {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 0 {
			return height
		}
	}
	return 24
}

func snapshotOf(text []byte) (s ui.Snapshot, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("the node's answer is no snapshot: %w", err)
	}
	return s, nil
}

// snapshots calls seen with each snapshot of the node, n of them, or until ctx or the stream ends
// with 0.
func (c *nodeClient) snapshots(ctx context.Context, n int, seen func([]byte) error) error {
	path := "/v1/live"
	if n > 0 {
		path += fmt.Sprintf("?count=%d", n)
	}
	body, done, err := c.stream(ctx, path)
	if err != nil {
		return err
	}
	defer done()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxSnapshot)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := seen([]byte(text)); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the node at %s: %w", redactURL(c.url), err)
	}
	if n == 0 {
		return fmt.Errorf("the node at %s ended the stream", redactURL(c.url))
	}
	return nil
}

// stream opens an answer that does not end by itself; --timeout bounds the wait for its beginning.
func (c *nodeClient) stream(ctx context.Context, path string) (body *bufio.Reader, done func(), err error) {
	asks, leave, err := c.open() // checks the flags, and explains what the node refuses
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	if a, err := asks.Send(ctx, http.MethodGet, "/v1/lookups?n=1", "", nil); err != nil {
		return nil, nil, c.explain(a, err)
	}
	transport, err := c.transport()
	if err != nil {
		return nil, nil, err
	}
	transport.ResponseHeaderTimeout = c.timeout
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.url, "/")+path, nil)
	if err != nil {
		return nil, nil, usagef("--node: %s is no URL of a node; want http://HOST:PORT", redactURL(c.url))
	}
	if err := c.authorize(req); err != nil {
		return nil, nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot reach the node at %s: %w", redactURL(c.url), errors.Unwrap(err))
	}
	done = func() { _ = resp.Body.Close(); transport.CloseIdleConnections() }
	if resp.StatusCode != http.StatusOK {
		done()
		return nil, nil, fmt.Errorf("the node at %s: %s", redactURL(c.url), resp.Status)
	}
	return bufio.NewReader(resp.Body), done, nil
}

func (c *nodeClient) authorize(req *http.Request) error {
	source, err := c.source(c.role)
	if err != nil || source == nil {
		return err
	}
	token, err := source()
	if err != nil {
		return fmt.Errorf("a token for the node: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// topLines shows a snapshot; rates are those since the one before.
func topLines(before, now ui.Snapshot, colours bool) []string {
	paint := func(state, text string) string {
		code := map[string]string{ui.OK: "32", ui.Warn: "33", ui.Bad: "31", "head": "1"}[state]
		if !colours || code == "" {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	rates := ratesOf(before, now)
	lines := []string{
		paint("head", "edgecache") + "  " + printable(now.Cluster.Self) + "  " + time.UnixMilli(now.At).Format(time.TimeOnly) + "  " + rates.head(),
		"",
	}
	for _, c := range now.Checks {
		sign := map[string]string{ui.OK: "✓ good", ui.Warn: "! look", ui.Bad: "✕ bad "}[c.State]
		lines = append(lines, paint(c.State, printable(sign))+"  "+fmt.Sprintf("%-15s", printable(c.Name))+printable(c.Says))
	}
	lines = append(lines, "")
	lines = append(lines, tierLines(rates, now, paint)...)
	lines = append(lines, "", paint("head", "HOTTEST  ")+hottestLine(now), paint("head", "NODES    ")+nodesLine(now))
	if now.Demo != nil {
		lines = append(lines, "")
		for _, p := range now.Demo.Promises {
			state, word := ui.OK, "✓ kept   "
			if !p.Kept {
				state, word = ui.Bad, "✕ broken "
			}
			lines = append(lines, paint(state, word)+printable(p.Says)+" "+printable(p.Seen))
		}
	}
	return lines
}
