package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
	"github.com/chatapp-ngomna/edgecache/ui"
)

// The demonstration breaks what it is told to, says so on the first screen, and keeps the promises.
func TestServeDemo(t *testing.T) {
	b := start(t, "serve", "--demo", "--listen", "127.0.0.1:0", "--origin-listen", "127.0.0.1:0", "--sample-users", "200")
	url := regexp.MustCompile(`http://\S+`).FindString(b.stdout.String())
	post := func(body string) int {
		resp, err := http.Post(url+"/v1/demo", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	until := func(want string) {
		t.Helper()
		var got outcome
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
			if got = command(t, "", nil, "top", "--node", url); strings.Contains(got.stdout, want) {
				return
			}
		}
		t.Fatalf("no %q:\n%s%v", want, got.stdout, got.err)
	}
	until("3 nodes of the cluster: bafoussam, douala, yaounde")
	for _, fault := range []string{"cut", "origin", "redis"} {
		if got := post(fmt.Sprintf(`{"fault":%q,"on":true}`, fault)); got != 200 {
			t.Fatalf("%s: %d", fault, got)
		}
	}
	until("Redis does not answer")
	for _, fault := range []string{"redis", "origin", "cut", "cut"} {
		if got := post(fmt.Sprintf(`{"fault":%q,"on":false}`, fault)); got != 200 {
			t.Fatalf("end of %s: %d", fault, got)
		}
	}
	until("✓ good  freshness")
	got := command(t, "", nil, "top", "--node", url)
	if strings.Contains(got.stdout, "broken Whatever") {
		t.Errorf("an unmarked answer was too old:\n%s", got.stdout)
	}
	if got := post(`{"fault":"tea","on":true}`); got != 400 {
		t.Errorf("an unknown fault: %d", got)
	}
}

func TestDemoIsForWhatIsEmbedded(t *testing.T) {
	for args, want := range map[string]string{
		"--redis redis://127.0.0.1:1":                        "--demo breaks what is embedded",
		"--origin http://127.0.0.1:1":                        "--demo breaks what is embedded",
		"--cluster-bind 127.0.0.1:0 --cluster-key-file keys": "leave --cluster-bind out",
		"--sample-users 10":                                  "want 200 or more",
		"--listen 0.0.0.0:0":                                 "this machine only",
	} {
		got := command(t, "", nil, append([]string{"serve", "--demo"}, strings.Fields(args)...)...)
		if got.err == nil || exitCode(got.err) != exitUsage || !strings.Contains(got.err.Error(), want) {
			t.Errorf("%s: %v", args, got.err)
		}
	}
	env := map[string]string{"JWT_SECRET": strings.Repeat("s", 40)}
	if got := command(t, "", env, "serve", "--demo"); got.err == nil || !strings.Contains(got.err.Error(), "without tokens") {
		t.Errorf("with a secret: %v", got.err)
	}
}

// The judge finds answers that are too old, and failures, and nothing else.
func TestTheJudgeOfTheDemo(t *testing.T) {
	now := time.Now()
	d := &demo{on: map[string]bool{}}
	j := newJudge(d)
	j.moved = now.Add(-time.Hour)
	j.changes["1"] = []acknowledged{{5, now.Add(-4 * time.Second)}, {6, now.Add(-300 * time.Millisecond)}}
	answer := func(version int64, from look.Tier) tier.Result {
		return tier.Result{Tier: from}.As(&profile.Profile{ID: "1", UpdatedAt: version})
	}
	kept := func() (all string) {
		for _, p := range j.promises() {
			all += map[bool]string{true: "+", false: "-"}[p.Kept]
		}
		return all
	}
	note := func(got tier.Result, err error, heldUp bool) { j.note(0, "1", now, time.Millisecond, got, err, heldUp) }
	note(answer(6, look.FromL1), nil, false)
	note(answer(4, look.FromStale), nil, false)
	note(answer(4, look.FromL1), nil, true)
	if kept() != "+++" {
		t.Errorf("%+v", j.promises())
	}
	note(answer(5, look.FromL1), nil, false)
	if kept() != "-++" {
		t.Errorf("300 ms behind: %+v", j.promises())
	}
	note(answer(4, look.FromL1), nil, false)
	note(tier.Result{}, errors.New("refused"), false)
	if p := j.promises(); kept() != "---" || !strings.Contains(p[1].Seen, "1 of 3 reads were too old, the worst was 4000 ms behind") || !strings.Contains(p[2].Seen, "refused") {
		t.Errorf("%+v", p)
	}
	var _ ui.Demo = d
}
