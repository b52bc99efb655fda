package origin

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
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

const (
	// MinSecret is the shortest secret, in bytes: HMAC SHA-256 is no stronger than its key (RFC 7518, section 3.2).
	MinSecret = 32
	// maxAuthorization is the longest Authorization header that is looked at, in bytes.
	maxAuthorization = 4 << 10
	// tokenLeeway is how far the clocks of those who issue tokens may be off.
	tokenLeeway = 10 * time.Second
	// tokenLife is the lifetime of tokens that SignTokens makes; they are replaced after half of it.
	tokenLife = 5 * time.Minute
	// tokenRealm names the service in its challenges.
	tokenRealm = "edgecache origin"
)

// TokenConfig says what tokens are: JWT (RFC 7519) signed with HMAC SHA-256, with an expiry, and with the bearer's roles
// in a claim, as a list of texts or one text of words.
type TokenConfig struct {
	// Secret is the key, at least MinSecret bytes. "" means that there are no tokens.
	Secret string
	// Issuer is what the claim iss must be. "" accepts any and none.
	Issuer string
	// Audience is what the claim aud must have. "" accepts any and none.
	Audience string
	// Claim is the claim with the roles. Default "roles".
	Claim string
}

func (c TokenConfig) validate() error {
	if c.Secret != "" && len(c.Secret) < MinSecret {
		return fmt.Errorf("origin: the secret for tokens has %d bytes; want %d or more, such as of: openssl rand -base64 48",
			len(c.Secret), MinSecret)
	}
	return nil
}

func (c TokenConfig) claim() string { return cmp.Or(c.Claim, "roles") }

// verifier checks tokens.
type verifier struct {
	cfg    TokenConfig
	parser *jwt.Parser
}

// newVerifier returns nil without a secret.
func newVerifier(cfg TokenConfig) *verifier {
	if cfg.Secret == "" {
		return nil
	}
	options := []jwt.ParserOption{jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(),
		jwt.WithLeeway(tokenLeeway), jwt.WithStrictDecoding()}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	return &verifier{cfg: cfg, parser: jwt.NewParser(options...)}
}

// role returns the highest role of the bearer of an Authorization header. Errors wrap ErrUnauthorized.
func (v *verifier) role(header string) (Role, error) {
	if header == "" {
		return RoleNone, fmt.Errorf("%w: no token; send Authorization: Bearer TOKEN", ErrUnauthorized)
	}
	if len(header) > maxAuthorization {
		return RoleNone, fmt.Errorf("%w: the Authorization header has %d bytes; at most %d", errBadToken, len(header), maxAuthorization)
	}
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return RoleNone, fmt.Errorf("%w: want Authorization: Bearer TOKEN", ErrUnauthorized)
	}
	claims := jwt.MapClaims{}
	token, err := v.parser.ParseWithClaims(strings.TrimSpace(text), claims, v.key)
	if err != nil {
		return RoleNone, fmt.Errorf("%w: %s", errBadToken, tokenFault(err))
	}
	if !token.Valid {
		return RoleNone, errBadToken
	}
	return highestRole(claims[v.cfg.claim()]), nil
}

// key returns the secret for a token whose header asks for nothing that is not understood here (RFC 7515, section 4.1.11).
func (v *verifier) key(t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, errCritical
	}
	return []byte(v.cfg.Secret), nil
}

var errCritical = errors.New("origin: the token's header has crit")

// tokenFault says what is wrong with a token, in words of ours: the library's may quote what the token says.
func tokenFault(err error) string {
	for _, f := range []struct {
		err  error
		says string
	}{
		{errCritical, "its header has crit, and no extension is understood here"},
		{jwt.ErrTokenMalformed, "it is no JWT"}, {jwt.ErrTokenSignatureInvalid, "its signature is not of this service's secret with HS256"},
		{jwt.ErrTokenExpired, "it is expired"}, {jwt.ErrTokenNotValidYet, "it is not valid yet"},
		{jwt.ErrTokenRequiredClaimMissing, "a required claim is missing; exp is one"},
		{jwt.ErrTokenInvalidIssuer, "iss is not the issuer that this service wants"},
		{jwt.ErrTokenInvalidAudience, "aud does not have the audience that this service wants"},
	} {
		if errors.Is(err, f.err) {
			return f.says
		}
	}
	return "a claim is not valid"
}

// highestRole reads a claim: ["read","write"], "write", or "read write". Words that are no roles are others' business.
func highestRole(claim any) (best Role) {
	var words []string
	switch claim := claim.(type) {
	case string:
		words = strings.Fields(claim)
	case []any:
		for _, one := range claim {
			if word, ok := one.(string); ok {
				words = append(words, word)
			}
		}
	}
	for _, word := range words {
		if r, ok := ParseRole(word); ok {
			best = max(best, r)
		}
	}
	return best
}

// allow lets those through who have at least the role. Without a secret everybody is: the service is then reachable from
// this machine only.
func (s *Service) allow(need Role, handler fiber.Handler) fiber.Handler {
	if s.tokens == nil {
		return handler
	}
	return func(c *fiber.Ctx) error {
		role, err := s.tokens.role(c.Get(fiber.HeaderAuthorization))
		if err == nil && role < need {
			err = fmt.Errorf("%w: it needs the role %s, and the token has %s", ErrForbidden, need, role)
		}
		if err != nil {
			c.Set(fiber.HeaderWWWAuthenticate, challenge(err, need))
			return err
		}
		return handler(c)
	}
}

// challenge is the WWW-Authenticate header for an error (RFC 6750, section 3).
func challenge(err error, need Role) string {
	text := fmt.Sprintf("Bearer realm=%q", tokenRealm)
	switch {
	case errors.Is(err, ErrForbidden):
		text += fmt.Sprintf(`, error="insufficient_scope", scope=%q`, need)
	case errors.Is(err, errBadToken):
		text += `, error="invalid_token"`
	}
	return text
}

// TokenSource returns the bearer token for a request. It may be called concurrently.
type TokenSource func() (string, error)

// StaticToken is one token for ever; its issuer says how long that is.
func StaticToken(token string) TokenSource {
	return func() (string, error) { return token, nil }
}

// SignTokens makes tokens for whoever has the secret: each lives for five minutes and serves many requests.
func SignTokens(cfg TokenConfig, role Role) (TokenSource, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Secret == "" {
		return nil, errors.New("origin: signing tokens needs a secret")
	}
	s := &signer{cfg: cfg, role: role}
	return s.token, nil
}

type signer struct {
	cfg  TokenConfig
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
func SignToken(cfg TokenConfig, role Role, expires time.Time) (string, error) {
	claims := jwt.MapClaims{"exp": jwt.NewNumericDate(expires), cfg.claim(): []string{role.String()}}
	if cfg.Issuer != "" {
		claims["iss"] = cfg.Issuer
	}
	if cfg.Audience != "" {
		claims["aud"] = cfg.Audience
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(cfg.Secret))
	if err != nil {
		return "", fmt.Errorf("origin: sign token: %w", err)
	}
	return text, nil
}

// authorize puts the client's token into a request.
func (c *Client) authorize(req *http.Request) error {
	if c.cfg.Token == nil {
		return nil
	}
	token, err := c.cfg.Token()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}
