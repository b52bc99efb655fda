package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// quickStart is what the README's first command prints: where the node, its Redis and its origin
// are.
func quickStart(t *testing.T) (node, redis, origin string) {
	t.Helper()
	s := start(t, append([]string{"serve"}, anyPort...)...)
	redis = regexp.MustCompile(`redis://127\.0\.0\.1:\d+`).FindString(s.stdout.String())
	if redis == "" {
		t.Fatalf("the greeting does not say where Redis is:\n%s", s.stdout.String())
	}
	urls := s.urls()
	return urls[0], redis, urls[1]
}

// The commands that read the stream work with the embedded Redis.
func TestEventsAndVerifyOnTheEmbeddedRedis(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	node, redis, origin := quickStart(t)
	verify := running(t, "verify", "--redis", redis, "--nodes", node, "--after", "500ms", "--window", "1s")
	eventually(t, "verify to be ready", func() bool { return strings.Contains(verify.stderr.String(), "watching 1 nodes") })
	put(t, origin+"/7", `{"matricule":"1-A"}`)
	eventually(t, "a check", func() bool { return strings.Contains(verify.stdout.String(), "no violation in 1 checks") })
	verify.end(t)
	for _, name := range []string{"pending", "dead"} {
		if got := command(t, "", nil, "events", name, "--redis", redis); got.err != nil {
			t.Errorf("events %s: %+v", name, got)
		}
	}
	tail := running(t, "events", "tail", "--redis", redis, "--from", "start")
	eventually(t, "the event", func() bool {
		return strings.Contains(tail.stdout.String(), "1-A") || strings.Contains(tail.stdout.String(), " 7 ")
	})
	tail.end(t)
}

// A verification that has seen nothing proves nothing.
func TestVerifyOfNothingFails(t *testing.T) {
	node, redis, _ := quickStart(t)
	for _, url := range []string{redis, redis + "/5"} {
		got := command(t, "", nil, "verify", "--redis", url, "--nodes", node, "--after", "250ms", "--duration", "500ms")
		if exitCode(got.err) != exitFailed || !strings.Contains(got.err.Error(), "nothing was verified") || !strings.Contains(got.err.Error(), "database") {
			t.Errorf("verify of %s without a change: %+v", url, got)
		}
	}
}

// The examples of put --help work on the quick start, whether the node knows the user or not.
func TestTheExamplesOfPutWork(t *testing.T) {
	node, _, origin := quickStart(t)
	help := command(t, "", nil, "put", "--help").stdout
	example := regexp.MustCompile(`edgecache put 123 "(.*)"`).FindStringSubmatch(help)
	if example == nil {
		t.Fatalf("no example:\n%s", help)
	}
	body := strings.ReplaceAll(strings.ReplaceAll(example[1], `\"`, `"`), "$(date +%s000)", fmt.Sprint(time.Now().Unix(), "000"))
	body = strings.ReplaceAll(body, " 000", "000")
	if got := command(t, "", nil, "get", "123", "--node", node); got.err != nil {
		t.Fatal(got.err)
	}
	if got := command(t, "", nil, "put", "124", body, "--node", node); got.err != nil {
		t.Errorf("put 124 %s: %+v", body, got)
	}
	// made-up users are of this second, and the example of its beginning
	eventually(t, "the first example", func() bool {
		body = fmt.Sprintf(`{"nom":"Dupont","prenom":"Jean","updatedAt":%d000}`, time.Now().Unix())
		return command(t, "", nil, "put", "123", body, "--node", node).err == nil
	})
	resp, err := http.Get(origin + "/125")
	if err != nil {
		t.Fatal(err)
	}
	truth := readAll(t, resp.Body)
	for range 2 {
		if got := command(t, truth, nil, "put", "125", "--node", node); got.err != nil {
			t.Errorf("the second example: %+v", got)
		}
	}
}
