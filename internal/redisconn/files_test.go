package redisconn_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pki"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// withTLS returns options for servers with certificates of an authority.
func withTLS(t *testing.T, a *pki.Authority) redistest.Options {
	t.Helper()
	server, client := a.Issue(t, "server"), a.Issue(t, "harness")
	dialer, err := client.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	return redistest.Options{TLS: &redistest.TLS{Cert: server.Cert, Key: server.Key, CA: server.CA, Client: dialer.Config("127.0.0.1")}}
}

// ping opens url with each of the ways to open one and writes through it.
func ping(t *testing.T, url string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, open := range []func(string) (redis.UniversalClient, error){redisconn.Open, redisconn.OpenTail,
		redisconn.OpenPush,
		func(url string) (redis.UniversalClient, error) { return redisconn.OpenWatch(url, nil) }} {
		client, err := open(url)
		if err != nil {
			return err
		}
		for _, key := range []string{"a", "b", "c", "d"} { // of several slots
			if err == nil {
				err = client.Set(ctx, key, "1", time.Minute).Err()
			}
		}
		_ = client.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// All forms of URLs speak mTLS, to sentinels and every master of a cluster as well.
func TestTLSInAllForms(t *testing.T) {
	authority, stranger := pki.New(t), pki.New(t)
	o := withTLS(t, authority)
	one, sentinel := redistest.ServerWith(t, o), redistest.Sentinel(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), redistest.ReadyTimeout)
	defer cancel()
	cluster, err := redistest.StartCluster(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	mine, theirs := authority.Issue(t, "node"), stranger.Issue(t, "node")
	for name, url := range map[string]string{"one server": one.URL(), "sentinel": sentinel.URL(), "cluster": cluster.URL()} {
		t.Run(name, func(t *testing.T) {
			with := func(f redisconn.Files) error {
				full, err := redisconn.With(url, f)
				if err != nil {
					t.Fatal(err)
				}
				return ping(t, full)
			}
			if err := with(redisconn.Files{CA: mine.CA, Cert: mine.Cert, Key: mine.Key}); err != nil {
				t.Errorf("with a certificate: %v", err)
			}
			if err := with(redisconn.Files{CA: mine.CA}); err == nil {
				t.Error("a client without a certificate is let in")
			}
			if err := with(redisconn.Files{CA: theirs.CA, Cert: mine.Cert, Key: mine.Key}); err == nil {
				t.Error("a server of another authority is believed")
			}
			if err := ping(t, strings.Replace(url, "rediss", "redis", 1)); err == nil {
				t.Error("plain Redis works where TLS is spoken")
			}
		})
	}
}

// A password that changes in Redis and in its file needs no restart of its users.
func TestPasswordIsReadAgain(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{Password: "first"})
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	url, err := redisconn.With("redis://"+server.Addr, redisconn.Files{PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	admin := server.Client()
	if err := admin.ConfigSet(t.Context(), "requirepass", "second").Err(); err != nil {
		t.Fatal(err)
	}
	write("second")
	if err := admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = client.Ping(t.Context()).Err(); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Errorf("with the new password in the file: %v", err)
	}
}
