package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
)

// storeSettings are the flags of serve about the store on disk.
type storeSettings struct {
	dir string
	mib int
}

func (s *storeSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.dir, "store-dir", "",
		"keep what the node holds in `DIR`, on a local disk, over restarts; nowhere when not given")
	f.IntVar(&s.mib, "store-mib", 1024, "room for profiles in --store-dir, in `MiB`")
}

func (s storeSettings) check() error {
	if s.mib < 1 {
		return usagef("--store-mib %d: want 1 or more", s.mib)
	}
	return nil
}

// node returns what the flags say of the node's store; nil for none.
func (s storeSettings) node() *kv.Config {
	if s.dir == "" {
		return nil
	}
	return &kv.Config{Dir: s.dir, MaxBytes: int64(s.mib) << 20}
}

// meetOrigin waits for the origin, unless the node has a store that can answer meanwhile.
func (up *parts) meetOrigin(
	ctx context.Context, s *serveSettings, n *node.Node, start func(context.Context) error,
) (err error) {
	if n.Holds() {
		err = reach(ctx, start)
	} else {
		err = s.wait.reach(ctx, "the origin", start)
	}
	if err != nil && n.Holds() && notYet(err) {
		up.log.Warn("the origin is not there; the node starts with its store", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot reach the origin at %s (--origin): %w",
			redactURL(s.originURL()), s.toOrigin.explain(err))
	}
	return nil
}

// originURL returns where the origin is, once an embedded one runs.
func (s *serveSettings) originURL() string {
	if s.origin == "" {
		return "http://" + s.originListen
	}
	return s.origin
}
