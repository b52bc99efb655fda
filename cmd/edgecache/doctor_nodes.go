package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/client"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
)

const (
	// headerClock is how exact the time in a Date header is.
	headerClock = 1100 * time.Millisecond
	// slowAnswer is when an origin is slow for its readers.
	slowAnswer = 500 * time.Millisecond
	// oldBacklog is how long a change may wait to be announced.
	oldBacklog = 10 * time.Second
)

// dateClock compares the clock that a Date header shows with this machine's.
func (f *findings) dateClock(what string, h http.Header) {
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		f.add(fine, what, "not told", "nothing is known of it.")
		return
	}
	f.clocks(what, time.Until(now.Add(time.Second/2)), headerClock)
}

// lookAtOrigin asks the source of truth how it does.
func (d *doctor) lookAtOrigin(ctx context.Context) error {
	var conf origin.ClientConfig
	secret, err := d.secret()
	if err != nil {
		return err
	}
	d.node.tokens.Secret = secret
	if err := d.toOrigin.apply(&conf, d.node.tokens, nil); err != nil {
		return err
	}
	ask := client.Config{URL: d.origin, Token: conf.Token, Timeout: d.node.timeout}
	if d.toOrigin.tls.Any() {
		dialer, err := d.toOrigin.tls.Client(nil)
		if err != nil {
			return usagef("--origin-ca, --origin-cert, --origin-key: %w", err)
		}
		ask.Transport = dialer.Transport()
	}
	asks, err := client.New(ask)
	if err != nil {
		return usagef("--origin: %s is no URL of a service; want http://HOST:PORT", redactURL(d.origin))
	}
	defer asks.Close()
	began := time.Now()
	a, err := asks.Do(ctx, http.MethodGet, "/health", nil)
	d.originHealth(a, err, time.Since(began))
	return nil
}

// originHealth judges the answer of an origin.
func (d *doctor) originHealth(a client.Answer, err error, took time.Duration) {
	f := &d.findings
	var h origin.Health
	switch wrong := json.Unmarshal(a.Body, &h); {
	case err != nil:
		f.add(failing, "origin", bare(err).Error(), "users that neither memory nor Redis has cannot be shown, and changes are refused.")
		return
	case wrong != nil:
		f.add(lossy, "origin", fmt.Sprintf("answers in %v, not as an edgecache origin", took.Round(time.Millisecond)),
			"nodes can read from it (--origin-user); who announces its changes is not known.")
	case took > slowAnswer:
		f.add(lossy, "origin", fmt.Sprintf("answers in %v", took.Round(time.Millisecond)), "who is in neither memory nor Redis waits that long, or is not shown: see --origin-timeout.")
	default:
		f.add(fine, "origin", fmt.Sprintf("answers in %v, and has %d users", took.Round(time.Millisecond), h.Users), "it can be asked.")
	}
	f.dateClock("clock of the origin", a.Header)
	d.relay(h)
}

// relay judges how an origin's announcements do.
func (d *doctor) relay(h origin.Health) {
	if h.Relay == nil {
		return
	}
	f, age := &d.findings, time.Duration(h.BacklogAge)*time.Millisecond
	found := fmt.Sprintf("%d wait, the oldest for %v; %d users are stuck", h.Backlog, age, h.Relay.Blocked)
	switch {
	case h.Relay.Down:
		f.add(lossy, "announcements", found, "nobody can be announced: the origin does not reach Redis.")
	case age > oldBacklog || h.Relay.Blocked > 0:
		f.add(lossy, "announcements", found, "the changes of some users are not seen by nodes: the origin's log says why.")
	default:
		f.add(fine, "announcements", found, "changes reach the stream.")
	}
}

// nodeHealth is what doctor reads of GET /health.
type nodeHealth struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons"`
}

// lookAtNodes asks a node which others there are, and each of them how it does.
func (d *doctor) lookAtNodes(ctx context.Context) error {
	var c node.Cluster
	a, err := d.node.do(ctx, http.MethodGet, "/v1/cluster", nil)
	if err == nil {
		err = json.Unmarshal(a.Body, &c)
	}
	if err != nil {
		d.findings.add(failing, "node", err.Error(), "it answers nobody.")
		return nil
	}
	for _, m := range c.Members {
		d.lookAtNode(ctx, m, m.Name == c.Self)
	}
	for _, m := range c.Gone {
		d.findings.add(lossy, "node "+m.Name, fmt.Sprintf("gone for %v", time.Since(m.Since).Round(time.Second)), "it left or died; others warm its users.")
	}
	return nil
}

// memoryOf says that a node's memory is too small for the last prewarm.
func (f *findings) memoryOf(ctx context.Context, name string, at nodeClient) {
	var s struct {
		MemoryShort string `json:"memoryShort"`
	}
	a, err := at.do(ctx, http.MethodGet, "/v1/stats", nil)
	if err == nil {
		err = json.Unmarshal(a.Body, &s)
	}
	if err == nil && s.MemoryShort != "" {
		f.add(lossy, "memory of node "+name, s.MemoryShort, "the others are read from Redis, each time: raise --l1-mib.")
	}
}

func (d *doctor) lookAtNode(ctx context.Context, m node.Member, self bool) {
	f, at, what := &d.findings, d.node, "node "+m.Name
	if !self {
		if m.HTTP == "" {
			f.add(fine, what, "alive; it does not say where its API is", "it cannot be asked from here.")
			return
		}
		scheme, _, _ := strings.Cut(at.url, "://")
		at.url = scheme + "://" + m.HTTP
	}
	a, err := at.do(ctx, http.MethodGet, "/health", nil)
	var h nodeHealth
	if len(a.Body) > 0 {
		_ = json.Unmarshal(a.Body, &h) // no status is none of those below
	}
	switch reasons := strings.Join(h.Reasons, "; "); {
	case h.Status == "degraded":
		f.add(lossy, what, "degraded: "+reasons, "it answers, and not as it should.")
	case h.Status != "ok":
		f.add(failing, what, strings.TrimSpace(h.Status+" "+reasons+" "+fmt.Sprint(err)), "it should get no requests.")
	default:
		f.add(fine, what, "ok", "it answers as it should.")
	}
	if err == nil {
		f.dateClock("clock of node "+m.Name, a.Header)
		f.memoryOf(ctx, m.Name, at)
	}
}
