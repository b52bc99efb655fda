package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/client"
	"github.com/chatapp-ngomna/edgecache/internal/tlsfile"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// callerSettings are the flags of commands that ask nodes: which token they show, and how they
// speak TLS.
type callerSettings struct {
	program   *program
	tokens    auth.Config
	tokenFile string
	tls       tlsfile.Files
}

func (s *callerSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.tokenFile, "token-file", "", "`FILE` with a bearer token for the node [EDGECACHE_TOKEN]; one signed with JWT_SECRET when not given")
	tokenFlags(f, &s.tokens)
	f.StringVar(&s.tokens.Claim, "token-role-claim", "roles", "`NAME` of the claim with the role of a token that is signed here")
	f.StringVar(&s.tls.CA, "node-ca", "", "`FILE` of authorities of the node's certificate; those of the system when not given")
	tlsFlags(f, &s.tls, "node", "the certificate to show to the node")
}

// source returns where tokens come from, nil for no tokens.
func (s *callerSettings) source(role auth.Role) (origin.TokenSource, error) {
	secret, err := s.program.secret()
	if err != nil {
		return nil, err
	}
	given := s.program.getenv("EDGECACHE_TOKEN")
	switch {
	case s.tokenFile != "":
		source, err := auth.FileToken(s.tokenFile, nil)
		if err != nil {
			return nil, usagef("--token-file: %w", err)
		}
		return source, nil
	case given != "":
		return auth.StaticToken(given), nil
	case secret == "":
		return nil, nil
	}
	s.tokens.Secret = secret
	source, err := auth.SignTokens(s.tokens, role)
	if err != nil {
		return nil, usagef("JWT_SECRET: %s", strings.TrimPrefix(err.Error(), "auth: "))
	}
	return source, nil
}

// transport returns what makes requests as the flags say.
func (s *callerSettings) transport() (*http.Transport, error) {
	dialer, err := s.tls.Client(nil)
	if err != nil {
		return nil, usagef("--node-ca, --node-cert, --node-key: %w", err)
	}
	return dialer.Transport(), nil
}

// nodeClient asks a running node.
type nodeClient struct {
	callerSettings
	url     string
	timeout time.Duration
	role    auth.Role // that a token needs which is signed here
	// bodyType is the Content-Type of bodies; "" is JSON.
	bodyType string
}

func (c *nodeClient) flags(p *program, cmd *cobra.Command, role auth.Role) {
	c.program, c.role = p, role
	cmd.Flags().StringVar(&c.url, "node", "http://127.0.0.1:8003", "`URL` of the node [CHAT_FILE_SERVICE_PORT]")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 5*time.Second, "wait for the answer for `TIME`")
	c.callerSettings.flags(cmd.Flags())
}

// userPath returns the path of a user, or a usage error for an id that nobody can have.
func userPath(id string) (string, error) {
	if err := profile.CheckID(id); err != nil {
		return "", usagef("%s", strings.TrimPrefix(err.Error(), "profile: "))
	}
	return "/v1/users/" + url.PathEscape(id), nil
}

// do sends one request. An answer other than 2xx is an error in the node's words.
func (c *nodeClient) do(ctx context.Context, method, path string, body []byte) (client.Answer, error) {
	asks, done, err := c.open()
	if err != nil {
		return client.Answer{}, err
	}
	defer done()
	a, err := asks.Send(ctx, method, path, c.bodyType, body)
	return a, c.explain(a, err)
}

// open returns what asks the node; done ends it.
func (c *nodeClient) open() (asks *client.Client, done func(), err error) {
	if c.timeout <= 0 {
		return nil, nil, usagef("--timeout %v: want more than 0", c.timeout)
	}
	token, err := c.source(c.role)
	if err != nil {
		return nil, nil, err
	}
	transport, err := c.transport()
	if err != nil {
		return nil, nil, err
	}
	asks, err = client.New(client.Config{URL: c.url, Token: token, Transport: transport, Timeout: c.timeout})
	if err != nil {
		return nil, nil, usagef("--node: %s is no URL of a node; want http://HOST:PORT", redactURL(c.url))
	}
	return asks, transport.CloseIdleConnections, nil
}

// refusal is an answer other than 2xx.
type refusal struct {
	status int
	text   string
}

// Error returns the node's words.
func (r *refusal) Error() string { return r.text }

// explain puts what went wrong in words of the command line.
func (c *nodeClient) explain(a client.Answer, err error) error {
	e, failed := errors.AsType[*client.Error](err)
	switch {
	case err == nil && a.Status != http.StatusNoContent && !isJSON(a.Header):
		return c.noNode(a)
	case err == nil:
		return nil
	case failed && e.Status == 0, !failed && a.Status == 0:
		return fmt.Errorf("cannot reach the node at %s: %w\nstart one with 'edgecache serve', or name another with --node", redactURL(c.url), bare(err))
	case !failed:
		return fmt.Errorf("the answer of %s cannot be used: %w", redactURL(c.url), err)
	case e.Problem == "":
		return c.noNode(a)
	}
	return &refusal{e.Status, fmt.Sprintf("%s (%d %s)", printable(e.Detail), e.Status, http.StatusText(e.Status))}
}

func isJSON(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return kind == "application/json"
}

func (c *nodeClient) noNode(a client.Answer) error {
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	return fmt.Errorf("%s answers, but not as an edgecache node: %d %s, %q", redactURL(c.url), a.Status, http.StatusText(a.Status), kind)
}

// bare returns the error of the network in one of a client, without the layers that only repeat
// what was tried.
func bare(err error) error {
	text := err.Error()
	if _, after, ok := strings.Cut(text, profile.ErrUnavailable.Error()+": "); ok {
		return errors.New(after)
	}
	return err
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
