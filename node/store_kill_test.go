package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
)

// childEnv makes the test binary a process with one node: the folder of its store, its Redis, and
// its origin.
const childEnv = "EDGECACHE_NODE_CHILD"

// child answers the lines of its input, each an id, or "stats", in their order.
func child(env string) {
	part := strings.Split(env, " ")
	from, err := origin.NewClient(origin.ClientConfig{URL: part[2]})
	must(err)
	n, err := New(Config{RedisURL: part[1], Origin: from, NoPrewarm: true, Store: &kv.Config{Dir: part[0]}})
	must(err)
	must(n.Start(context.Background()))
	fmt.Println("ready")
	out := bufio.NewWriter(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "stats" {
			text, err := json.Marshal(n.Stats())
			must(err)
			_, _ = fmt.Fprintf(out, "%s\n", text)
		} else {
			got, err := n.Get(context.Background(), in.Text())
			_, _ = fmt.Fprintln(out, spell(got, err))
		}
		must(out.Flush())
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// spell writes an answer as the parent reads it: tier, version, whole or not.
func spell(got tier.Result, err error) string {
	switch {
	case errors.Is(err, profile.ErrNotFound):
		return "absent 0 true"
	case err != nil:
		return "failed 0 true"
	}
	p := got.Profile
	want := person(p.ID, p.UpdatedAt)
	whole := p.FullName == want.FullName && p.Nom == want.Nom && p.Prenom == want.Prenom
	return fmt.Sprintln(got.Tier, got.Version(), whole)
}

// process is a child.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (r *storeRig) exec(origin string) *process {
	r.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{r.dir, r.url, origin}, " "))
	p.cmd.Stderr = os.Stderr
	var err error
	p.in, err = p.cmd.StdinPipe()
	check(r.T, err)
	out, err := p.cmd.StdoutPipe()
	check(r.T, err)
	p.out = bufio.NewScanner(out)
	p.out.Buffer(nil, 1<<20)
	check(r.T, p.cmd.Start())
	return p
}

func (p *process) ask(line string) string {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return ""
	}
	for p.out.Scan() {
		if p.out.Text() != "" {
			return p.out.Text()
		}
	}
	return ""
}

// kill ends the process at once, wherever it stands.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// tally is how many answers came from where; share is what part of the profiles the node had
// itself.
type tally map[string]int

func (y tally) share() float64 {
	all := 0
	for from, n := range y {
		if from != "absent" {
			all += n
		}
	}
	return float64(y["L1"]+y["L1.5"]) / float64(max(1, all))
}

// read has answers of a process judged for a while, and counts them.
func (r *storeRig) readFrom(p *process, rnd *rand.Rand, d time.Duration) tally {
	counts := tally{}
	for end := time.Now().Add(d); time.Now().Before(end); {
		counts[r.judge(p, strconv.Itoa(1+rnd.IntN(r.users)))]++
	}
	return counts
}

// judge has one answer judged and returns where it came from.
func (r *storeRig) judge(p *process, id string) string {
	judged := r.judges[0].Begin(id)
	var from string
	var version int64
	var whole bool
	if _, err := fmt.Sscan(p.ask(id), &from, &version, &whole); err != nil {
		r.Fatalf("answer for %s: %v", id, err)
	}
	switch {
	case !whole:
		r.Errorf("user %s is torn", id)
	case from == "absent":
		judged.Missing()
	case from == "failed":
		r.failed.Add(1)
	default:
		judged.End(version, from == "stale")
	}
	return from
}

// serveTruth is an origin over HTTP that counts for how many users it is asked.
func (r *storeRig) serveTruth() (url string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		id := strings.TrimPrefix(q.URL.Path, "/")
		p, err := r.source.Load(q.Context(), id)
		if err != nil {
			http.NotFound(w, q)
			return
		}
		asked.Add(1)
		_ = json.NewEncoder(w).Encode(p)
	}))
	r.Cleanup(server.Close)
	return server.URL, asked
}

// TestKilledProcesses kills a node again and again under changes. The next process answers at once,
// nothing that is old, and soon as many from its own memory as the one before.
func TestKilledProcesses(t *testing.T) {
	canary.Judge(t, killProcesses)
}

func killProcesses(t *testing.T, watch *canary.Canary) {
	server := redistest.Server(t)
	r := newStoreRig(t, server.URL(), watch)
	r.users, r.seed, r.pace = pick(200, 2000), uint64(time.Now().UnixNano()), pick(20*time.Millisecond, 4*time.Millisecond)
	t.Logf("seed %d", r.seed)
	r.source = newSource(t, r.url, r.users, r.oracle, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	for w := range pick(2, 4) {
		writing.Go(func() { r.write(ctx, w, pick(2, 4)) })
	}
	defer func() { cancel(); writing.Wait(); r.source.relays.Wait() }()
	url, asked := r.serveTruth()
	rnd := rand.New(rand.NewPCG(r.seed, 99))
	var first, worst time.Duration
	before, after := tally{}, tally{}
	calls := int64(0)
	kills := pick(3, 200)
	for i := range kills + 1 {
		r.judges = []*oracle.Node{r.oracle.Node("process " + strconv.Itoa(i))}
		p := r.exec(url)
		if !p.out.Scan() || p.out.Text() != "ready" {
			t.Fatalf("the process says %q", p.out.Text())
		}
		began, askedBefore := time.Now(), asked.Load()
		r.judge(p, "1")
		first += time.Since(began)
		worst = max(worst, time.Since(began))
		if i > 0 {
			add(after, r.readFrom(p, rnd, time.Second))
			calls += asked.Load() - askedBefore
		}
		add(before, r.readFrom(p, rnd, time.Duration(300+rnd.IntN(500))*time.Millisecond))
		var st Stats
		check(t, json.Unmarshal([]byte(p.ask("stats")), &st))
		if st.Store.Off != "" || st.Store.Damaged > 0 || i > 0 && len(st.Stream.Gaps) > 0 {
			t.Errorf("process %d: %+v, gaps %v", i, st.Store, st.Stream.Gaps)
		}
		p.kill()
	}
	t.Logf("result: kill -9 of a node under %d changes, %d times | 0 answers older than the bound, 0 torn | first answer %v after the node was ready at the mean, %v at most; "+
		"of the answers in the first second %.1f %% from the node itself (%v), otherwise %.1f %% (%v); %d calls of the origin in those seconds",
		r.source.changes.Load(), kills, (first / time.Duration(kills+1)).Round(time.Microsecond), worst.Round(time.Microsecond),
		100*after.share(), after, 100*before.share(), before, calls)
	if after["L1.5"] == 0 {
		t.Errorf("the store has answered nothing: %v", after)
	}
	if after.share() < 0.9*before.share() {
		t.Errorf("%.1f %% of the answers in the first second came from the node itself, otherwise %.1f %%", 100*after.share(), 100*before.share())
	}
	r.verdict()
}

func add(to, from tally) {
	for k, n := range from {
		to[k] += n
	}
}
