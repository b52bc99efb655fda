package gossip

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

func newKeyring(keys [][]byte) (*memberlist.Keyring, error) {
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("gossip: keys: %w", err)
	}
	return ring, nil
}

// turn makes the ring's keys what they should be in the order that loses no packet: add what is
// new, use the new primary, remove what is no longer wanted.
//
// RemoveKey shifts the keys after the removed one in an array that a reader of packets may be
// walking through. So keys are only removed from the end, and those that are wanted are added
// again.
func turn(ring *memberlist.Keyring, keys [][]byte) error {
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return err
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return err
	}
	wanted := func(k []byte) bool {
		return slices.ContainsFunc(keys, func(w []byte) bool { return bytes.Equal(w, k) })
	}
	for now := ring.GetKeys(); slices.ContainsFunc(now, func(k []byte) bool { return !wanted(k) }); now = ring.GetKeys() {
		if err := ring.RemoveKey(now[len(now)-1]); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return err
		}
	}
	return nil
}

func keyIDs(keys [][]byte) []string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = KeyID(k)
	}
	return ids
}

// watchKeys reads the key file again and again. Each text that is new is tried once, and is said to
// be bad once.
func (c *Cluster) watchKeys(ctx context.Context, last []byte) {
	tick := time.NewTicker(c.cfg.timing.keysEvery)
	defer tick.Stop()
	var lastErr string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text, err := readKeyFile(c.cfg.KeyFile)
		if err == nil && bytes.Equal(text, last) {
			lastErr = ""
			continue
		}
		if err == nil {
			last = text
			err = c.turnTo(text)
		}
		if err != nil && err.Error() != lastErr {
			c.counters.keyErrors.Add(1)
			c.cfg.Logger.WarnContext(ctx, "gossip: the keys stay as they are", "error", err)
		}
		if lastErr = ""; err != nil {
			lastErr = err.Error()
		}
	}
}

func (c *Cluster) turnTo(text []byte) error {
	keys, err := parseKeys(c.cfg.KeyFile, text)
	if err != nil {
		return err
	}
	if err := turn(c.ring, keys); err != nil {
		return fmt.Errorf("gossip: keys: %w", err)
	}
	ids := keyIDs(c.ring.GetKeys())
	if before := c.told.setKeys(ids); !slices.Equal(before, ids) {
		c.counters.keyTurns.Add(1)
		c.cfg.Logger.Info("gossip: keys taken over", "primary", ids[0], "keys", ids)
		c.told.wake()
	}
	return nil
}
