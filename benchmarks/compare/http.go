package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"time"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/bench/bare"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	goalHTTP        = 0.85
	goalHTTPToken   = 0.9 * goalHTTP // a token that is remembered costs at most a tenth
	httpConnections = 64
)

// server is one contender over HTTP.
type server struct {
	name, addr string
	goal       float64
	bearer     string // the value of Authorization; "" for none
}

// driver puts load on a server for the length of a round.
type driver func(ctx context.Context, s server, round time.Duration) (loadAnswer, error)

// loadAnswer is what a load generator saw.
type loadAnswer struct {
	Rate           float64 // requests answered per second
	P50, P99, P999 float64 // ms; the last in an open loop only, as the rest
	// Late99 is how late the generator itself was, in ms, and Unstarted what it had not begun at
	// the end.
	Late99    float64
	Unstarted uint64
}

// measureHTTP compares lookups over HTTP that L1 answers with a Fiber handler that has the same
// bodies in a map.
func measureHTTP(ctx context.Context, r *rig) (tables []Table, err error) {
	closers := new(closing)
	defer closers.run()
	servers, err := r.servers(ctx, closers)
	if err != nil {
		return nil, err
	}
	wrk, err := findWrk(ctx, r.Install)
	if err != nil {
		return nil, err
	}
	if wrk != "" {
		t, err := r.race(ctx, servers, wrkDriver(wrk))
		if err != nil {
			return nil, fmt.Errorf("wrk: %w", err)
		}
		t.Title = fmt.Sprintf("HTTP lookup, L1 hit, wrk -t2 -c%d", httpConnections)
		t.Note = "one user over and over, which is the strictest: nothing but the server's own work differs"
		tables = append(tables, t)
	}
	t, err := r.race(ctx, servers, func(ctx context.Context, s server, round time.Duration) (a loadAnswer, err error) {
		return a, askChild(ctx, "load", loadOrder{Addr: s.addr, Bearer: s.bearer, Users: r.L1Users, Seed: r.Seed, Nanos: round}, &a)
	})
	if err != nil {
		return nil, err
	}
	t.Title = fmt.Sprintf("HTTP lookup, L1 hit, %d users chosen uniformly", r.L1Users)
	t.Note = fmt.Sprintf("%d connections of a generator of our own, in another process, which checks that each answer is about the user asked for", httpConnections)
	tables = append(tables, t)
	for _, share := range openShares {
		t, err := r.openLoop(ctx, servers, share, t.Rows[0].Median)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// openShares are the loads of the open loop, of what the bare handler can do: all get the same.
var openShares = []float64{0.5, 0.7}

// openLoop compares latencies under a load that does not wait for answers.
func (r *rig) openLoop(ctx context.Context, servers []server, share, saturation float64) (Table, error) {
	order := loadOrder{Users: r.L1Users, Seed: r.Seed, Nanos: r.HTTPRound, Rate: math.Round(share * saturation)}
	t := Table{
		Title: fmt.Sprintf("HTTP lookup, L1 hit, open loop at %.0f %% of what the bare handler can do", 100*share), Unit: "ms p50", Goroutines: httpConnections,
		Note: fmt.Sprintf("%.0f requests a second are due, whatever becomes of those before, on %d connections; latencies count from when they were due. "+
			"\"late\" is how late the generator was by itself, which is in the latencies", order.Rate, httpConnections),
	}
	answers, err := r.turns(ctx, servers, func(ctx context.Context, s server, _ time.Duration) (a loadAnswer, err error) {
		order.Addr, order.Bearer = s.addr, s.bearer
		return a, askChild(ctx, "load", order, &a)
	})
	if err != nil {
		return Table{}, err
	}
	for i, s := range servers {
		row := newRow(s.name, of(answers[i], func(a loadAnswer) float64 { return a.P50 }))
		row.against(&t, 0)
		for _, extra := range []struct {
			name  string
			value func(loadAnswer) float64
		}{
			{"p99 ms", func(a loadAnswer) float64 { return a.P99 }}, {"p99.9 ms", func(a loadAnswer) float64 { return a.P999 }},
			{"late p99 ms", func(a loadAnswer) float64 { return a.Late99 }}, {"done/s", func(a loadAnswer) float64 { return a.Rate }},
			{"not begun", func(a loadAnswer) float64 { return float64(a.Unstarted) }},
		} {
			row.Extras = append(row.Extras, Extra{extra.name, median(of(answers[i], extra.value))})
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// of returns one figure of each answer.
func of(answers []loadAnswer, figure func(loadAnswer) float64) []float64 {
	out := make([]float64, len(answers))
	for i, a := range answers {
		out[i] = figure(a)
	}
	return out
}

// servers starts the contenders on free ports.
func (r *rig) servers(ctx context.Context, closers *closing) ([]server, error) {
	bodies := make(map[string][]byte, r.L1Users)
	for i := 1; i <= r.L1Users; i++ {
		p := r.user(i)
		bodies[p.ID] = append(profile.AppendJSON(nil, p), '\n')
	}
	plain, stop, err := bare.Serve(ctx, bodies)
	if err != nil {
		return nil, err
	}
	closers.add(stop)
	n, err := r.node(ctx, 0)
	if err != nil {
		return nil, err
	}
	closers.add(n.Close)
	if err := warm(ctx, n, r.shuffled(r.L1Users)); err != nil {
		return nil, err
	}
	open, err := startAPI(ctx, n, auth.Config{}, closers)
	if err != nil {
		return nil, err
	}
	tokens := auth.Config{Secret: "of this benchmark, and of 32 bytes or more"}
	asking, err := startAPI(ctx, n, tokens, closers)
	if err != nil {
		return nil, err
	}
	token, err := auth.SignToken(tokens, auth.Grant{Role: auth.RoleRead, Subject: "bench", Expires: time.Now().Add(24 * time.Hour)})
	if err != nil {
		return nil, err
	}
	return []server{{bare.Name, plain, 0, ""}, {"edgecache GET /v1/users/:id", open, goalHTTP, ""},
		{"edgecache, with a token", asking, goalHTTPToken, "Bearer " + token}}, nil
}

// startAPI serves a node on a free port.
func startAPI(ctx context.Context, n *node.Node, tokens auth.Config, closers *closing) (addr string, err error) {
	s, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0", Tokens: tokens})
	if err != nil {
		return "", err
	}
	closers.add(s.Close)
	if err := s.Start(ctx); err != nil {
		return "", err
	}
	return s.Addr().String(), nil
}

// race gives the servers turns under the same load.
func (r *rig) race(ctx context.Context, servers []server, drive driver) (Table, error) {
	answers, err := r.turns(ctx, servers, drive)
	if err != nil {
		return Table{}, err
	}
	t := Table{Unit: "requests/s", Goroutines: httpConnections, MoreIsBetter: true}
	for i, s := range servers {
		row := newRow(s.name, of(answers[i], func(a loadAnswer) float64 { return a.Rate }))
		row.Extras = []Extra{{"p50 ms", median(of(answers[i], func(a loadAnswer) float64 { return a.P50 }))},
			{"p99 ms", median(of(answers[i], func(a loadAnswer) float64 { return a.P99 }))}}
		row.against(&t, s.goal)
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// turns gives each server as many turns as there are rounds, in an order drawn anew.
func (r *rig) turns(ctx context.Context, servers []server, drive driver) (answers [][]loadAnswer, err error) {
	answers = make([][]loadAnswer, len(servers))
	rnd := rand.New(rand.NewPCG(r.Seed, 6))
	for range r.Rounds {
		for _, i := range rnd.Perm(len(servers)) {
			if err := r.checkBody(ctx, servers[i], 1+rnd.IntN(r.L1Users)); err != nil {
				return nil, fmt.Errorf("%s: %w", servers[i].name, err)
			}
			runtime.GC()
			a, err := drive(ctx, servers[i], r.HTTPRound)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", servers[i].name, err)
			}
			answers[i] = append(answers[i], a)
		}
	}
	return answers, nil
}

// checkBody compares all fields of an answer about user i with the truth.
func (r *rig) checkBody(ctx context.Context, s server, i int) error {
	id := r.user(i).ID
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/v1/users/"+id, nil)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if s.bearer != "" {
		q.Header.Set("Authorization", s.bearer)
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, profile.MaxSize+1))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	p, err := profile.DecodeJSON(body)
	if err != nil {
		return err
	}
	return r.check(id, p)
}
