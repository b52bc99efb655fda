package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redact"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// maxBody is the largest answer of a node that is read, in bytes.
const maxBody = 64 << 20

// errNoSources reports a node whose batch answers do not say who answered.
var errNoSources = errors.New("its batch answers have no sources: it is no edgecache node, or an older one")

// client asks one node.
type client struct {
	url     string
	name    string // the URL without its password
	timeout time.Duration
	token   func() (string, error) // nil: none is sent
	http    *http.Client
}

func newClient(raw string, cfg Config) (*client, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%w: node %q; want http://HOST:PORT", ErrConfig, redact.Address(raw))
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true}
	if cfg.Transport != nil {
		transport = cfg.Transport.Clone()
	}
	transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = maxInFlight+1, 30*time.Second
	return &client{url: u.String(), name: redact.Address(u.String()), timeout: cfg.Timeout, token: cfg.Token, http: &http.Client{Transport: transport}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// batchAnswer is the body of an answer to a batch, as far as it is looked at.
type batchAnswer[T any] struct {
	Users   map[string]T      `json:"users"`
	Missing []string          `json:"missing"`
	Errors  map[string]string `json:"errors"`
	Sources map[string]struct {
		Tier string `json:"tier"`
		Age  int64  `json:"ageMs"`
	} `json:"sources"`
	received time.Time
}

// versioned is a user of a batch's answer whose version alone is looked at.
type versioned struct {
	UpdatedAt int64 `json:"updatedAt"`
}

// ask asks for many users at once.
func ask[T any](ctx context.Context, c *client, ids []string) (b batchAnswer[T], err error) {
	body, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return b, err
	}
	_, text, err := c.do(ctx, http.MethodPost, "/v1/users/batch?sources=1", body)
	if err != nil {
		return b, err
	}
	b.received = time.Now()
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("its answer is no JSON: %w", err)
	}
	if b.Sources == nil {
		return b, errNoSources
	}
	return b, nil
}

// batch asks for many users at once. An id without an answer is not in the result.
func (c *client) batch(ctx context.Context, ids []string) (map[string]*answer, error) {
	sent := time.Now()
	b, err := ask[versioned](ctx, c, ids)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*answer, len(ids))
	for id, u := range b.Users {
		from := b.Sources[id]
		out[id] = &answer{sent: sent, received: b.received, version: u.UpdatedAt, tier: from.Tier, stale: from.Tier == "stale",
			age: time.Duration(from.Age) * time.Millisecond}
	}
	for _, id := range b.Missing {
		out[id] = &answer{sent: sent, received: b.received, absent: true}
	}
	return out, nil
}

// do sends one request and returns the head and the body of an answer of 200.
func (c *client) do(ctx context.Context, method, path string, body []byte) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %v", c.timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(text) > maxBody:
		return nil, nil, fmt.Errorf("its answer is larger than %d MiB", maxBody>>20)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound:
		return nil, nil, fmt.Errorf("it answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	case resp.StatusCode == http.StatusNotFound && method != http.MethodGet:
		return nil, nil, errNoSources
	}
	return resp.Header, text, nil
}

// look asks for one user, for a report.
func (c *client) look(ctx context.Context, id string) NodeAnswer {
	n := NodeAnswer{Node: c.name}
	head, text, err := c.do(ctx, http.MethodGet, "/v1/users/"+url.PathEscape(id), nil)
	if err != nil {
		n.Error = err.Error()
		return n
	}
	n.ETag, n.CacheStatus = head.Get("ETag"), head.Get("Cache-Status")
	age, _ := strconv.Atoi(head.Get("Age")) // one that is none is not told
	n.Age = profile.Millis(time.Duration(age) * time.Second)
	var body struct {
		UpdatedAt int64 `json:"updatedAt"`
	}
	if n.Absent = n.ETag == ""; !n.Absent {
		if err := json.Unmarshal(text, &body); err != nil {
			n.Error = "its answer is no JSON: " + err.Error()
		}
		n.Version = body.UpdatedAt
	}
	return n
}
