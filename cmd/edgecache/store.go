package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/tier/kv"
)

func (p *program) storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look after the store of a node that does not run",
		Long: `Looks after the folder of --store-dir while no node has it open. A node that runs tells of its
store itself: "edgecache stats", and the metrics edgecache_store_….`,
		Example: `  edgecache store stat --dir /var/lib/edgecache
  edgecache store verify --dir /var/lib/edgecache
  edgecache store compact --dir /var/lib/edgecache`,
		RunE: wantCommand,
	}
	cmd.AddCommand(p.storeLook("stat", "Show what a store holds", kv.Stat),
		p.storeLook("verify", "Check every page and every value of a store", kv.Verify), p.storeCompact())
	return cmd
}

// storeLook is a command that shows what look finds.
func (p *program) storeLook(name, short string, look func(string) (kv.Report, error)) *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use: name, Short: short, Long: short + ". It changes nothing.", Args: noArgs,
		Example: "  edgecache store " + name + " --dir /var/lib/edgecache",
		RunE: func(*cobra.Command, []string) error {
			if dir == "" {
				return usagef("store %s needs --dir DIR, the --store-dir of a node", name)
			}
			r, err := look(dir)
			if err != nil {
				return storeError(err)
			}
			if asJSON {
				text, err := json.Marshal(r)
				if err != nil {
					return err
				}
				return p.printJSON(text)
			}
			_, err = fmt.Fprint(p.stdout, storeTable(r, time.Now()))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`DIR` of the store; required")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) storeCompact() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "compact", Short: "Give the free room in the file of a store back to the disk", Args: noArgs,
		Long: "Writes the file of a store anew, without what is free in it, " +
			"and puts it in the place of the old one.",
		Example: "  edgecache store compact --dir /var/lib/edgecache",
		RunE: func(*cobra.Command, []string) error {
			if dir == "" {
				return usagef("store compact needs --dir DIR, the --store-dir of a node")
			}
			before, after, err := kv.Compact(dir)
			if err != nil {
				return storeError(err)
			}
			_, err = fmt.Fprintf(p.stdout, "%s before, %s now\n", mebibytes(before), mebibytes(after))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`DIR` of the store; required")
	return cmd
}

// storeError says what to do about a store that cannot be looked at.
func storeError(err error) error {
	if errors.Is(err, kv.ErrInUse) {
		return fmt.Errorf("%w; ask that node with 'edgecache stats', or stop it first", err)
	}
	return err
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// storeTable shows a report, a line for each thing.
func storeTable(r kv.Report, now time.Time) string {
	ago := func(at time.Time) string {
		if at.IsZero() {
			return "never"
		}
		return now.Sub(at).Round(time.Second).String() + " ago"
	}
	closed := "no; it was killed, or runs on another machine"
	if r.Clean {
		closed = "yes"
	}
	text := fmt.Sprintf("profiles    %d\n", r.Entries)
	if r.Doubtful+r.Damaged > 0 {
		text += fmt.Sprintf("in doubt    %d, from before a gap in the stream\ndamaged     %d\n",
			r.Doubtful, r.Damaged)
	}
	text += fmt.Sprintf("in use      %s of a file of %s\nloaded      %s to %s\n",
		mebibytes(r.Bytes), mebibytes(r.FileBytes), ago(r.Oldest), ago(r.Newest))
	text += fmt.Sprintf("written     %s\nclosed      %s\nopened      %d times\n",
		ago(r.At), closed, r.Sessions)
	if r.Refused != "" {
		text += "a node will throw it away: " + printable(r.Refused) + "\n"
	}
	if r.Checkpoint != "" {
		text += "true up to  " + printable(r.Checkpoint) + "\n"
	}
	return text
}
