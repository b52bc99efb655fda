package stream

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// overtaken is a network on which a part of a tail or worker is closed as the reply to the last
// command of its Start arrives.
type overtaken struct {
	last string // is in no other reply of a Start
	end  func() // begins to close, and returns
	once sync.Once
	open sync.WaitGroup // connections
}

func (o *overtaken) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	o.open.Add(1)
	return &overtakenConn{Conn: c, of: o}, nil
}

type overtakenConn struct {
	net.Conn
	of     *overtaken
	closed sync.Once
}

func (c *overtakenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.Contains(p[:n], []byte(c.of.last)) {
		c.of.once.Do(c.of.end)
	}
	return n, err
}

func (c *overtakenConn) Close() error {
	c.closed.Do(c.of.open.Done)
	return c.Conn.Close()
}

// TestStartThatCloseOvertakesLeavesNoLink: a Close that begins while a Start has just connected
// ends the connection.
func TestStartThatCloseOvertakesLeavesNoLink(t *testing.T) {
	for name, c := range map[string]struct {
		last string
		make func(redis.UniversalClient) (closer, *life.Life, error)
	}{
		"tail": {"master_replid2", func(c redis.UniversalClient) (closer, *life.Life, error) {
			tail, err := NewTail(TailConfig{Client: c, Handler: &recorder{}})
			return tail, &tail.life, err
		}},
		"worker": {"BUSYGROUP", func(c redis.UniversalClient) (closer, *life.Life, error) {
			w, err := NewWorker(WorkerConfig{Client: c, Applier: newMemory()})
			return w, &w.life, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Server(t)
			// there is a group, and an entry's read says so
			startWorker(t, server.URL(), newMemory())
			o := &overtaken{last: c.last}
			client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2, MaxRetries: -1, Dialer: o.dial})
			part, life, err := c.make(client)
			must(t, err)
			closed := make(chan error, 1)
			o.end = func() {
				go func() { closed <- part.Close() }()
				for !life.Closed() {
					<-time.After(time.Millisecond)
				}
			}
			if err := part.Start(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("Start: %v; want ErrClosed", err)
			}
			must(t, <-closed)
			must(t, client.Close())
			ended := make(chan struct{})
			go func() { o.open.Wait(); close(ended) }()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("a connection is still open")
			}
		})
	}
}

// closer is a Tail or a Worker.
type closer interface {
	Start(context.Context) error
	Close() error
}
