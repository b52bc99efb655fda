package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/auth"
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
	Rate     float64 // requests answered per second
	P50, P99 float64 // ms
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
	return append(tables, t), nil
}

// servers starts the contenders on free ports.
func (r *rig) servers(ctx context.Context, closers *closing) ([]server, error) {
	bodies := make(map[string][]byte, r.L1Users)
	for i := 1; i <= r.L1Users; i++ {
		p := r.user(i)
		bodies[p.ID] = append(profile.AppendJSON(nil, p), '\n')
	}
	bare, err := startBare(ctx, bodies, closers)
	if err != nil {
		return nil, err
	}
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
	return []server{{"bare Fiber handler", bare, 0, ""}, {"edgecache GET /v1/users/:id", open, goalHTTP, ""},
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

func startBare(ctx context.Context, bodies map[string][]byte, closers *closing) (addr string, err error) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/v1/users/:id", func(c *fiber.Ctx) error {
		body := bodies[c.Params("id")]
		if body == nil {
			return fiber.ErrNotFound
		}
		c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
		c.Response().SetBodyRaw(body)
		return nil
	})
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("bare server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(l) }()
	closers.add(func() error {
		return errors.Join(app.ShutdownWithTimeout(time.Second), <-ended)
	})
	return l.Addr().String(), nil
}

// race gives the servers turns under the same load.
func (r *rig) race(ctx context.Context, servers []server, drive driver) (Table, error) {
	rates, p50, p99 := make([][]float64, len(servers)), make([][]float64, len(servers)), make([][]float64, len(servers))
	rnd := rand.New(rand.NewPCG(r.Seed, 6))
	for range r.Rounds {
		for _, i := range rnd.Perm(len(servers)) {
			if err := r.checkBody(ctx, servers[i], 1+rnd.IntN(r.L1Users)); err != nil {
				return Table{}, fmt.Errorf("%s: %w", servers[i].name, err)
			}
			runtime.GC()
			a, err := drive(ctx, servers[i], r.HTTPRound)
			if err != nil {
				return Table{}, fmt.Errorf("%s: %w", servers[i].name, err)
			}
			rates[i], p50[i], p99[i] = append(rates[i], a.Rate), append(p50[i], a.P50), append(p99[i], a.P99)
		}
	}
	t := Table{Unit: "requests/s", Goroutines: httpConnections, MoreIsBetter: true}
	for i, s := range servers {
		row := newRow(s.name, rates[i])
		row.Extras = []Extra{{"p50 ms", median(p50[i])}, {"p99 ms", median(p99[i])}}
		row.against(&t, s.goal)
		t.Rows = append(t.Rows, row)
	}
	return t, nil
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
