package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// testKeys are made once: RSA takes long.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, rsa2 *rsa.PrivateKey
	ec        *ecdsa.PrivateKey
	ed        ed25519.PrivateKey
}) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.rsa2, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

func publicPEM(t testing.TB, keys ...crypto.Signer) string {
	t.Helper()
	var text strings.Builder
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		_ = pem.Encode(&text, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	return text.String()
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwks returns a set with the test keys, named rsa, rsa2, ec and ed.
func jwks(names ...string) string {
	k := testKeys()
	ec, _ := k.ec.PublicKey.Bytes()
	all := map[string]map[string]string{
		"rsa":  {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": b64(k.rsa.N.Bytes()), "e": b64(big.NewInt(int64(k.rsa.E)).Bytes())},
		"rsa2": {"kty": "RSA", "kid": "rsa2", "n": b64(k.rsa2.N.Bytes()), "e": "AQAB"},
		"ec":   {"kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(ec[1:33]), "y": b64(ec[33:])},
		"ed":   {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(k.ed.Public().(ed25519.PublicKey))},
		"enc":  {"kty": "RSA", "kid": "enc", "use": "enc", "n": b64(k.rsa2.N.Bytes()), "e": "AQAB"},
		"oct":  {"kty": "oct", "kid": "oct", "k": b64([]byte(testSecret))},
	}
	set := map[string][]map[string]string{}
	for _, name := range names {
		set["keys"] = append(set["keys"], all[name])
	}
	text, _ := json.Marshal(set)
	return string(text)
}

func keyFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func verifier(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	v, err := NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// token signs good claims with the changes on top; nil removes one. In the header likewise.
func token(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, changes jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "iss": "chat",
		"aud": []string{"x", "node"}, "sub": "svc", "roles": []string{"read"}}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	made := jwt.NewWithClaims(method, claims)
	maps.Copy(made.Header, header)
	text, err := made.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + text
}

// raw makes a token of a header and claims as they are, signed with the test secret.
func raw(header, claims string) string {
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	sig, _ := jwt.SigningMethodHS256.Sign(text, []byte(testSecret))
	return "Bearer " + text + "." + b64(sig)
}

func TestAttacksOnTokens(t *testing.T) {
	k := testKeys()
	set := jwks("rsa", "ec", "ed", "enc", "oct")
	v := verifier(t, Config{Secret: testSecret, KeyFile: keyFile(t, set), Issuer: "chat", Audience: "node", NotBefore: time.Now().Add(-30 * time.Minute)})
	hs := func(header map[string]any, changes jwt.MapClaims) string {
		return token(t, jwt.SigningMethodHS256, []byte(testSecret), header, changes)
	}
	rs := func(header map[string]any, key *rsa.PrivateKey) string {
		return token(t, jwt.SigningMethodRS256, key, header, nil)
	}
	good := hs(nil, nil)
	parts := strings.Split(good, ".")
	exp := time.Now().Add(time.Hour).Unix()
	for name, tt := range map[string]struct{ header, says string }{
		"none":                            {"", "no token"},
		"another scheme":                  {"Basic YTpi", "want Authorization"},
		"empty":                           {"Bearer ", "no JWT"},
		"no JWT":                          {"Bearer a.b", "no JWT"},
		"alg none":                        {token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil), "signature"},
		"alg None, and a signature":       {raw(`{"alg":"None"}`, fmt.Sprintf(`{"exp":%d,"iss":"chat","aud":"node"}`, exp)), "signature"},
		"no alg":                          {raw(`{"typ":"JWT"}`, fmt.Sprintf(`{"exp":%d}`, exp)), "signature"},
		"HS256 signed with the PEM key":   {token(t, jwt.SigningMethodHS256, []byte(publicPEM(t, k.rsa)), nil, nil), "signature"},
		"HS256 signed with the JWK set":   {token(t, jwt.SigningMethodHS256, []byte(set), map[string]any{"kid": "rsa"}, nil), "signature"},
		"HS256 signed with the modulus":   {token(t, jwt.SigningMethodHS256, k.rsa.N.Bytes(), map[string]any{"kid": "rsa"}, nil), "signature"},
		"HS384":                           {token(t, jwt.SigningMethodHS384, []byte(testSecret), nil, nil), "signature"},
		"RS512":                           {token(t, jwt.SigningMethodRS512, k.rsa, nil, nil), "signature"},
		"PS256":                           {token(t, jwt.SigningMethodPS256, k.rsa, nil, nil), "signature"},
		"RS256 of a stranger":             {rs(nil, k.rsa2), "signature"},
		"RS256 of a stranger, a good kid": {rs(map[string]any{"kid": "rsa"}, k.rsa2), "signature"},
		"RS256, a kid that is none":       {rs(map[string]any{"kid": "nobody"}, k.rsa), "no key"},
		"RS256, the kid of the EC key":    {rs(map[string]any{"kid": "ec"}, k.rsa), "no key"},
		"RS256, a key for encryption":     {rs(map[string]any{"kid": "enc"}, k.rsa2), "no key"},
		"kid a path":                      {rs(map[string]any{"kid": "../../../../dev/null"}, k.rsa), "no key"},
		"kid a query":                     {rs(map[string]any{"kid": "x' UNION SELECT 'key"}, k.rsa), "no key"},
		"HS256, kid a path, an empty key": {token(t, jwt.SigningMethodHS256, []byte{}, map[string]any{"kid": "/dev/null"}, nil), "signature"},
		"a key of its own in the header":  {rs(map[string]any{"jwk": json.RawMessage(jwks("rsa2"))}, k.rsa2), "signature"},
		"a URL of keys in the header":     {rs(map[string]any{"jku": "http://127.0.0.1:1/jwks"}, k.rsa2), "signature"},
		"unknown crit":                    {hs(map[string]any{"crit": []string{"exp"}}, nil), "crit"},
		"crit null":                       {hs(map[string]any{"crit": nil}, nil), "crit"},
		"claims of somebody else":         {parts[0] + "." + b64([]byte(`{"exp":99999999999,"roles":"admin"}`)) + "." + parts[2], "signature"},
		"signature cut":                   {good[:len(good)-3], "signature"},
		"a byte more":                     {good + "A", "signature"},
		"padding":                         {good + "=", "no JWT"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, v, tt.header, tt.says) })
	}
}

func TestClaimsThatAreNotEnough(t *testing.T) {
	v := verifier(t, Config{Secret: testSecret, Issuer: "chat", Audience: "node", NotBefore: time.Now().Add(-30 * time.Minute)})
	hs := func(changes jwt.MapClaims) string {
		return token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, changes)
	}
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	good := hs(nil)
	for name, tt := range map[string]struct{ header, says string }{
		"no exp":                           {hs(jwt.MapClaims{"exp": nil}), "claim is missing"},
		"exp as text":                      {hs(jwt.MapClaims{"exp": "never"}), "claim"},
		"expired":                          {hs(jwt.MapClaims{"exp": ago(time.Minute)}), "expired"},
		"not valid yet":                    {hs(jwt.MapClaims{"nbf": ago(-time.Hour)}), "not valid yet"},
		"another issuer":                   {hs(jwt.MapClaims{"iss": "evil"}), "iss"},
		"no issuer":                        {hs(jwt.MapClaims{"iss": nil}), "missing"},
		"another audience":                 {hs(jwt.MapClaims{"aud": "x"}), "aud"},
		"no audience":                      {hs(jwt.MapClaims{"aud": nil}), "missing"},
		"issued before the revocation":     {hs(jwt.MapClaims{"iat": ago(time.Hour)}), "issued before"},
		"does not say when it was issued":  {hs(jwt.MapClaims{"iat": nil}), "issued before"},
		"1 MiB long":                       {"Bearer " + strings.Repeat("a", 1<<20), "at most 4096"},
		"1 MiB long and signed":            {hs(jwt.MapClaims{"x": strings.Repeat("a", 1<<20)}), "at most 4096"},
		"two tokens":                       {good + ", " + good, "no JWT"},
		"deep nesting":                     {raw(`{"alg":"HS256"}`, strings.Repeat("[", 2000)), "no JWT"},
		"exp beyond all time, and no role": {raw(`{"alg":"HS256"}`, `{"exp":-1e300}`), ""},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, v, tt.header, tt.says) })
	}
}

