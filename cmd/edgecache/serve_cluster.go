package main

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/prewarm/mongodb"
	"github.com/chatapp-ngomna/edgecache/prewarm/sqldb"
)

// clusterSettings are the flags of serve about the other nodes, and about what they warm together.
type clusterSettings struct {
	name, label     string
	bind, advertise string
	join            []string
	keyFile         string
	allow           []string
	weight          int

	prewarm bool
	sources []string
	query   string
	options prewarm.Options
	readyAt float64
	within  time.Duration
}

func (s *clusterSettings) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.name, "cluster-node", "", "this node's `NAME` in the cluster; host name, process id and a random part when not given")
	f.StringVar(&s.bind, "cluster-bind", "", "`HOST:PORT`, UDP and TCP, to meet the other nodes at; on its own when not given")
	f.StringVar(&s.advertise, "cluster-advertise", "", "`HOST:PORT` at which the others reach this node; --cluster-bind when not given")
	f.StringSliceVar(&s.join, "cluster-join", nil, "`HOST:PORT,…` of nodes to join through; a name may stand for many addresses")
	f.StringVar(&s.keyFile, "cluster-key-file", "", "`FILE` with the keys of the cluster, see 'edgecache cluster keys'")
	f.StringVar(&s.label, "cluster-name", "edgecache", "`NAME` of the cluster; nodes of another name are not heard")
	f.StringSliceVar(&s.allow, "cluster-allow", nil, "`CIDR,…` that members may have addresses in; any when not given")
	f.IntVar(&s.weight, "cluster-weight", 1, "this node's part of the ranges beside the others', `1 to 100`")

	f.BoolVar(&s.prewarm, "prewarm", false, "begin a prewarm of the cluster at the start, unless one is under way")
	f.StringSliceVar(&s.sources, "prewarm-source", nil, "`URL,…` that tell who was active, beside the nodes' own list: FILE.jsonl, mongodb://…, postgres://…, sqlite:PATH")
	f.StringVar(&s.query, "prewarm-query", "", "`SQL` for --prewarm-source postgres://… and sqlite:PATH: gives user and time, from a time on; see 'prewarm/sqldb'")
	f.IntVar(&s.options.MaxUsers, "prewarm-max-users", 10_000, "load at most `N` users, the latest active")
	f.IntVar(&s.options.DaysBack, "prewarm-days-back", 7, "load who was active in the last `N` days")
	f.Float64Var(&s.options.Rate, "prewarm-rate", 0, "ask the origin for at most `N` users a second, all nodes together; 500 each 1.5 s when not given, -1 for no limit")
	f.Float64Var(&s.readyAt, "ready-at", 0, "answer /readyz with 200 only when this `SHARE` of the prewarm is done, 0 to 1; needs --prewarm")
	f.DurationVar(&s.within, "ready-within", time.Minute, "wait for --ready-at for `TIME` at most")
}

// check refuses what cannot work before anything is started. A mistake in an address is gossip's to
// find.
func (s *clusterSettings) check(cmd *cobra.Command) error {
	if s.bind == "" {
		for _, name := range []string{"cluster-advertise", "cluster-join", "cluster-key-file", "cluster-allow", "cluster-weight"} {
			if cmd.Flags().Changed(name) {
				return usagef("--%s is for a node of a cluster; want --cluster-bind HOST:PORT with it", name)
			}
		}
	} else if s.keyFile == "" {
		return usagef("--cluster-bind needs --cluster-key-file FILE; 'edgecache cluster keys add --file FILE' makes one")
	}
	switch r := s.options.Rate; {
	case s.options.MaxUsers < 1:
		return usagef("--prewarm-max-users %d: want 1 or more", s.options.MaxUsers)
	case s.options.DaysBack < 1:
		return usagef("--prewarm-days-back %d: want 1 or more", s.options.DaysBack)
	case !(r >= 0 || r == -1) || math.IsInf(r, 0):
		return usagef("--prewarm-rate %g: want more than 0, or -1 for no limit", r)
	case s.query != "" && !slices.ContainsFunc(s.sources, sqldb.IsURL):
		return usagef("--prewarm-query is for a database of SQL; want --prewarm-source postgres://… or sqlite:PATH with it")
	case s.readyAt < 0 || s.readyAt > 1:
		return usagef("--ready-at %g: want 0 to 1", s.readyAt)
	case s.readyAt > 0 && !s.prewarm:
		return usagef("--ready-at needs --prewarm; nothing would warm the node")
	case s.within <= 0:
		return usagef("--ready-within %v: want more than 0", s.within)
	}
	return nil
}

// apply puts the settings into conf. listen is where the node's API will be.
func (s *clusterSettings) apply(conf *node.Config, listen string) error {
	if s.bind != "" {
		conf.Cluster = &gossip.Config{Name: s.name, Label: s.label, Bind: s.bind, Advertise: s.advertise, Seeds: s.join,
			KeyFile: s.keyFile, CIDRs: s.allow, Weight: s.weight, HTTP: s.api(listen)}
	}
	if s.prewarm {
		conf.Prewarm = &s.options
	}
	conf.ReadyAt, conf.ReadyWithin = s.readyAt, s.within
	for _, url := range s.sources {
		source, err := openSource(url, s.query)
		if err != nil {
			return usagef("--prewarm-source: %w", err)
		}
		conf.Sources = append(conf.Sources, source)
	}
	return nil
}

// api is where the others find the node's API: an address that stands for all of this machine's
// tells them nothing. Empty when the port is not known yet.
func (s *clusterSettings) api(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host, _, _ = net.SplitHostPort(cmp.Or(s.advertise, s.bind))
	}
	return net.JoinHostPort(host, port)
}

// openSource returns what tells who was active: a database by its URL, asked by query if it is one
// of SQL, else a file of JSON lines.
func openSource(url, query string) (prewarm.Source, error) {
	switch {
	case mongodb.IsURL(url):
		return mongodb.FromURL(url)
	case sqldb.IsURL(url):
		return sqldb.FromURL(url, query)
	}
	if _, err := os.Stat(url); err != nil {
		return nil, fmt.Errorf("%q is no file, and no mongodb://…, postgres://… or sqlite:PATH: %w", redactURL(url), err)
	}
	return prewarm.NewJSONL(prewarm.JSONLConfig{Path: url})
}
