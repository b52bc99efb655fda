package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/node"
)

func (p *program) clusterCommand() *cobra.Command {
	var at nodeClient
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show the nodes of the cluster; look after its keys",
		Long: `Shows the nodes that a node knows, as each tells of itself: which share of the ranges of ids it
warms, how much of it is loaded (WARM) and how much of all that was planned is in its memory;
how full that is; whether it is fenced, and whether Redis and the origin answer it; for how long
its stream has been silent; how many edge functions it serves; how many users its store on disk
holds, if any node has one; and with which key it encrypts.`,
		Example: `  edgecache cluster
  edgecache cluster --node http://10.0.0.7:8003
  edgecache cluster keys add --file cluster.keys`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wantCommand(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := at.do(cmd.Context(), http.MethodGet, "/v1/cluster", nil)
			if err != nil {
				return err
			}
			if asJSON {
				return p.printJSON(a.Body)
			}
			var c node.Cluster
			if err := json.Unmarshal(a.Body, &c); err != nil {
				return fmt.Errorf("the node's answer is not the list of a cluster: %w", err)
			}
			_, err = fmt.Fprint(p.stdout, clusterTable(c, time.Now()))
			return err
		},
	}
	at.flags(p, cmd, auth.RoleRead)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the node's answer as it is")
	cmd.AddCommand(p.clusterKeysCommand())
	return cmd
}

// clusterTable shows the members, then who is gone. A star marks the node that was asked.
func clusterTable(c node.Cluster, now time.Time) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	all := slices.Concat(c.Members, c.Gone)
	stores := slices.ContainsFunc(all, func(m node.Member) bool { return m.Store != "" })
	title := ""
	if stores {
		title = "\tSTORE"
	}
	fmt.Fprintf(w, "NODE\tSTATE\tFOR\tRANGES\tWEIGHT\tWARM\tIN MEMORY\tMEMORY\tFENCED\tREDIS\tORIGIN\tLAG\tFN%s\tKEY\tGOSSIP\tAPI\tVERSION\n", title)
	for _, m := range all {
		name := printable(m.Name)
		if m.Name == c.Self {
			name += " *"
		}
		since := "-"
		if !m.Since.IsZero() {
			since = now.Sub(m.Since).Round(time.Second).String()
		}
		store := ""
		if stores {
			store = "\t" + storeColumn(m)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%.0f %%\t%s%s\t%s\t%s\t%s\t%s\n", name, printable(stateColumn(m)), since, m.Ranges, m.Weight,
			100*m.Warmth, healthColumns(m), store, keyColumn(m), dash(m.Addr), dash(m.HTTP), dash(m.Version))
	}
	_ = w.Flush() // to memory
	return b.String()
}

// stateColumn tells of one who is gone whether it took its leave.
func stateColumn(m node.Member) string {
	switch {
	case m.Left:
		return "left"
	case m.State == "gone":
		return "died"
	}
	return m.State
}

// healthColumns are what a node tells of how it does, "-" for one that tells nothing.
func healthColumns(m node.Member) string {
	if m.MemoryMiB == 0 {
		return "-\t-\t-\t-\t-\t-\t-"
	}
	fenced := "no"
	if m.Fenced {
		fenced = "YES"
	}
	return fmt.Sprintf("%.0f %%\t%.0f %% of %d MiB\t%s\t%s\t%s\t%d s\t%d", 100*m.MemoryWarmth, 100*m.Memory, m.MemoryMiB,
		fenced, dash(m.Redis), dash(m.Origin), m.Lag/1000, m.Functions)
}

// storeColumn tells of a node's store on disk.
func storeColumn(m node.Member) string {
	users := fmt.Sprintf("%d users", m.StoreEntries)
	if m.StoreEntries >= 10_000 {
		users = fmt.Sprintf("%d k users", m.StoreEntries/1000)
	}
	switch m.Store {
	case "":
		return "-"
	case "ok":
		return users
	case "alone":
		return users + ", ALONE"
	case "off":
		return "OFF"
	}
	return printable(m.Store)
}

// keyColumn shows the key with which a node encrypts, and how many others it understands.
func keyColumn(m node.Member) string {
	if more := len(m.Keys) - 1; more > 0 {
		return fmt.Sprintf("%s +%d", printable(m.Key), more)
	}
	return dash(m.Key)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}
