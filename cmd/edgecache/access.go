package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/reread"
	"github.com/chatapp-ngomna/edgecache/internal/tlsfile"
)

// accessSettings are the flags of servers about who may ask, and how.
type accessSettings struct {
	tokens      auth.Config // its secret comes from the environment
	defaultRole string
	notBefore   string
	access      auth.Access
	tls         tlsfile.Files
}

func (s *accessSettings) flags(f *pflag.FlagSet) {
	tokenFlags(f, &s.tokens)
	f.StringVar(&s.tokens.KeyFile, "token-key-file", "", "`FILE` with public keys of those who sign tokens (RS256, ES256, EdDSA): PEM or a JWK set; read again when it changes")
	f.StringVar(&s.tokens.Claim, "token-role-claim", "roles", "`NAME` of the claim with the roles of a token")
	f.StringVar(&s.defaultRole, "default-role", "none", "`ROLE` of a good token without that claim: none, read, invalidate, write or admin")
	f.DurationVar(&s.tokens.Leeway, "token-leeway", auth.DefaultLeeway, "`TIME` by which the clocks of those who issue tokens may be off, up to 5m")
	f.StringVar(&s.notBefore, "tokens-not-before", "", "`TIME` such as 2026-01-31T12:00:00Z: tokens that were issued before it are refused")
	f.StringSliceVar(&s.access.Open, "open", nil, "`PATH,…` that need no token where others do, such as /metrics")
	f.StringSliceVar(&s.access.Hosts, "allow-host", nil, "`NAME,…` under which a server without tokens may be asked, beside localhost and addresses")
	f.StringSliceVar(&s.access.Origins, "cors-origin", nil, "`SITE,…` whose pages may ask from a browser, such as https://chat.example; none when not given")
	f.StringSliceVar(&s.access.Proxies, "trusted-proxies", nil, "`CIDR,…` of proxies whose X-Forwarded-For is believed; nobody's when not given")
	f.Float64Var(&s.access.Rate, "rate-limit", 0, "answer one client at most `N` requests a second; 0 for any number")
	f.IntVar(&s.access.Burst, "rate-burst", 0, "let `N` requests of one client come at once; those of a second when not given")
	f.IntVar(&s.access.Batches, "client-batches", 0, "let one client have `N` lookups of many users under way; 0 for any number")
	f.IntVar(&s.access.Conns, "client-connections", 0, "let one address have `N` connections open; 0 for any number")
	tlsFlags(f, &s.tls, "tls", "show this certificate, and speak TLS")
	f.StringVar(&s.tls.CA, "tls-client-ca", "", "`FILE` of authorities: take only clients with a certificate of theirs")
}

// tlsFlags are those of a certificate with its key.
func tlsFlags(f *pflag.FlagSet, files *tlsfile.Files, prefix, what string) {
	f.StringVar(&files.Cert, prefix+"-cert", "", "`FILE` in PEM: "+what+"; read again when it changes")
	f.StringVar(&files.Key, prefix+"-key", "", "`FILE` in PEM with the private key of --"+prefix+"-cert")
}

// settle turns the texts of the flags and the secret of the environment into what a server takes.
func (s *accessSettings) settle(p *program, log *slog.Logger) (err error) {
	if s.tokens.Secret, err = p.secret(); err != nil {
		return err
	}
	s.tokens.Logger = log
	if s.defaultRole != "" && s.defaultRole != "none" {
		role, ok := auth.ParseRole(s.defaultRole)
		if !ok {
			return usagef("--default-role %q: want none, %s", s.defaultRole, auth.RoleNames)
		}
		s.tokens.DefaultRole = role
	}
	if s.tokens.Leeway == 0 {
		s.tokens.Leeway = -1
	}
	if s.notBefore != "" {
		if s.tokens.NotBefore, err = time.Parse(time.RFC3339, s.notBefore); err != nil {
			return usagef("--tokens-not-before %q: want a time such as 2026-01-31T12:00:00Z", s.notBefore)
		}
	}
	return s.check()
}

// check refuses what cannot work before anything is started.
func (s *accessSettings) check() error {
	if n := len(s.tokens.Secret); n > 0 && n < auth.MinSecret {
		return usagef("JWT_SECRET has %d bytes; want %d or more, such as of: openssl rand -base64 48", n, auth.MinSecret)
	}
	if err := s.tokens.Validate(); err != nil {
		return usagef("%w", err)
	}
	if err := s.access.Validate(); err != nil {
		return usagef("%w", err)
	}
	if s.tls.Any() && s.tls.Cert == "" {
		return usagef("--tls-key and --tls-client-ca are for a server with --tls-cert FILE")
	}
	return nil
}

// scheme is that of the server's URL.
func (s *accessSettings) scheme() string {
	if s.tls.Any() {
		return "https://"
	}
	return "http://"
}

// secret returns the secret for tokens: JWT_SECRET, or what is in the file that JWT_SECRET_FILE
// names.
func (p *program) secret() (string, error) {
	secret, file := p.getenv("JWT_SECRET"), p.getenv("JWT_SECRET_FILE")
	switch {
	case file == "":
		return secret, nil
	case secret != "":
		return "", usagef("JWT_SECRET and JWT_SECRET_FILE are both set; want one of them")
	}
	secret, err := reread.Secret(file)
	if err != nil {
		return "", usagef("JWT_SECRET_FILE: %w", err)
	}
	return secret, nil
}

// secretFile sets a flag that is not given from the file that a variable names.
func (p *program) secretFile(variable string) (string, error) {
	file := p.getenv(variable)
	if file == "" {
		return "", nil
	}
	text, err := reread.Secret(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", variable, err)
	}
	return text, nil
}
