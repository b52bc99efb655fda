package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/stream/history"
	"github.com/chatapp-ngomna/edgecache/verify"
)

// closedPort returns an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// silentPort returns an address at which connections are taken and never answered.
func silentPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// mistakes are commands, with the address of nobody for GONE, how they exit and what they say.
var mistakes = []struct {
	args string
	code int
	want string
}{
	{"serv", 2, "Did you mean this?\n\tserve"},
	{"frobnicate", 2, `unknown command "frobnicate"`},
	{"serve extra", 2, `serve takes flags only, not "extra"`},
	{"serve --listn x", 2, "unknown flag --listn; did you mean --listen?\nrun 'edgecache serve --help'"},
	{"serve --frobnicate x", 2, "unknown flag --frobnicate\n"},
	{"serve --listen", 2, "needs an argument"},
	{"serve --listen 8003", 2, `--listen "8003": missing port in address; want HOST:PORT`},
	{"serve --listen 127.0.0.1:99999", 2, `port "99999": want a number from 0 to 65535`},
	{"serve --origin-listen x", 2, "--origin-listen \"x\""},
	{"serve --sample-users many", 2, `--sample-users: want a whole number, not "many"`},
	{"serve --sample-users -5", 2, "--sample-users -5: want 0 or more"},
	{"serve --l1-mib 0", 2, "--l1-mib 0: want 1 or more"},
	{"serve --store-mib 0", 2, "--store-mib 0: want 1 or more"},
	{"store", 2, "edgecache store wants one of"},
	{"store stat", 2, "store stat needs --dir DIR"},
	{"store compact", 2, "store compact needs --dir DIR"},
	{"store verify --dir /nowhere", 1, "no store there: /nowhere"},
	{"serve --fence-after 249ms", 2, "--fence-after 249ms: want 250ms or more"},
	{"serve --fence-after 0s", 2, "--fence-after 0s: want 250ms or more"},
	{"serve --fence-after -1s", 2, "--fence-after -1s: want 250ms or more"},
	{"serve --fence-after 250", 2, `--fence-after: want a duration such as 500ms or 5s, not "250"`},
	{"serve --redis localhost:1", 2, "--redis: bad Redis URL"},
	{"serve --redis redis://127.0.0.1:x", 2, `address "127.0.0.1:x": want host:port`},
	{"serve --wait 0s --redis redis://u:s3cr3t@GONE", 1, "cannot reach Redis at redis://u:xxxxx@GONE (--redis): dial tcp GONE"},
	{"serve --origin 127.0.0.1:8001", 2, "--origin: 127.0.0.1:8001 is no URL of a service; want http://HOST:PORT"},
	{"serve --wait 0s --origin http://u:s3cr3t@GONE", 1, "cannot reach the origin at http://u:xxxxx@GONE (--origin): dial tcp GONE"},
	{"serve --origin http://x --sample-users 5", 2, "--sample-users is for the embedded origin"},
	{"serve --origin http://x --data-dir x", 2, "--data-dir is for the embedded origin"},
	{"serve --log-level loud", 2, `--log-level "loud": want debug, info, warn or error`},
	{"serve --config nowhere.yaml", 2, "--config: open nowhere.yaml"},
	{"serve --listen 203.0.113.7:1 --origin-listen 127.0.0.1:0", 2, `not listening on "203.0.113.7:1": without a secret`},
	{"serve --data-dir /dev/null/x --origin-listen 127.0.0.1:0", 1, "make the folder of --data-dir"},
	{"serve --prewarm-query SELECT", 2, "--prewarm-query is for a database of SQL; want --prewarm-source"},
	{"serve --cluster-join 127.0.0.1:1", 2, "--cluster-join is for a node of a cluster; want --cluster-bind HOST:PORT with it"},
	{"serve --cluster-bind 127.0.0.1:0", 2, "--cluster-bind needs --cluster-key-file FILE; 'edgecache cluster keys add"},
	{"serve --cluster-bind 127.0.0.1:0 --cluster-key-file nowhere.keys --origin-listen 127.0.0.1:0", 2, "open nowhere.keys"},
	{"serve --ready-at 1.5 --prewarm", 2, "--ready-at 1.5: want 0 to 1"},
	{"serve --ready-at x", 2, `--ready-at: want a number such as 0.5, not "x"`},
	{"serve --ready-at 0.5", 2, "--ready-at needs --prewarm"},
	{"serve --prewarm --ready-at 0.5 --ready-within 0s", 2, "--ready-within 0s: want more than 0"},
	{"serve --prewarm-source nowhere.jsonl --origin-listen 127.0.0.1:0", 2, `--prewarm-source: "nowhere.jsonl" is no file`},
	{"prewarm --rate -0.5", 2, "--rate -0.5: want more than 0; --unlimited"},
	{"prewarm --rate NaN", 2, "--rate NaN: want more than 0; --unlimited"},
	{"prewarm --rate +Inf", 2, "--rate +Inf: want more than 0; --unlimited"},
	{"serve --prewarm --prewarm-rate -5", 2, "--prewarm-rate -5: want more than 0, or -1 for no limit"},
	{"serve --prewarm --prewarm-rate NaN", 2, "--prewarm-rate NaN: want more than 0"},
	{"replay --trace x --rate -5", 2, "--rate -5: want 1 to"},
	{"prewarm --rate -1", 2, "--rate -1: want more than 0; --unlimited"},
	{"prewarm --delay -1s", 2, "--delay -1s: want 0 or more"},
	{"prewarm now", 2, `prewarm takes flags only, not "now"`},
	{"prewarm status --node http://GONE", 1, "cannot reach the node at http://GONE"},
	{"cluster --node http://GONE", 1, "cannot reach the node"},
	{"serve --otlp-endpoint 127.0.0.1:4318", 2, "--otlp-endpoint, --otlp-ratio: Endpoint is no URL of a collector"},
	{"serve --otlp-endpoint http://127.0.0.1:4318 --otlp-ratio 2", 2, "Ratio 2; want 0 to 1"},
	{"top extra", 2, `top takes flags only, not "extra"`},
	{"cluster frobnicate", 2, `unknown command "frobnicate" for "edgecache cluster"; it has ["keys"]`},
	{"origin", 2, "--redis redis://HOST:PORT"},
	{"origin --wait 0s --redis redis://GONE --db sqlite:unused.db", 1, "cannot reach Redis at redis://GONE"},
	{"origin --wait 0s --redis redis://GONE --db mysql:x", 2, `--db "mysql:x": want sqlite:PATH`},
	{"origin --wait 0s --redis redis://GONE --db sqlite:", 2, "want sqlite:PATH"},
	{"origin --redis redis://GONE --listen 0.0.0.0:1", 2, "--listen: not listening on \"0.0.0.0:1\""},
	{"get", 2, "get wants ID..., such as: edgecache get 123"},
	{"get a/b", 2, `invalid id: "a/b" has byte "/" at 1`},
	{"get 1 --node GONE", 2, "is no URL of a node; want http://HOST:PORT"},
	{"get 1 --node http://u:s3cr3t@GONE", 1, "cannot reach the node at http://u:xxxxx@GONE"},
	{"get 1 --timeout 0s", 2, "--timeout 0s: want more than 0"},
	{"get 1 --timeout 5", 2, `--timeout: want a duration such as 500ms or 5s, not "5"`},
	{"batch", 2, "batch wants ids"},
	{"batch --file nowhere.txt", 1, "open nowhere.txt"},
	{"batch 1 --output yaml", 2, `--output "yaml": want json or table`},
	{"put", 2, "put wants ID [PROFILE], such as: edgecache put 123"},
	{"fn push f fn.go --share 100%", 2, "--share 100%: want a share above 0 and below 100%"},
	{"fn push f fn.go --share half", 2, "--share half: want a share"},
	{"put 1", 2, "put wants a profile as JSON"},
	{"put a/b {}", 2, "invalid id"},
	{"invalidate", 2, "invalidate wants ID..."},
	{"invalidate a/b", 2, "invalid id"},
	{"serve --stream-max-len 0", 2, "--stream-max-len 0: want 1 or more"},
	{"origin --redis redis://GONE --stream-max-len -1", 2, "--stream-max-len -1: want 1 or more"},
	{"events frobnicate", 2, `events has no "frobnicate"; want tail, pending, dead or replay`},
	{"events tail --from yesterday", 2, `--from "yesterday": want the id of an entry`},
	{"events tail --from 1764000000000", 2, "want the id of an entry"},
	{"events tail --count -1", 2, "--count -1: want 0 or more"},
	{"events tail --redis redis://GONE", 1, "cannot reach Redis at redis://GONE"},
	{"events pending --redis localhost:1", 2, "--redis: bad Redis URL"},
	{"events dead --count 0", 2, "--count 0: want 1 or more"},
	{"events replay", 2, "replay wants the ids of dead letters, or --all"},
	{"events replay 5-0 --all", 2, "replay wants the ids of dead letters, or --all"},
	{"events replay 5", 2, `"5" is no id of a dead letter`},
	{"verify", 2, "verify wants the nodes to ask"},
	{"verify --nodes 10.0.0.7:8003", 2, `node "10.0.0.7:8003"; want http://HOST:PORT`},
	{"verify --nodes http://x --redis localhost:1", 2, "--redis: bad Redis URL"},
	{"verify --nodes http://x --redis redis://GONE", 1, "cannot reach Redis at redis://GONE"},
	{"verify --nodes http://x,http://x", 2, "node http://x is named twice"},
	{"verify --nodes http://x --sample 0", 2, "--sample 0: want above 0"},
	{"verify --nodes http://x --content", 2, "--content compares with the origin: want --origin URL"},
	{"verify --nodes http://x --origin http://y", 2, "--origin is for --content"},
	{"verify --nodes http://x --content --origin http://y --content-rate 0", 2, "--content-rate 0: want 1 to 1000"},
	{"verify --nodes http://x --sample half", 2, `--sample: want a number such as 0.5, not "half"`},
	{"verify --nodes http://x --after soon", 2, `--after: want durations such as 250ms,2.5s, not "soon"`},
	{"verify --nodes http://x --window 5ms", 2, "--window 5ms: want 1s or more"},
	{"verify --nodes http://x --duration -1s", 2, "--duration -1s: want 0 or more"},
	{"verify --nodes http://x --max-rate -1", 2, "--max-rate -1: want 0 or more"},
	{"verify --nodes http://x --history 0", 2, "--history 0: want 1 or more"},
	{"verify --nodes http://x --max-violations 0", 2, "--max-violations 0: want 1 or more"},
	{"verify --nodes http://x --after 2s,1s", 2, "After is [2s 1s]; want rising times from 1ms to 10s"},
	{"verify --nodes http://x --after 11s", 2, "After is [11s]; want rising"},
	{"verify --nodes http://x --metrics x", 2, `--metrics "x"`},
	{"stats now", 2, `stats takes flags only, not "now"`},
	{"bench l9", 2, `"l9" is no suite; want l1, l2, origin`},
	{"bench l1 --users 3", 2, "--users 3: want 100 to"},
	{"bench --duration 0.1ms", 2, "--duration 100µs: want 10ms"},
	{"bench --rate NaN", 2, "--rate NaN: want more than 0"},
	{"bench --nodes 10.0.0.7:8003", 2, `--nodes: "10.0.0.7:8003" is no URL of a node`},
	{"bench --nodes http://x --redis redis://y", 2, "give them without --redis and --origin"},
	{"bench --ids nowhere.txt", 2, "--ids: open nowhere.txt"},
	{"bench --trace nowhere.tsv", 2, "--trace: open nowhere.tsv"},
	{"bench --trace a --ids b", 2, "want one of them"},
	{"bench --redis localhost:1", 2, "--redis: bad Redis URL"},
	{"bench --origin-id-field x", 2, "want --origin URL with them"},
	{"bench l1 --redis redis://u:s3cr3t@GONE", 1, "not reachable: Redis at redis://u:xxxxx@GONE"},
	{"bench l1 --origin http://GONE", 1, "not reachable: the origin at http://GONE"},
	{"bench compare before", 2, "compare wants A B, such as: edgecache bench compare before after"},
	{"bench compare nowhere nobody", 1, "open nowhere"},
	{"bench compare a b --tolerance -1", 2, "--tolerance -1: want 0 to 10"},
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	gone := closedPort(t)
	for _, c := range mistakes {
		args, want := strings.ReplaceAll(c.args, "GONE", gone), strings.ReplaceAll(c.want, "GONE", gone)
		t.Run(args, func(t *testing.T) {
			got := command(t, "", nil, strings.Fields(args)...)
			if got.err == nil || exitCode(got.err) != c.code || !strings.Contains(got.err.Error(), want) {
				t.Fatalf("exit %d: %v\nwant exit %d: %s", exitCode(got.err), got.err, c.code, want)
			}
			if strings.Contains(got.err.Error()+got.stderr, "s3cr3t") {
				t.Errorf("the password got out: %v %s", got.err, got.stderr)
			}
			if strings.Contains(got.err.Error(), "Flags:") || got.stdout != "" {
				t.Errorf("a mistake printed the whole usage: %v %s", got.err, got.stdout)
			}
		})
	}
}

