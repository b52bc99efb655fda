// Package auth makes and checks the bearer tokens of services: JWT signed with a shared secret, with roles.
package auth

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/golang-jwt/jwt/v5"
)

// Role is what a token lets its bearer do. Each includes those before it.
type Role uint8

const (
	// RoleNone may do nothing.
	RoleNone Role = iota
	// RoleRead may look users up.
	RoleRead
	// RoleWrite may create and change them.
	RoleWrite
	// RoleAdmin may delete them.
	RoleAdmin
)

// String returns "read", "write", "admin", or "none" for everything else.
func (r Role) String() string {
	switch r {
	case RoleRead:
		return "read"
	case RoleWrite:
		return "write"
	case RoleAdmin:
		return "admin"
	default:
		return "none"
	}
}

// ParseRole is the reverse of String; ok is false for any other text.
func ParseRole(text string) (r Role, ok bool) {
	for _, r := range []Role{RoleRead, RoleWrite, RoleAdmin} {
		if text == r.String() {
			return r, true
		}
	}
	return RoleNone, false
}

// Config says what tokens are: JWT (RFC 7519) signed with HMAC SHA-256, with an expiry, and with the bearer's roles
// in a claim, as a list of texts or one text of words.
type Config struct {
	// Secret is the key, at least MinSecret bytes. "" means that there are no tokens.
	Secret string
	// Issuer is what the claim iss must be. "" accepts any and none.
	Issuer string
	// Audience is what the claim aud must have. "" accepts any and none.
	Audience string
	// Claim is the claim with the roles. Default "roles".
	Claim string
}

// Validate names what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Secret != "" && len(c.Secret) < MinSecret {
		return fmt.Errorf("auth: the secret for tokens has %d bytes; want %d or more, such as of: openssl rand -base64 48",
			len(c.Secret), MinSecret)
	}
	return nil
}

func (c Config) claim() string { return cmp.Or(c.Claim, "roles") }

var errCritical = errors.New("auth: the token's header has crit")

// StaticToken is one token for ever; its issuer says how long that is.
func StaticToken(token string) origin.TokenSource {
	return func() (string, error) { return token, nil }
}

// SignTokens makes tokens for whoever has the secret: each lives for five minutes and serves many requests.
func SignTokens(cfg Config, role Role) (origin.TokenSource, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Secret == "" {
		return nil, errors.New("auth: signing tokens needs a secret")
	}
	s := &signer{cfg: cfg, role: role}
	return s.token, nil
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
	text, err := SignToken(s.cfg, s.role, now.Add(tokenLife))
	if err != nil {
		return "", err
	}
	s.last, s.renew = text, now.Add(tokenLife/2)
	return text, nil
}

// SignToken makes one token that is good until expires.
func SignToken(cfg Config, role Role, expires time.Time) (string, error) {
	claims := jwt.MapClaims{"exp": jwt.NewNumericDate(expires), cfg.claim(): []string{role.String()}}
	if cfg.Issuer != "" {
		claims["iss"] = cfg.Issuer
	}
	if cfg.Audience != "" {
		claims["aud"] = cfg.Audience
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(cfg.Secret))
	if err != nil {
		return "", fmt.Errorf("auth: sign token: %w", err)
	}
	return text, nil
}
