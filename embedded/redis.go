// Package embedded holds stand-ins that live inside the process, so that edgecache runs with
// nothing but Go: for a first try, for examples and for development. They are not for production:
// nothing is durable, nothing is shared with other processes.
package embedded

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// tick is how often keys whose time has come are removed. The server's own clock mode looks at
// every key in every command, which 10,000 users already feel.
const tick = time.Second

// Redis is an in-process Redis on a free loopback port.
type Redis struct {
	server *miniredis.Miniredis
	close  sync.Once
	done   chan struct{}
	clock  sync.WaitGroup
}

// StartRedis starts one. Its keys expire by the system's clock, up to a second late.
func StartRedis() (*Redis, error) {
	r := &Redis{server: miniredis.NewMiniRedis(), done: make(chan struct{})}
	if err := r.server.Start(); err != nil {
		return nil, fmt.Errorf("embedded: start Redis: %w", err)
	}
	r.clock.Go(r.drive)
	return r, nil
}

// drive lets the time of the keys pass.
func (r *Redis) drive() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for last := time.Now(); ; {
		select {
		case now := <-t.C:
			r.server.FastForward(now.Sub(last))
			last = now
		case <-r.done:
			return
		}
	}
}

// URL returns the address in the form that node.Config.RedisURL takes.
func (r *Redis) URL() string { return "redis://" + r.server.Addr() }

// Kill ends the server as a crash would: connections break, and nobody answers. Its data stays.
func (r *Redis) Kill() { r.server.Close() }

// Revive starts it again after Kill, at the same address and with the data that it had.
func (r *Redis) Revive() error {
	if err := r.server.Restart(); err != nil {
		return fmt.Errorf("embedded: start Redis again: %w", err)
	}
	return nil
}

// Close stops the server and forgets its data. It may be called twice.
func (r *Redis) Close() error {
	r.close.Do(func() {
		close(r.done)
		r.clock.Wait()
		r.server.Close()
	})
	return nil
}