func TestMistakesInTheEnvironment(t *testing.T) {
	for _, c := range []struct{ args, name, value, want string }{
		{"serve", "REDIS_PORT", "abc", `REDIS_PORT "abc": want a number`},
		{"serve", "AUTH_USER_SERVICE_URL", "nonsense", "--origin: nonsense is no URL"},
		{"serve", "EDGECACHE_SAMPLE_USERS", "x", `EDGECACHE_SAMPLE_USERS: want a whole number, not "x"`},
		{"origin --redis redis://127.0.0.1:1", "JWT_SECRET", "short", "JWT_SECRET has 5 bytes; want 32 or more"},
		{"serve", "CHAT_FILE_SERVICE_PORT", "70000", `CHAT_FILE_SERVICE_PORT "70000"`},
		{"get 1", "CHAT_FILE_SERVICE_PORT", "x", `CHAT_FILE_SERVICE_PORT "x"`},
		{"stats", "EDGECACHE_CONFIG", "nowhere.yaml", "nowhere.yaml"},
	} {
		got := command(t, "", map[string]string{c.name: c.value}, strings.Fields(c.args)...)
		if exitCode(got.err) != 2 || !strings.Contains(fmt.Sprint(got.err), c.want) {
			t.Errorf("%s=%s %s: exit %d: %v; want %s", c.name, c.value, c.args, exitCode(got.err), got.err, c.want)
		}
	}
}

