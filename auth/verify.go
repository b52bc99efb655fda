package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// MinSecret is the shortest secret, in bytes: HMAC SHA-256 is no stronger than its key (RFC 7518, section 3.2).
	MinSecret = 32
	// maxAuthorization is the longest Authorization header that is looked at, in bytes.
	maxAuthorization = 4 << 10
	// tokenLeeway is how far the clocks of those who issue tokens may be off.
	tokenLeeway = 10 * time.Second
	// tokenLife is the lifetime of tokens that SignTokens makes; they are replaced after half of it.
	tokenLife = 5 * time.Minute
)

var (
	// ErrUnauthorized reports a request without a token that is good.
	ErrUnauthorized = errors.New("auth: not authorized")
	// ErrForbidden reports a request that the token's roles do not cover.
	ErrForbidden = errors.New("auth: not allowed")
	// ErrBadToken is an ErrUnauthorized about a token that came.
	ErrBadToken = fmt.Errorf("%w: the token is not accepted", ErrUnauthorized)
)

// Verifier checks tokens.
type Verifier struct {
	cfg    Config
	parser *jwt.Parser
}

// NewVerifier returns nil without a secret.
func NewVerifier(cfg Config) *Verifier {
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
	return &Verifier{cfg: cfg, parser: jwt.NewParser(options...)}
}

// Role returns the highest role of the bearer of an Authorization header. Errors wrap ErrUnauthorized.
func (v *Verifier) Role(header string) (Role, error) {
	if header == "" {
		return RoleNone, fmt.Errorf("%w: no token; send Authorization: Bearer TOKEN", ErrUnauthorized)
	}
	if len(header) > maxAuthorization {
		return RoleNone, fmt.Errorf("%w: the Authorization header has %d bytes; at most %d", ErrBadToken, len(header), maxAuthorization)
	}
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return RoleNone, fmt.Errorf("%w: want Authorization: Bearer TOKEN", ErrUnauthorized)
	}
	claims := jwt.MapClaims{}
	token, err := v.parser.ParseWithClaims(strings.TrimSpace(text), claims, v.key)
	if err != nil {
		return RoleNone, fmt.Errorf("%w: %s", ErrBadToken, tokenFault(err))
	}
	if !token.Valid {
		return RoleNone, ErrBadToken
	}
	return highestRole(claims[v.cfg.claim()]), nil
}

// key returns the secret for a token whose header asks for nothing that is not understood here (RFC 7515, section 4.1.11).
func (v *Verifier) key(t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, errCritical
	}
	return []byte(v.cfg.Secret), nil
}

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
