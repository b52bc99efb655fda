package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
)

// grade is how bad a finding is. It is the exit code of doctor as well.
type grade int

const (
	fine    grade = iota // as it should be
	lossy                // nodes run, and something is lost or near
	failing              // nodes cannot run, or are about to fail
)

// String returns "ok", "warning" or "FAILURE".
func (g grade) String() string {
	return [...]string{"ok", "warning", "FAILURE"}[min(max(g, fine), failing)]
}

// MarshalText makes it a text in JSON.
func (g grade) MarshalText() ([]byte, error) { return []byte(strings.ToLower(g.String())), nil }

// finding is one thing that doctor looked at.
type finding struct {
	Grade grade `json:"grade"`
	// What was looked at, what was Found, and what that Means, in a sentence.
	What  string `json:"what"`
	Found string `json:"found"`
	Means string `json:"means"`
}

// findings are what doctor found, in the order in which it looked.
type findings []finding

func (f *findings) add(g grade, what, found, means string) {
	*f = append(*f, finding{g, what, found, means})
}

func (f findings) worst() grade {
	worst := fine
	for _, one := range f {
		worst = max(worst, one.Grade)
	}
	return worst
}

// diagnosed ends doctor with the exit code of the worst finding.
type diagnosed struct{ grade grade }

// Error says what the exit code stands for.
func (d *diagnosed) Error() string {
	if d.grade == failing {
		return "something keeps nodes from working"
	}
	return "nodes work, and lose something"
}

// doctor is the command "doctor".
type doctor struct {
	*program
	redis    string
	files    redisFiles
	origin   string
	toOrigin originAccess
	node     nodeClient
	json     bool
	findings findings
}

func (p *program) doctorCommand() *cobra.Command {
	d := doctor{program: p}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether a Redis, an origin and nodes are fit to work together",
		Long: `Looks at a Redis, at an origin and at the nodes of a cluster, whichever are named: what the
server is, which commands and rights it has, how it shows the writes of others, eviction,
memory, the stream, the clocks, and how each node does. Each finding has a sentence that
says what it means. Use the user and the password that nodes use.

Rights are tried by calls that change nothing. Only the look for writes of others makes one:
a key of a user that nobody has, removed at once.

Ends with 0 when all is well, with 1 when nodes work and lose something, and with 2 when
something keeps them from working.`,
		Example: `  edgecache doctor --redis redis://10.0.0.5:6379 --origin http://10.0.0.6:8001
  edgecache doctor --redis redis://nodes@10.0.0.5:6379 --redis-password-file pw --node http://10.0.0.7:8003`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context(), cmd.Flags().Changed("node")) },
	}
	d.node.flags(p, cmd, auth.RoleRead)
	f := cmd.Flags()
	f.StringVar(&d.redis, "redis", "", "`URL` of Redis [REDIS_URL, REDIS_HOST, REDIS_PORT]")
	f.StringVar(&d.origin, "origin", "", "`URL` of the source of truth [AUTH_USER_SERVICE_URL]")
	d.files.flags(cmd)
	d.toOrigin.flags(f)
	f.BoolVar(&d.json, "json", false, "print the findings as JSON")
	return cmd
}

func (d *doctor) run(ctx context.Context, nodes bool) error {
	if d.redis == "" && d.origin == "" && !nodes {
		return usagef("nothing to look at: want --redis URL, --origin URL or --node URL")
	}
	if err := d.toOrigin.check(d.origin); err != nil {
		return err
	}
	if d.redis != "" {
		if err := d.lookAtRedis(ctx); err != nil {
			return err
		}
	}
	if d.origin != "" {
		if err := d.lookAtOrigin(ctx); err != nil {
			return err
		}
	}
	if nodes {
		if err := d.lookAtNodes(ctx); err != nil {
			return err
		}
	}
	return d.report()
}

// report prints the findings, and returns what the exit code is to be.
func (d *doctor) report() error {
	if d.json {
		text, err := json.Marshal(d.findings)
		if err != nil {
			return fmt.Errorf("print the findings: %w", err)
		}
		if err := d.printJSON(text); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(d.stdout, d.findings.table()); err != nil {
		return err
	}
	if worst := d.findings.worst(); worst > fine {
		return &diagnosed{worst}
	}
	return nil
}

// table shows each finding in two lines.
func (f findings) table() string {
	var b strings.Builder
	for _, one := range f {
		fmt.Fprintf(&b, "%-7v  %s: %s\n         %s\n", one.Grade, printable(one.What), printable(one.Found), printable(one.Means))
	}
	return b.String()
}

// lookAtRedis opens Redis, and looks at it from all sides.
func (d *doctor) lookAtRedis(ctx context.Context) error {
	url, err := d.files.complete(d.redis)
	if err != nil {
		return err
	}
	client, err := redisconn.OpenAs("doctor", url)
	if err != nil {
		return usageRedis(err)
	}
	defer client.Close()
	f := &d.findings
	err = client.Ping(ctx).Err() // connects
	began := time.Now()
	if err = errors.Join(err, client.Ping(ctx).Err()); err != nil {
		f.add(failing, "Redis", "does not answer: "+plain(err).Error(), "nodes do not start without it, and those that run ask the origin instead.")
		return nil
	}
	f.add(fine, "Redis", fmt.Sprintf("answers at %s in %v", redactURL(d.redis), time.Since(began).Round(time.Microsecond)),
		"each lookup that memory does not answer takes that long at least.")
	look := redisLook{f, client, url}
	look.servers(ctx)
	look.rights(ctx)
	look.watching(ctx)
	look.stream(ctx)
	return nil
}
