// Package auth makes and checks the bearer tokens of services: JWT with roles, signed with a shared
// secret, or by an identity provider whose public keys are in a file. Nodes and origins check the
// same tokens in the same way.
package auth

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatapp-ngomna/edgecache/internal/reread"
	"github.com/chatapp-ngomna/edgecache/origin"
)

const (
	// MinSecret is the shortest secret, in bytes: HMAC SHA-256 is no stronger than its key (RFC
	// 7518, section 3.2).
	MinSecret = 32
	// DefaultLeeway is how far the clocks of those who issue tokens may be off.
	DefaultLeeway = 10 * time.Second
	// MaxLeeway is the most that Config.Leeway may be.
	MaxLeeway = 5 * time.Minute
	// tokenLife is the lifetime of tokens that SignTokens makes; they are replaced after half of
	// it.
	tokenLife = 5 * time.Minute
)

// Config says what tokens are: JWT (RFC 7519) with an expiry, and with the bearer's roles in a
// claim, as a list of texts or one text of words. They are signed with HMAC SHA-256 by who has
// Secret, or with RS256, ES256 or EdDSA by who has the private half of a key in KeyFile. With both,
// both kinds are taken; with neither there are no tokens.
type Config struct {
	// Secret is the key of HS256, at least MinSecret bytes. "": no token is signed with one.
	Secret string
	// KeyFile has public keys: in PEM (keys or certificates), or a JWK set (RFC 7517) in JSON. It
	// is read again when it changes. "": no token is signed so.
	KeyFile string
	// Issuer is what the claim iss must be. "" accepts any and none.
	Issuer string
	// Audience is what the claim aud must have. "" accepts any and none.
	Audience string
	// Claim is the claim with the roles. Default "roles".
	Claim string
	// DefaultRole is the role of a good token without the claim, such as those of services that
	// know of no roles. Default: none, and such a token may do nothing.
	DefaultRole Role
	// Leeway is how far the clocks of those who issue tokens may be off. Default DefaultLeeway, at
	// most MaxLeeway; below 0: not at all.
	Leeway time.Duration
	// NotBefore revokes all tokens that were issued (iat) before it, and those that do not say
	// when. Default: none.
	NotBefore time.Time
	// Logger is told when KeyFile was read again, or cannot be. Default: nobody is.
	Logger *slog.Logger
}

// Enabled reports whether there are tokens at all.
func (c Config) Enabled() bool { return c.Secret != "" || c.KeyFile != "" }

// Validate names what is wrong with the configuration. It does not read KeyFile.
func (c Config) Validate() error {
	switch {
	case c.Secret != "" && len(c.Secret) < MinSecret:
		return fmt.Errorf("auth: the secret for tokens has %d bytes; want %d or more, such as of: openssl rand -base64 48",
			len(c.Secret), MinSecret)
	case c.Leeway > MaxLeeway:
		return fmt.Errorf("auth: a leeway of %v for tokens; want at most %v", c.Leeway, MaxLeeway)
	case c.DefaultRole > RoleAdmin:
		return fmt.Errorf("auth: default role %d; want %s", c.DefaultRole, RoleNames)
	}
	return nil
}

func (c Config) claim() string { return cmp.Or(c.Claim, "roles") }

func (c Config) leeway() time.Duration { return max(cmp.Or(c.Leeway, DefaultLeeway), 0) }

// StaticToken is one token for ever; its issuer says how long that is.
func StaticToken(token string) origin.TokenSource {
	return func() (string, error) { return token, nil }
}

// FileToken is the token in a file, which is read again when it changes. log may be nil.
func FileToken(file string, log *slog.Logger) (origin.TokenSource, error) {
	v, err := reread.New(log, func() (string, error) { return reread.Secret(file) }, file)
	if err != nil {
		return nil, fmt.Errorf("auth: the file of a token: %w", err)
	}
	return func() (string, error) { return *v.Get(), nil }, nil
}

// SignTokens makes tokens for those who have the secret: each lives for five minutes and serves
// many requests.
func SignTokens(cfg Config, role Role) (origin.TokenSource, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Secret == "" {
		return nil, errors.New("auth: signing tokens needs a secret")
	}
	return (&signer{cfg: cfg, role: role}).token, nil
}

type signer struct {
	cfg  Config
	role Role

	mu    sync.Mutex
	last  string    // guarded by mu
	renew time.Time // guarded by mu
}

func (s *signer) token() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.renew) {
		return s.last, nil
	}
	text, err := SignToken(s.cfg, Grant{Role: s.role, Expires: now.Add(tokenLife)})
	if err != nil {
		return "", err
	}
	s.last, s.renew = text, now.Add(tokenLife/2)
	return text, nil
}

// Grant is what a token says of its bearer.
type Grant struct {
	Role    Role
	Expires time.Time
	// Subject is the claim sub, which tells bearers apart where requests are limited. "": none.
	Subject string
}

// SignToken makes one token with Config.Secret, issued now.
func SignToken(cfg Config, g Grant) (string, error) {
	claims := jwt.MapClaims{"exp": jwt.NewNumericDate(g.Expires), "iat": jwt.NewNumericDate(time.Now()), cfg.claim(): []string{g.Role.String()}}
	for claim, value := range map[string]string{"iss": cfg.Issuer, "aud": cfg.Audience, "sub": g.Subject} {
		if value != "" {
			claims[claim] = value
		}
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(cfg.Secret))
	if err != nil {
		return "", fmt.Errorf("auth: sign token: %w", err)
	}
	return text, nil
}
