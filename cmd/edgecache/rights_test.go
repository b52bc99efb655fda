package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// aclServers are servers with the users of deploy/redis-acl.conf. The default user stays on for the
// harness.
type aclServers struct {
	url   string // of all together, as the default user
	procs []*redistest.Proc
	// failover has another server take over; nil where that is not to be tried.
	failover func()
}

// as returns the URL for a user.
func (s aclServers) as(user string) string {
	scheme, rest, _ := strings.Cut(s.url, "://")
	return scheme + "://" + user + ":CHANGE-" + user + "@" + rest
}

// denied returns what users were refused since the last call.
func (s aclServers) denied(t *testing.T) (all []string) {
	t.Helper()
	for _, p := range s.procs {
		log, err := p.Client().ACLLog(t.Context(), 100).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range log {
			all = append(all, fmt.Sprintf("%s: %s %s (%s)", e.Username, e.Reason, e.Object, e.Context))
		}
		if err := p.Client().ACLLogReset(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// clients returns what CLIENT LIST says of all servers.
func (s aclServers) clients(t *testing.T) (list string) {
	for _, p := range s.procs {
		list += p.Client().ClientList(t.Context()).Val()
	}
	return list
}

// aclOptions are those of a server with the users of deploy/redis-acl.conf.
func aclOptions(t *testing.T) redistest.Options {
	t.Helper()
	text, err := os.ReadFile("../../deploy/redis-acl.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\nuser default off\n") {
		t.Error("the file leaves the default user on")
	}
	file := filepath.Join(t.TempDir(), "users.acl")
	var users []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "user ") && !strings.HasPrefix(line, "user default") {
			users = append(users, line)
		}
	}
	if err := os.WriteFile(file, []byte(strings.Join(users, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return redistest.Options{Lines: []string{"aclfile " + file}}
}

func aclServer(t *testing.T) aclServers {
	p := redistest.ServerWith(t, aclOptions(t))
	return aclServers{url: p.URL(), procs: []*redistest.Proc{p}}
}

func aclCluster(t *testing.T) aclServers {
	c := redistest.ClusterWith(t, aclOptions(t))
	return aclServers{url: c.URL(), procs: c.Nodes}
}

func aclSentinel(t *testing.T) aclServers {
	s := redistest.Sentinel(t, aclOptions(t))
	// which is the master in the end
	a := aclServers{url: s.URL(), procs: []*redistest.Proc{s.Replica}}
	a.failover = func() {
		old := s.Master.Addr
		if err := s.Master.Kill(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := s.AwaitFailover(ctx, old); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// An origin, two nodes, verify and an operator, each under its user: everything works, and nobody
// asks for more. With one server, with Redis Cluster, and with Sentinel before and after a
// failover.
func TestEverythingWorksWithTheFewestRights(t *testing.T) {
	for name, start := range map[string]func(*testing.T) aclServers{"one server": aclServer, "Cluster": aclCluster, "Sentinel": aclSentinel} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everythingWorks(t, start(t))
		})
	}
}

func everythingWorks(t *testing.T, servers aclServers) {
	origin := start(t, "origin", "--listen", "127.0.0.1:0", "--db", "sqlite:"+t.TempDir()+"/u.db", "--redis", servers.as("origins"), "--sample-users", "200")
	source := origin.urls()[0]
	active := tempFile(t, "active.jsonl", fmt.Sprintf("{\"id\":\"5\",\"lastActive\":%d}\n{\"id\":\"6\",\"lastActive\":%d}\n", time.Now().UnixMilli(), time.Now().UnixMilli()))
	serve := func() string {
		return start(t, "serve", "--listen", "127.0.0.1:0", "--redis", servers.as("nodes"), "--origin", source, "--prewarm-source", active).urls()[0]
	}
	a, b := serve(), serve()
	run := func(args ...string) outcome {
		t.Helper()
		got := command(t, "", nil, args...)
		if got.err != nil {
			t.Errorf("edgecache %s: %v\n%s", strings.Join(args, " "), got.err, got.stderr)
		}
		return got
	}
	verifying := make(chan outcome, 1)
	go func() {
		verifying <- command(t, "", nil, "verify", "--redis", servers.as("verify"), "--nodes", a+","+b, "--duration", "3s",
			"--content", "--origin", source)
	}()
	put(t, source+"/1", `{"nom":"Neu"}`)
	for _, node := range []string{a, b} {
		run("get", "1", "2", "--node", node)
		run("batch", "1", "2", "3", "--node", node)
	}
	run("invalidate", "2", "--node", a)
	run("put", "9", fmt.Sprintf(`{"nom":"Neuer","updatedAt":%d}`, time.Now().UnixMilli()), "--node", a)
	run("prewarm", "--max-users", "10", "--node", a)
	operatorsWork(t, servers, run)
	awaitWatch(t, servers, a)
	if got := <-verifying; got.err != nil {
		t.Errorf("verify: %v\n%s%s", got.err, got.stdout, got.stderr)
	}
	if servers.failover != nil {
		servers.failover()
		put(t, source+"/1", `{"nom":"Danach"}`)
		within(t, 20*time.Second, "a change after the failover to be seen", func() bool {
			return strings.Contains(command(t, "", nil, "get", "1", "--node", a).stdout, "Danach")
		})
		awaitWatch(t, servers, b)
	}
	for _, name := range []string{"lookups", "tail", "worker", "watch", "origin"} {
		within(t, 20*time.Second, "a client named edgecache-"+name, func() bool {
			return strings.Contains(servers.clients(t), " name=edgecache-"+name+" ")
		})
	}
	if refused := servers.denied(t); len(refused) > 0 {
		t.Errorf("refused:\n%s", strings.Join(refused, "\n"))
	}
}

// client connects as a user.
func (s aclServers) client(t *testing.T, user string) redis.UniversalClient {
	t.Helper()
	client, err := redisconn.Open(s.as(user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// operatorsWork looks at the stream, puts a dead letter back, and deletes a profile by hand.
func operatorsWork(t *testing.T, servers aclServers, run func(...string) outcome) {
	t.Helper()
	operator := servers.as("operators")
	client := servers.client(t, "operators")
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "events:users", Values: []string{"payload", "{"}}).Err(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(10 * time.Second)
	for client.XLen(t.Context(), "events:users:dead").Val() == 0 && time.Now().Before(end) {
		time.Sleep(10 * time.Millisecond)
	}
	run("events", "pending", "--redis", operator)
	run("events", "tail", "--redis", operator, "--from", "start", "--count", "2")
	dead := run("events", "dead", "--redis", operator)
	if !strings.Contains(dead.stdout, "malformed") {
		t.Errorf("no dead letter: %s", dead.stdout)
	}
}

// awaitWatch deletes a profile behind the nodes' backs, and waits until the node asks for it anew:
// tracking works.
func awaitWatch(t *testing.T, servers aclServers, node string) {
	t.Helper()
	client := servers.client(t, "operators")
	end := time.Now().Add(10 * time.Second)
	for {
		if err := client.Del(context.Background(), "user:profile:3").Err(); err != nil {
			t.Fatal(err)
		}
		got := command(t, "", nil, "get", "3", "--node", node, "--verbose")
		if strings.Contains(got.stderr, "origin") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a deletion by hand is not seen: %s", got.stderr)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// forbidden reports whether Redis refused a command for want of a right; within a script it says so
// in words.
func forbidden(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), "The user executing the script can't"))
}

func TestNobodyMayMoreThanTheirWork(t *testing.T) {
	server := aclServer(t)
	for _, user := range []string{"nodes", "origins", "verify", "operators"} {
		client := server.client(t, user)
		for _, line := range []string{"FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET dir /tmp", "KEYS *", "GET other:1", "SET other:1 x", "DEL other:1",
			"SET user:other x", "XADD events:orders * a b", "DEBUG SLEEP 0", "SHUTDOWN NOSAVE", "ACL LIST", "ACL SETUSER x", "CLIENT KILL TYPE normal", "MONITOR", "SAVE",
			"REPLICAOF 127.0.0.1 1", "MODULE LIST", "SCRIPT FLUSH", "FUNCTION LOAD x", "MIGRATE 127.0.0.1 1 k 0 1", "RENAME user:profile:1 x", "PUBLISH c m",
			"PSUBSCRIBE *", "XGROUP DESTROY events:users edgecache:worker", "SORT user:profile:1", "EVAL return(redis.call('GET','other:1')) 0",
			"EVAL return(redis.call('FLUSHALL')) 0", "EVAL return(redis.call('KEYS','*')) 0", "COPY user:profile:1 other:1"} {
			var args []any
			for _, word := range strings.Fields(line) {
				args = append(args, word)
			}
			if err := client.Do(t.Context(), args...).Err(); !forbidden(err) {
				t.Errorf("%s: %s: %v, want NOPERM", user, line, err)
			}
		}
	}
	for user, lines := range map[string][]string{
		"verify":    {"XADD events:users * a b", "HGETALL user:profile:1", "DEL events:users", "EVAL return(1) 0", "XTRIM events:users MAXLEN 0"},
		"origins":   {"XREAD STREAMS events:users 0", "XTRIM events:users MAXLEN 0", "DEL events:users", "ZADD edgecache:hot 1 x"},
		"operators": {"DEL events:users", "EVAL return(1) 0", "DEL edgecache:hot", "SET events:users:worker:servers x", "XTRIM events:users MAXLEN 0"},
		"nodes":     {"DEL events:users", "DEL events:users:dead", "SET events:users x", "XDEL events:users 1-1"},
	} {
		client := server.client(t, user)
		for _, line := range lines {
			var args []any
			for _, word := range strings.Fields(line) {
				args = append(args, word)
			}
			if err := client.Do(t.Context(), args...).Err(); !forbidden(err) {
				t.Errorf("%s: %s: %v, want NOPERM", user, line, err)
			}
		}
	}
}
