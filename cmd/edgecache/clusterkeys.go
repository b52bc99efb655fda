package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/gossip"
)

// wantCommand refuses to guess which of its subcommands was meant.
func wantCommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if len(args) > 0 {
		return usagef("unknown command %q for %q%s; it has %q", args[0], cmd.CommandPath(), didYouMean("", args[0], names), names)
	}
	return usagef("%s wants one of %q", cmd.CommandPath(), names)
}

const clusterKeysLong = `Looks after a file with the keys by which nodes know one another and encrypt what they say.
Its first key is the primary, with which a node encrypts; all of them are understood. Keys
are named by the first eight digits of their SHA-256. Nodes read their file every second, so
a key is changed while they run:

  1. add a key to the file, and give every node that file
  2. wait until "edgecache cluster" shows the new key at every node
  3. use the key, and give every node the file; wait until it is the primary of each
  4. remove the old key, and give every node the file

Who skips a wait cuts off the nodes that do not have the key yet, until they get it. Put a
copied file in place with mv, so that no node reads half of it. These commands do the same;
comments that others wrote into the file are lost.`

func (p *program) clusterKeysCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make and change the keys of the cluster",
		Long:  clusterKeysLong,
		Example: `  edgecache cluster keys add --file cluster.keys      the first one makes the file
  edgecache cluster keys list --file cluster.keys
  edgecache cluster keys use 1f0e9d8c --file cluster.keys
  edgecache cluster keys remove 5b4a3928 --file cluster.keys`,
		RunE: wantCommand,
	}
	cmd.PersistentFlags().StringVar(&file, "file", "", "`PATH` of the key file; required")
	cmd.AddCommand(
		p.keysCommand("add", "Add a new random key, as the primary if it is the first", &file, p.addKey),
		p.keysCommand("use ID", "Make a key the primary", &file, p.useKey),
		p.keysCommand("remove ID", "Remove a key that is not the primary", &file, p.removeKey),
		p.keysCommand("list", "Show which keys there are, the primary first", &file, p.listKeys),
	)
	return cmd
}

// keysCommand is one of the commands. run gets the file's keys and an index into them if the
// command names one.
func (p *program) keysCommand(use, short string, file *string, run func(string, [][]byte, int) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: short + ". \"edgecache cluster keys --help\" has the whole procedure.", Args: noArgs}
	named := cmd.Name() != use
	if named {
		cmd.Args = wantArgs(1, 1, "1f0e9d8c --file cluster.keys")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *file == "" {
			return usagef("%s needs to know which file: --file PATH", cmd.CommandPath())
		}
		keys, err := gossip.ReadKeys(*file)
		if cmd.Name() == "add" && errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		at := -1
		if err == nil && named {
			at, err = findKey(keys, args[0])
		}
		if err != nil {
			return err
		}
		return run(*file, keys, at)
	}
	return cmd
}

func findKey(keys [][]byte, id string) (int, error) {
	at := slices.IndexFunc(keys, func(k []byte) bool { return gossip.KeyID(k) == id })
	if at < 0 {
		ids := make([]string, len(keys))
		for i, k := range keys {
			ids[i] = gossip.KeyID(k)
		}
		return -1, fmt.Errorf("no key %q%s; there are %q", id, didYouMean("", id, ids), ids)
	}
	return at, nil
}

func (p *program) addKey(file string, keys [][]byte, _ int) error {
	key := gossip.NewKey()
	if err := gossip.WriteKeys(file, append(keys, key)); err != nil {
		return err
	}
	if len(keys) == 0 {
		_, err := fmt.Fprintf(p.stdout, "made %s with the key %s, its primary\n", file, gossip.KeyID(key))
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "added %s to %s; the primary is still %s\n", gossip.KeyID(key), file, gossip.KeyID(keys[0]))
	return err
}

func (p *program) useKey(file string, keys [][]byte, at int) error {
	key := keys[at]
	keys = slices.Insert(slices.Delete(keys, at, at+1), 0, key)
	if err := gossip.WriteKeys(file, keys); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "%s is the primary of %s\n", gossip.KeyID(key), file)
	return err
}

func (p *program) removeKey(file string, keys [][]byte, at int) error {
	id := gossip.KeyID(keys[at])
	switch {
	case len(keys) == 1:
		return fmt.Errorf("%s is the only key of %s; add another and use it first", id, file)
	case at == 0:
		return fmt.Errorf("%s is the primary of %s; use another key first", id, file)
	}
	if err := gossip.WriteKeys(file, slices.Delete(keys, at, at+1)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "removed %s from %s\n", id, file)
	return err
}

func (p *program) listKeys(_ string, keys [][]byte, _ int) error {
	for i, k := range keys {
		note := ""
		if i == 0 {
			note = "  primary"
		}
		if _, err := fmt.Fprintf(p.stdout, "%s%s\n", gossip.KeyID(k), note); err != nil {
			return err
		}
	}
	return nil
}