// refuses fails the test unless v refuses a header, says why, and forgets it.
func refuses(t *testing.T, v *Verifier, header, says string) {
	t.Helper()
	id, err := v.Verify(header)
	if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), says) {
		t.Errorf("%+v, %v; want ErrUnauthorized with %q", id, err, says)
	}
	if v.Remembered(header) != nil {
		t.Error("it is remembered")
	}
}

func TestGoodTokens(t *testing.T) {
	k := testKeys()
	both := keyFile(t, publicPEM(t, k.rsa2, k.rsa, k.ec, k.ed))
	set := keyFile(t, jwks("oct", "rsa", "ec", "ed"))
	for name, tt := range map[string]struct {
		cfg    Config
		header string
		role   Role
	}{
		"HS256":                     {Config{Secret: testSecret}, token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, nil), RoleRead},
		"HS256 with a kid":          {Config{Secret: testSecret}, token(t, jwt.SigningMethodHS256, []byte(testSecret), map[string]any{"kid": "1"}, nil), RoleRead},
		"RS256, PEM":                {Config{KeyFile: both}, token(t, jwt.SigningMethodRS256, k.rsa, nil, nil), RoleRead},
		"RS256, PEM, any kid":       {Config{KeyFile: both}, token(t, jwt.SigningMethodRS256, k.rsa, map[string]any{"kid": "7"}, nil), RoleRead},
		"ES256, PEM":                {Config{KeyFile: both}, token(t, jwt.SigningMethodES256, k.ec, nil, nil), RoleRead},
		"EdDSA, PEM":                {Config{KeyFile: both}, token(t, jwt.SigningMethodEdDSA, k.ed, nil, nil), RoleRead},
		"RS256, JWK set":            {Config{KeyFile: set}, token(t, jwt.SigningMethodRS256, k.rsa, map[string]any{"kid": "rsa"}, nil), RoleRead},
		"ES256, JWK set":            {Config{KeyFile: set}, token(t, jwt.SigningMethodES256, k.ec, map[string]any{"kid": "ec"}, nil), RoleRead},
		"EdDSA, JWK set, no kid":    {Config{KeyFile: set}, token(t, jwt.SigningMethodEdDSA, k.ed, nil, nil), RoleRead},
		"expired within the leeway": {Config{Secret: testSecret}, token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, jwt.MapClaims{"exp": time.Now().Add(-5 * time.Second).Unix()}), RoleRead},
		"a role in another claim": {Config{Secret: testSecret, Claim: "scope"},
			token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, jwt.MapClaims{"scope": "openid invalidate"}), RoleInvalidate},
		"no role": {Config{Secret: testSecret}, token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, jwt.MapClaims{"roles": nil}), RoleNone},
		"no role, and a default": {Config{Secret: testSecret, DefaultRole: RoleRead},
			token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, jwt.MapClaims{"roles": nil}), RoleRead},
		"other roles, and a default": {Config{Secret: testSecret, DefaultRole: RoleRead},
			token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, jwt.MapClaims{"roles": "guest"}), RoleNone},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, tt.cfg)
			id, err := v.Verify(tt.header)
			if err != nil || id.Role != tt.role || id.Subject != "svc" || id.Claims["iss"] != "chat" {
				t.Fatalf("%+v, %v; want the role %s", id, err, tt.role)
			}
			if again := v.Remembered(tt.header); again != id {
				t.Errorf("remembered: %+v", again)
			}
		})
	}
}

func TestRememberedTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifier(t, Config{Secret: testSecret})
		header := token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix()})
		if _, err := v.Verify(header); err != nil {
			t.Fatal(err)
		}
		time.Sleep(69 * time.Second)
		if v.Remembered(header) == nil {
			t.Error("forgotten within the leeway")
		}
		time.Sleep(time.Second)
		if _, err := v.Verify(header); !errors.Is(err, ErrBadToken) {
			t.Errorf("after its end: %v", err)
		}
	})
}

func TestKeysAreReadAgain(t *testing.T) {
	k := testKeys()
	file := keyFile(t, jwks("rsa"))
	v := verifier(t, Config{KeyFile: file})
	of := map[string]string{"rsa": token(t, jwt.SigningMethodRS256, k.rsa, nil, nil), "rsa2": token(t, jwt.SigningMethodRS256, k.rsa2, nil, nil)}
	takes := func(name string) bool {
		_, err := v.Verify(of[name])
		return err == nil
	}
	if !takes("rsa") || takes("rsa2") {
		t.Fatal("not the first set")
	}
	if err := os.WriteFile(file, []byte(jwks("rsa2")), 0o600); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(10 * time.Second)
	for takes("rsa") && time.Now().Before(end) {
		time.Sleep(10 * time.Millisecond)
	}
	if takes("rsa") || !takes("rsa2") {
		t.Error("not the second set, or what was remembered outlives its key")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	v := verifier(t, Config{Secret: testSecret})
	for i := range 2 * memoryShards * shardTokens {
		v.known.keep(fmt.Sprint("Bearer ", i), &Identity{ends: 1 << 60}, nil)
	}
	held := 0
	for i := range v.known.shards {
		held += len(v.known.shards[i].tokens)
	}
	if held > memoryShards*shardTokens || held < memoryShards*shardTokens/2 {
		t.Errorf("%d tokens are remembered, at most %d", held, memoryShards*shardTokens)
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	modulus := new(big.Int).Lsh(big.NewInt(1), 1023)
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: modulus.Add(modulus, big.NewInt(1)), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	small := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	private, _ := x509.MarshalPKCS8PrivateKey(testKeys().ed)
	for name, tt := range map[string]struct{ text, says string }{
		"nothing":        {"", "it has none"},
		"no PEM":         {"hello", "it has none"},
		"private PEM":    {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "no private keys"},
		"short RSA":      {small, "1024 bits"},
		"P-384":          {publicPEM(t, p384), "want P-256"},
		"no JSON":        {"{", "no JWK set"},
		"an empty set":   {`{"keys":[]}`, "it has none"},
		"secrets alone":  {jwks("oct"), "it has none"},
		"private JWK":    {`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}`, "private"},
		"off the curve":  {`{"keys":[{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}]}`, "key 0"},
		"short Ed25519":  {`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`, "3 bytes"},
		"RSA, exponent":  {`{"keys":[{"kty":"RSA","n":"` + b64(testKeys().rsa.N.Bytes()) + `","e":"Ag"}]}`, "exponent 2"},
		"beyond the cap": {strings.Repeat(" ", maxKeyFile+1), "larger than"},
		"too many": {`{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"OKP","crv":"Ed25519","x":"`+b64(make([]byte, 32))+`"},`, maxKeys+1), ",") + `]}`,
			"at most 64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewVerifier(Config{KeyFile: keyFile(t, tt.text)})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	for says, cfg := range map[string]Config{
		"want 32 or more": {Secret: "hunter2"}, "at most 5m": {Secret: testSecret, Leeway: time.Hour},
		"want read, invalidate": {Secret: testSecret, DefaultRole: 9}, "no such file": {KeyFile: "/nonexistent/keys"},
	} {
		if _, err := NewVerifier(cfg); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v, want %q", cfg, err, says)
		}
	}
	if v, err := NewVerifier(Config{}); v != nil || err != nil {
		t.Errorf("without keys: %v, %v", v, err)
	}
}

