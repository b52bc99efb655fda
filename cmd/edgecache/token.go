package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
)

// mostTTL is the longest that a token may live.
const mostTTL = 10 * 365 * 24 * time.Hour

// grant is the command "token".
type grant struct {
	*program
	tokens        auth.Config
	role, subject string
	ttl           time.Duration
}

func (p *program) tokenCommand() *cobra.Command {
	g := grant{program: p}
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a bearer token for nodes and origins",
		Long: `Prints a token (JWT, HS256) that is signed with JWT_SECRET, or with what is in the file that
JWT_SECRET_FILE names. Nodes and origins with the same secret take it until it expires.

Roles include each other: read (lookups), invalidate (make the caches forget users), write
(put, create, change), admin (delete, begin and end prewarms).`,
		Example: `  export JWT_SECRET_FILE=/run/secrets/jwt
  edgecache token --role read --ttl 1h
  curl -H "Authorization: Bearer $(edgecache token --role read)" http://10.0.0.7:8003/v1/users/123`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return g.print() },
	}
	f := cmd.Flags()
	f.StringVar(&g.role, "role", "read", "`ROLE` of the bearer: "+auth.RoleNames)
	f.StringVar(&g.subject, "subject", "", "`NAME` of the bearer (sub), under which requests are counted; none when not given")
	f.DurationVar(&g.ttl, "ttl", time.Hour, "`TIME` until it expires")
	f.StringVar(&g.tokens.Claim, "token-role-claim", "roles", "`NAME` of the claim with the role")
	tokenFlags(f, &g.tokens)
	return cmd
}

func (g *grant) print() error {
	role, ok := auth.ParseRole(g.role)
	if !ok {
		return usagef("--role %q: want %s", g.role, auth.RoleNames)
	}
	if g.ttl <= 0 || g.ttl > mostTTL {
		return usagef("--ttl %v: want more than 0, up to %v", g.ttl, mostTTL)
	}
	var err error
	if g.tokens.Secret, err = g.secret(); err != nil {
		return err
	}
	if g.tokens.Secret == "" {
		return usagef("token needs the secret of the nodes: JWT_SECRET, or JWT_SECRET_FILE with the name of a file")
	}
	if err := g.tokens.Validate(); err != nil {
		return usagef("%w", err)
	}
	text, err := auth.SignToken(g.tokens, auth.Grant{Role: role, Subject: g.subject, Expires: time.Now().Add(g.ttl)})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(g.stdout, text)
	return err
}
