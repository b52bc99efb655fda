package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatapp-ngomna/edgecache/internal/reread"
)

// maxAuthorization is the longest Authorization header that is looked at, in bytes.
const maxAuthorization = 4 << 10

var (
	// ErrUnauthorized reports a request without a token that is good.
	ErrUnauthorized = errors.New("auth: not authorized")
	// ErrForbidden reports a request that the token's roles do not cover.
	ErrForbidden = errors.New("auth: not allowed")
	// ErrBadToken is an ErrUnauthorized about a token that came.
	ErrBadToken = fmt.Errorf("%w: the token is not accepted", ErrUnauthorized)

	errCritical = errors.New("the token's header has crit")
	errNoKey    = errors.New("no key for the token")
	errRevoked  = errors.New("the token is revoked")
)

// Identity is what a good token says of its bearer. It is shared and must not be changed.
type Identity struct {
	// Role is the highest of the token's roles.
	Role Role
	// Subject is the claim sub, "" without one.
	Subject string
	// Claims are all claims, as encoding/json reads them.
	Claims map[string]any

	client string // tells bearers apart
	ends   int64  // unix seconds, the leeway included
}

// Client tells bearers apart where requests are counted: the subject, or the token itself when it
// has none. It says nothing about who issued the token.
func (i *Identity) Client() string { return i.client }

// Allow returns nil when the bearer has the role, else an ErrForbidden.
func (i *Identity) Allow(need Role) error {
	if i.Role < need {
		return fmt.Errorf("%w: it needs the role %s, and the token has %s", ErrForbidden, need, i.Role)
	}
	return nil
}

// Verifier checks tokens, and remembers those that are good until they expire or the keys change.
// Its methods may be called concurrently.
type Verifier struct {
	cfg    Config
	parser *jwt.Parser
	keys   *reread.Value[keySet] // nil without Config.KeyFile
	known  memory
}

// NewVerifier returns nil and no error for a configuration without tokens.
func NewVerifier(cfg Config) (*Verifier, error) {
	if !cfg.Enabled() {
		return nil, nil
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	v := &Verifier{cfg: cfg, parser: jwt.NewParser(cfg.options()...)}
	if cfg.KeyFile != "" {
		var err error
		v.keys, err = reread.New(cfg.Logger, func() (keySet, error) { return readKeys(cfg.KeyFile) }, cfg.KeyFile)
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (c Config) options() []jwt.ParserOption {
	var methods []string
	if c.Secret != "" {
		methods = append(methods, jwt.SigningMethodHS256.Alg())
	}
	if c.KeyFile != "" {
		methods = append(methods, jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg())
	}
	options := []jwt.ParserOption{jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithLeeway(c.leeway()), jwt.WithStrictDecoding()}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	return options
}

// Remembered returns who showed this Authorization header before, nil when nobody did or the token
// is over. It costs a look into a map. The header is not kept.
func (v *Verifier) Remembered(header string) *Identity {
	return v.known.find(header, v.generation(), time.Now().Unix())
}

// Verify returns who shows an Authorization header. Errors wrap ErrUnauthorized, and ErrBadToken
// when there is a token.
func (v *Verifier) Verify(header string) (*Identity, error) {
	if id := v.Remembered(header); id != nil {
		return id, nil
	}
	if header == "" {
		return nil, fmt.Errorf("%w: no token; send Authorization: Bearer TOKEN", ErrUnauthorized)
	}
	if len(header) > maxAuthorization {
		return nil, fmt.Errorf("%w: the Authorization header has %d bytes; at most %d", ErrBadToken, len(header), maxAuthorization)
	}
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, fmt.Errorf("%w: want Authorization: Bearer TOKEN", ErrUnauthorized)
	}
	keys := v.generation()
	id, err := v.check(strings.TrimSpace(text), keys)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrBadToken, tokenFault(err))
	}
	v.known.keep(strings.Clone(header), id, keys)
	return id, nil
}

// generation returns the public keys of now; the pointer is another one when they changed.
func (v *Verifier) generation() *keySet {
	if v.keys == nil {
		return nil
	}
	return v.keys.Get()
}

func (v *Verifier) check(text string, keys *keySet) (*Identity, error) {
	claims := jwt.MapClaims{}
	token, err := v.parser.ParseWithClaims(strings.Clone(text), claims, func(t *jwt.Token) (any, error) { return v.key(t, keys) })
	switch {
	case err != nil:
		return nil, err
	case !token.Valid:
		return nil, jwt.ErrTokenSignatureInvalid
	}
	if err := v.issued(claims); err != nil {
		return nil, err
	}
	return v.identity(claims, text), nil
}

// key returns what may have signed a token whose header asks for nothing that is not understood
// here (RFC 7515, section 4.1.11). A key is only ever used with the algorithm that it is for.
func (v *Verifier) key(t *jwt.Token, keys *keySet) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, errCritical
	}
	if t.Method == jwt.SigningMethodHS256 {
		return []byte(v.cfg.Secret), nil
	}
	kid, _ := t.Header["kid"].(string)
	var may []jwt.VerificationKey
	if keys != nil {
		may = keys.find(t.Method.Alg(), kid)
	}
	if len(may) == 0 {
		return nil, errNoKey
	}
	return jwt.VerificationKeySet{Keys: may}, nil
}

// issued refuses tokens that Config.NotBefore revokes.
func (v *Verifier) issued(claims jwt.MapClaims) error {
	if v.cfg.NotBefore.IsZero() {
		return nil
	}
	at, err := claims.GetIssuedAt()
	if err != nil {
		return err
	}
	if at == nil || at.Before(v.cfg.NotBefore) {
		return errRevoked
	}
	return nil
}

func (v *Verifier) identity(claims jwt.MapClaims, token string) *Identity {
	exp, _ := claims.GetExpirationTime() // it was checked
	id := &Identity{Claims: claims, ends: exp.Add(v.cfg.leeway()).Unix()}
	id.Subject, _ = claims["sub"].(string)
	if id.client = id.Subject; id.client == "" {
		id.client = fingerprint(token)
	}
	roles, ok := claims[v.cfg.claim()]
	if id.Role = highestRole(roles); !ok {
		id.Role = v.cfg.DefaultRole
	}
	return id
}

// tokenFault says what is wrong with a token, in words of ours: the library's may quote what the
// token says.
func tokenFault(err error) string {
	for _, f := range []struct {
		err  error
		says string
	}{
		{errCritical, "its header has crit, and no extension is understood here"},
		{errRevoked, "it was issued before the time from which tokens count here, or does not say when"},
		{errNoKey, "its signature is of no key that this service has; kid or alg are of another"},
		{jwt.ErrTokenMalformed, "it is no JWT"}, {jwt.ErrTokenSignatureInvalid, "its signature is not of a key and an algorithm of this service"},
		{jwt.ErrTokenUnverifiable, "its signature is by no algorithm of this service"},
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

// highestRole reads a claim: ["read","write"], "write", or "read write". Words that are no roles
// are others' business.
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

// Challenge is the WWW-Authenticate header for an error of this package (RFC 6750, section 3).
func Challenge(realm string, err error, need Role) string {
	text := fmt.Sprintf("Bearer realm=%q", realm)
	switch {
	case errors.Is(err, ErrForbidden):
		text += fmt.Sprintf(`, error="insufficient_scope", scope=%q`, need)
	case errors.Is(err, ErrBadToken):
		text += `, error="invalid_token"`
	}
	return text
}