func TestMistakesInTheConfigurationFile(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"listen: 8003\n", ":1: listen: want text, not the number 8003"},
		{"# comment\nlissten: a\n", `:2: unknown setting "lissten"; did you mean listen?`},
		{"frobnicate: a\n", `:1: unknown setting "frobnicate"; known are allow-host, client-batches`},
		{"config: other.yaml\n", `:1: unknown setting "config"`},
		{"redis: [a]\n", ":1: redis: want text, not a list"},
		{"redis: {a: b}\n", ":1: redis: want text, not a mapping"},
		{"redis: true\n", ":1: redis: want text, not true"},
		{"redis:\n", ":1: redis: want text, not nothing"},
		{"sample-users: many\n", `:1: sample-users: want a whole number, not "many"`},
		{"sample-users: 1.5\n", ":1: sample-users: want a whole number, not the number 1.5"},
		{"sample-users: 99999999999999999999\n", ":1: sample-users: want a whole number"},
		{"sample-users: 1\nl1-mib: 1\nsample-users: 2\n", ":3: sample-users is set twice; first in line 1"},
		{"- a\n", ":1: want lines of the form NAME: VALUE"},
		{"listen: \"x\n", "line 2"},
		{strings.Repeat("# filler\n", maxConfigFile/8), "is larger than 65536 bytes"},
	} {
		file := filepath.Join(t.TempDir(), "edgecache.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := command(t, "", nil, "serve", "--config", file)
		if exitCode(got.err) != 2 || !strings.Contains(fmt.Sprint(got.err), c.want) || !strings.Contains(fmt.Sprint(got.err), file) {
			t.Errorf("%.40q: exit %d: %v; want %s", c.text, exitCode(got.err), got.err, c.want)
		}
	}
}

