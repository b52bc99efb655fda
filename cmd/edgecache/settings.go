package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settle gives each flag that is not on the command line its value from the environment, else from
// the configuration file.
func (p *program) settle(cmd *cobra.Command) error {
	if err := p.settleFromEnvironment(cmd); err != nil {
		return err
	}
	if p.configFile == "" {
		return nil
	}
	settings, err := readSettings(p.configFile)
	if err != nil {
		return err
	}
	return p.settleFromFile(cmd, cmd.Root(), settings)
}

// settleFromFile applies what the file says under a command: the sections that lead to cmd first,
// as they are stronger.
func (p *program) settleFromFile(cmd, under *cobra.Command, settings []setting) error {
	sections := 0
	for _, s := range settings {
		section := s.section(under)
		if section == nil {
			continue
		}
		sections++
		inner, err := mapping(p.configFile, s.value)
		if err == nil && leadsTo(section, cmd) {
			err = p.settleFromFile(cmd, section, inner)
		}
		if err != nil {
			return err
		}
	}
	for _, s := range settings {
		if s.section(under) != nil || cmd.Flags().Lookup(s.name) == nil && othersFlag(cmd, s.name, sections > 0) {
			continue
		}
		if err := s.apply(cmd.Flags()); err != nil {
			return fmt.Errorf("%s:%d: %w", p.configFile, s.line, err)
		}
	}
	return nil
}

// leadsTo reports whether cmd is section or stands under it.
func leadsTo(section, cmd *cobra.Command) bool {
	for ; cmd != nil; cmd = cmd.Parent() {
		if cmd == section {
			return true
		}
	}
	return false
}

// othersFlag reports whether a setting is one of a command above cmd, which share a file with it,
// or, in a file for several commands, of any.
func othersFlag(cmd *cobra.Command, name string, any bool) bool {
	if cmd.HasParent() && cmd.Parent().Flags().Lookup(name) != nil {
		return true
	}
	return any && slices.Contains(allFlags(cmd.Root()), name)
}

// allFlags returns the names of the flags of a command and of all under it.
func allFlags(cmd *cobra.Command) []string {
	names := append(flagNames(cmd.Flags()), flagNames(cmd.PersistentFlags())...)
	for _, sub := range cmd.Commands() {
		names = append(names, allFlags(sub)...)
	}
	return names
}

const prefix = "EDGECACHE_"

// variable is the name under which the environment has a flag.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// warnUnknown names the variables that look like ours and are not: a typing error is no setting,
// and says nothing.
func (p *program) warnUnknown(root *cobra.Command) {
	if p.environ == nil {
		return
	}
	known := []string{"EDGECACHE_TOKEN", "EDGECACHE_DB_FILE"}
	for _, flag := range allFlags(root) {
		known = append(known, variable(flag))
	}
	for _, entry := range p.environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && !slices.Contains(known, name) {
			fmt.Fprintf(p.stderr, "edgecache: %s is no setting and changes nothing; the nearest is %s\n", printable(name), nearest(name, known))
		}
	}
}

func nearest(typed string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return distance(typed, a) - distance(typed, b) })
}

func (p *program) settleFromEnvironment(cmd *cobra.Command) (err error) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || err != nil {
			return
		}
		var value, name string
		if value, name, err = p.fromEnvironment(cmd.Name(), f.Name); err != nil || value == "" {
			return
		}
		if e := cmd.Flags().Set(f.Name, value); e != nil {
			err = fmt.Errorf("%s: want %s, not %q", name, wanted(f), value)
		}
	})
	return err
}

// fromEnvironment returns the value for a flag and the variable that it came from. A variable of
// edgecache's own is stronger than one that the old services share. An empty one counts as not set.
func (p *program) fromEnvironment(command, flag string) (value, name string, err error) {
	name = variable(flag)
	if value = p.getenv(name); value != "" {
		return value, name, nil
	}
	if flag == "db" {
		value, err = p.secretFile("EDGECACHE_DB_FILE")
		return value, "EDGECACHE_DB_FILE", err
	}
	if flag == "redis" {
		return p.redisFromEnvironment()
	}
	switch command + " " + flag {
	case "serve origin":
		return p.getenv("AUTH_USER_SERVICE_URL"), "AUTH_USER_SERVICE_URL", nil
	case "serve listen":
		return p.loopback("CHAT_FILE_SERVICE_PORT", "")
	case "serve origin-listen", "origin listen":
		return p.loopback("AUTH_USER_SERVICE_PORT", "")
	case "get node", "batch node", "put node", "invalidate node", "stats node", "health node", "cluster node", "top node", "prewarm node",
		"status node", "cancel node", "push node", "list node", "show node", "diff node", "rollback node", "rm node":
		return p.loopback("CHAT_FILE_SERVICE_PORT", "http://")
	}
	return "", "", nil
}

func (p *program) redisFromEnvironment() (value, name string, err error) {
	if url := p.getenv("REDIS_URL"); url != "" {
		return url, "REDIS_URL", nil
	}
	host, port := p.getenv("REDIS_HOST"), p.getenv("REDIS_PORT")
	if host == "" && port == "" {
		return "", "", nil
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "6379"
	}
	return "redis://" + net.JoinHostPort(host, port), "REDIS_HOST and REDIS_PORT", checkPort("REDIS_PORT", port)
}

// loopback turns a variable that holds a port into an address on this machine.
func (p *program) loopback(name, prefix string) (string, string, error) {
	port := p.getenv(name)
	if port == "" {
		return "", name, nil
	}
	return prefix + net.JoinHostPort("127.0.0.1", port), name, checkPort(name, port)
}

func checkPort(name, port string) error {
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%s %q: want a number from 0 to 65535", name, port)
	}
	return nil
}

// checkListen returns a usage error for an address that is not HOST:PORT.
func checkListen(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		err = checkPort("port", port)
	}
	var split *net.AddrError
	if errors.As(err, &split) {
		err = errors.New(split.Err)
	}
	if err != nil {
		return usagef("--%s %q: %w; want HOST:PORT, such as 127.0.0.1:8003", flag, addr, err)
	}
	return nil
}
