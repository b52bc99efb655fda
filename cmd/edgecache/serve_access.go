package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/tlsfile"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
)

// originAccess are the flags of serve about how it shows itself to --origin.
type originAccess struct {
	tokenFile string
	tls       tlsfile.Files
	signed    bool // by JWT_SECRET
}

func (s *originAccess) flags(f *pflag.FlagSet) {
	f.StringVar(&s.tokenFile, "origin-token-file", "", "`FILE` with a bearer token for --origin, read again when it changes; one signed with JWT_SECRET when not given")
	f.StringVar(&s.tls.CA, "origin-ca", "", "`FILE` of authorities of the certificate of --origin; those of the system when not given")
	tlsFlags(f, &s.tls, "origin", "the certificate to show to --origin")
}

func (s *originAccess) check(origin string) error {
	if origin == "" && (s.tokenFile != "" || s.tls.Any()) {
		return usagef("--origin-token-file, --origin-ca, --origin-cert and --origin-key are for --origin URL")
	}
	return nil
}

// apply gives the client of the origin its tokens and its certificates.
func (s *originAccess) apply(conf *origin.ClientConfig, tokens auth.Config, log *slog.Logger) (err error) {
	switch {
	case s.tokenFile != "":
		if conf.Token, err = auth.FileToken(s.tokenFile, log); err != nil {
			return usagef("--origin-token-file: %w", err)
		}
	case tokens.Secret != "":
		s.signed = true
		if conf.Token, err = auth.SignTokens(tokens, auth.RoleRead); err != nil {
			return usagef("JWT_SECRET: %s", strings.TrimPrefix(err.Error(), "auth: "))
		}
	}
	if !s.tls.Any() {
		return nil
	}
	dialer, err := s.tls.Client(log)
	if err != nil {
		return usagef("--origin-ca, --origin-cert, --origin-key: %w", err)
	}
	conf.DialTLS = dialer.DialContext
	return nil
}

// explain says where the token came from that the origin does not take.
func (s *originAccess) explain(err error) error {
	refused, ok := errors.AsType[*tokenRefused](err)
	if !ok {
		return err
	}
	from := "no token was sent; the node needs the origin's JWT_SECRET, or --origin-token-file"
	switch {
	case s.tokenFile != "":
		from = "the token is that of --origin-token-file"
	case s.signed:
		from = "the token was signed with this node's JWT_SECRET, which must be the origin's, as --token-issuer, --token-audience and --token-role-claim must"
	}
	return fmt.Errorf("%w: %s", refused, from)
}

// tokenRefused is an origin that does not take the node's token.
type tokenRefused struct {
	status int
	detail string
}

// Error names the status.
func (t *tokenRefused) Error() string {
	return fmt.Sprintf("it answers %d %s: %s", t.status, http.StatusText(t.status), cmp.Or(t.detail, "no reason given"))
}

// embedded is what of the settings is for the origin that a node embeds: it takes the same tokens,
// in plain HTTP.
func (s accessSettings) embedded() accessSettings {
	return accessSettings{tokens: s.tokens, access: auth.Access{Hosts: s.access.Hosts}}
}

// times are the flags of serve about how long what is waited for, and kept.
type times struct {
	origin, maxStale, l1, l2, negative time.Duration
}

const (
	// leastOriginTimeout and mostOriginTimeout bound --origin-timeout.
	leastOriginTimeout, mostOriginTimeout = 50 * time.Millisecond, 30 * time.Second
	// mostNegative is what the memory of a guard in Redis allows.
	mostNegative = 10 * time.Minute
)

func (t *times) flags(f *pflag.FlagSet) {
	f.DurationVar(&t.origin, "origin-timeout", time.Second, "wait for one answer of the origin for `TIME`; for one about many users three times that")
	f.DurationVar(&t.maxStale, "max-stale", 5*time.Minute, "when nobody answers, show what is held, marked stale, up to `TIME` old; 0s for never")
	f.DurationVar(&t.l1, "l1-ttl", 10*time.Minute, "keep profiles in memory for `TIME`")
	f.DurationVar(&t.l2, "l2-ttl", 7*24*time.Hour, "keep profiles in Redis for `TIME`; 168h is the contract with other services")
	f.DurationVar(&t.negative, "negative-ttl", 30*time.Second, "remember that a user does not exist for `TIME`")
}

func (t times) check() error {
	for _, one := range []struct {
		flag               string
		value, least, most time.Duration
	}{
		{"origin-timeout", t.origin, leastOriginTimeout, mostOriginTimeout}, {"max-stale", t.maxStale, 0, 365 * 24 * time.Hour},
		{"l1-ttl", t.l1, time.Second, 365 * 24 * time.Hour}, {"l2-ttl", t.l2, 10 * time.Second, 365 * 24 * time.Hour},
		{"negative-ttl", t.negative, time.Millisecond, mostNegative},
	} {
		if one.value < one.least || one.value > one.most {
			return usagef("--%s %v: want %v to %v", one.flag, one.value, one.least, one.most)
		}
	}
	return nil
}

// load is how long one load may take: Redis has half of it, the origin the rest.
func (t times) load() time.Duration { return max(2*time.Second, 2*t.origin) }

// work is how long a batch or a change may take: several calls of the origin, one after another.
func (t times) work() time.Duration { return max(10*time.Second, 5*t.origin) }

// apply puts the times into conf, with those that follow from them: a lease must outlive the load
// that it is for.
func (t times) apply(conf *node.Config) {
	conf.Tier.L1TTL, conf.Tier.Negative, conf.Tier.LoadDeadline = t.l1, t.negative, t.load()
	if conf.Tier.MaxStale = t.maxStale; t.maxStale == 0 {
		conf.Tier.MaxStale = time.Nanosecond // nothing is younger
	}
	conf.L2.TTL, conf.L2.Negative, conf.L2.Lease = t.l2, t.negative, max(5*time.Second, 2*t.load())
}

func (t times) applyOrigin(conf *origin.ClientConfig) {
	conf.Timeout, conf.BatchTimeout = t.origin, max(3*time.Second, 3*t.origin)
}