func TestWhatDoesNotAnswerIsAnErrorWithin5s(t *testing.T) {
	silent := silentPort(t)
	for _, args := range [][]string{
		{"serve", "--redis", "redis://" + silent, "--wait", "0s"},
		{"serve", "--origin", "http://" + silent, "--wait", "0s"},
		{"origin", "--db", "sqlite:" + filepath.Join(t.TempDir(), "x.db"), "--redis", "redis://" + silent, "--wait", "0s"},
		{"get", "1", "--node", "http://" + silent, "--timeout", "1s"},
		{"bench", "l1", "--redis", "redis://" + silent},
		{"bench", "l1", "--origin", "http://" + silent},
	} {
		began := time.Now()
		got := command(t, "", nil, args...)
		if took := time.Since(began); exitCode(got.err) != 1 || !strings.Contains(fmt.Sprint(got.err), silent) || took > 5*time.Second {
			t.Errorf("%s: exit %d after %v: %v; want 1 and the address", args, exitCode(got.err), took, got.err)
		}
	}
}

func TestHelpShowsAnExample(t *testing.T) {
	for _, name := range []string{"", "serve", "origin", "get", "batch", "put", "invalidate", "why", "doctor", "top", "stats", "events", "events tail",
		"events pending", "events dead", "events replay", "verify", "bench", "bench compare", "version", "store", "store stat", "store verify", "store compact"} {
		got := command(t, "", nil, strings.Fields(name+" --help")...)
		if got.err != nil || !strings.Contains(got.stdout, "Examples:\n  edgecache ") {
			t.Errorf("%s --help: %v\n%s", name, got.err, got.stdout)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"listn", "listen", 1}, {"redis", "rdeis", 2}, {"abc", "xyz", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d; want %d", c.a, c.b, got, c.want)
		}
	}
}

