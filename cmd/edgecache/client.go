package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// maxAnswer is the largest answer that is read from a node, in bytes.
const maxAnswer = 128 << 20

// nodeClient asks a running node.
type nodeClient struct {
	url     string
	timeout time.Duration
	// bodyType is the Content-Type of bodies; "" is JSON.
	bodyType string
}

func (c *nodeClient) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.url, "node", "http://127.0.0.1:8003", "`URL` of the node [CHAT_FILE_SERVICE_PORT]")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 5*time.Second, "wait for the answer for `TIME`")
}

// userPath returns the path of a user, or a usage error for an id that nobody can have.
func userPath(id string) (string, error) {
	if err := profile.CheckID(id); err != nil {
		return "", usagef("%s", strings.TrimPrefix(err.Error(), "profile: "))
	}
	return "/v1/users/" + url.PathEscape(id), nil
}

// answer is a node's answer to a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends one request. An answer other than 2xx is an error in the node's words.
func (c *nodeClient) do(ctx context.Context, method, path string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return answer{}, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	if len(text) > maxAnswer {
		return answer{}, fmt.Errorf("the answer of %s is larger than %d MiB", redactURL(c.url), maxAnswer>>20)
	}
	return c.check(answer{resp.StatusCode, resp.Header, text})
}

func (c *nodeClient) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	if c.timeout <= 0 {
		return nil, usagef("--timeout %v: want more than 0", c.timeout)
	}
	base, err := url.Parse(c.url)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, usagef("--node: %s is no URL of a node; want http://HOST:PORT", redactURL(c.url))
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(base.String(), "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if len(body) > 0 {
		req.Header.Set("Content-Type", cmp.Or(c.bodyType, "application/json"))
	}
	return req, nil
}

func (c *nodeClient) unreachable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", c.timeout)
	}
	return fmt.Errorf("cannot reach the node at %s: %w\nstart one with 'edgecache serve', or name another with --node", redactURL(c.url), err)
}

// refusal is an answer other than 2xx.
type refusal struct {
	status int
	text   string
}

// Error returns the node's words.
func (r *refusal) Error() string { return r.text }

func (c *nodeClient) check(a answer) (answer, error) {
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if a.status/100 == 2 && (a.status == http.StatusNoContent || kind == "application/json") {
		return a, nil
	}
	var problem struct{ Title, Detail string }
	if kind == "application/problem+json" && json.Unmarshal(a.body, &problem) == nil {
		return a, &refusal{a.status, fmt.Sprintf("%s (%d %s)", printable(problem.Detail), a.status, http.StatusText(a.status))}
	}
	return a, fmt.Errorf("%s answers, but not as an edgecache node: %d %s, %q", redactURL(c.url), a.status, http.StatusText(a.status), kind)
}

// printJSON writes JSON as it came, or indented for people.
func (p *program) printJSON(text []byte) error {
	if terminal(p.stdout) {
		var b bytes.Buffer
		if err := json.Indent(&b, bytes.TrimSpace(text), "", "  "); err != nil {
			return fmt.Errorf("the node's answer is no JSON: %w", err)
		}
		text = b.Bytes()
	}
	_, err := fmt.Fprintf(p.stdout, "%s\n", jsonFor(p.stdout, bytes.TrimSpace(text)))
	return err
}