func TestRolesIncludeEachOther(t *testing.T) {
	for role := RoleNone; role <= RoleAdmin; role++ {
		if got, ok := ParseRole(role.String()); ok != (role != RoleNone) || got != role {
			t.Errorf("ParseRole(%q) = %v, %t", role, got, ok)
		}
		for need := RoleNone; need <= RoleAdmin; need++ {
			err := (&Identity{Role: role}).Allow(need)
			if (err == nil) != (role >= need) || err != nil && !errors.Is(err, ErrForbidden) {
				t.Errorf("%s for %s: %v", role, need, err)
			}
		}
	}
}

func TestClientsAreToldApart(t *testing.T) {
	v := verifier(t, Config{Secret: testSecret})
	client := func(changes jwt.MapClaims) string {
		id, err := v.Verify(token(t, jwt.SigningMethodHS256, []byte(testSecret), nil, changes))
		if err != nil {
			t.Fatal(err)
		}
		return id.Client()
	}
	if client(jwt.MapClaims{"jti": "1"}) != "svc" || client(jwt.MapClaims{"jti": "2"}) != "svc" {
		t.Error("tokens of one subject are several clients")
	}
	if client(jwt.MapClaims{"sub": nil, "jti": "1"}) == client(jwt.MapClaims{"sub": nil, "jti": "2"}) {
		t.Error("tokens without a subject are one client")
	}
}

func BenchmarkRemembered(b *testing.B) {
	v := verifier(b, Config{Secret: testSecret})
	header := token(b, jwt.SigningMethodHS256, []byte(testSecret), nil, nil)
	if _, err := v.Verify(header); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v.Remembered(header) == nil {
			b.Fatal("forgotten")
		}
	}
}