// foreign is text of other machines that steers a terminal: C0, C1, DEL, and the overrides of
// direction.
const foreign = "a\x1b[2Jb\u009bc\x7fd\u202ee\u2066f\rg"

func TestForeignTextDoesNotSteerTheTerminal(t *testing.T) {
	now := time.Now()
	member := node.Member{Name: foreign, Addr: foreign, HTTP: foreign, Key: foreign, Keys: []string{foreign, foreign},
		Redis: foreign, Origin: foreign, Version: foreign, State: foreign, MemoryMiB: 1}
	var verified, shown bytes.Buffer
	v := verifyPrinter{out: &verified}
	v.violation(verify.Violation{Node: foreign, User: foreign, Entry: foreign, Rule: foreign, Tier: foreign,
		History: []verify.HistoryEntry{{ID: foreign, Kind: foreign}},
		Nodes:   []verify.NodeAnswer{{Node: foreign, Error: foreign}, {Node: foreign, ETag: foreign, CacheStatus: foreign}}})
	v.gap(foreign)
	v.report("window", verify.Report{Gaps: map[string]uint64{foreign: 1}, Nodes: []verify.NodeReport{{Node: foreign}}})
	p := &program{stdout: &shown, stderr: &shown}
	tail, dead, warm := eventsTail{events: events{program: p}}, eventsDead{events: events{program: p}}, warming{program: p}
	_ = tail.show(history.Line{ID: foreign, Kind: foreign, User: foreign, Form: foreign, Reason: foreign})
	_ = dead.show(stream.DeadLetter{ID: foreign, Entry: foreign, Reason: foreign})
	(&meter{out: &shown}).show(-1, foreign)
	err := warm.report(prewarm.Status{State: prewarm.State(foreign), Error: foreign, Failures: []prewarm.Failure{{ID: foreign, Reason: foreign}}})
	for from, text := range map[string]string{
		"cluster":                 clusterTable(node.Cluster{Members: []node.Member{member}}, now),
		"verify":                  verified.String(),
		"events tail, dead":       shown.String(),
		"events pending":          describeBacklog(stream.Backlog{LastID: foreign, Oldest: foreign, Consumers: map[string]stream.Consumer{foreign: {}}}, now),
		"an error":                printableLines(fmt.Sprint(err, "\n", foreign)),
		"JSON on a terminal":      string(printableJSON([]byte(`{"nom":"` + foreign + "\U000e0001" + `"}`))),
		"a list of several nodes": printableLines(foreign + "\n" + foreign),
	} {
		if !strings.Contains(text, "[2J") {
			t.Errorf("%s: %q does not show the text", from, text)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: %q has %q", from, text, text[i:])
		}
	}
	if lines := strings.Count(clusterTable(node.Cluster{Members: []node.Member{{Name: "a\nb"}}}, now), "\n"); lines != 2 {
		t.Errorf("the table of one node has %d lines", lines)
	}
}

func TestPrintableJSONIsTheSame(t *testing.T) {
	in := map[string]string{"k\u009b": foreign + "é😀\U000e0001\u2028"}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]string
	if err := json.Unmarshal(printableJSON(text), &out); err != nil || !maps.Equal(in, out) {
		t.Errorf("%q became %q, %v", in, out, err)
	}
}

func TestPasswordsAreNotEchoed(t *testing.T) {
	for _, args := range [][]string{
		{"origin", "--redis", "redis://127.0.0.1:1", "--db", "host=h password=s3cr3t dbname=x"},
		{"origin", "--redis", "redis://127.0.0.1:1", "--db", "host=h", "password=s3cr3t"},
		{"origin", "--redis", "redis://127.0.0.1:1", "--db", "mysql://u:s3cr3t@h/x"},
		{"origin", "--redis", "redis://127.0.0.1:1", "--db", "sqlite:x?password=s3cr3t", "--table", "t"},
		{"serve", "--redis", "amqp://u:s3cr3t@h", "--origin", "http://h"},
		{"serve", "--origin", "gopher://u:s3cr3t@h"},
	} {
		got := command(t, "", nil, args...)
		if got.err == nil || strings.Contains(got.err.Error()+got.stdout+got.stderr, "s3cr3t") {
			t.Errorf("%v: %v", args, got)
		}
	}
}
