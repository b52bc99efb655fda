package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatapp-ngomna/edgecache/internal/reread"
)

const (
	// maxKeyFile is the largest file of public keys, in bytes.
	maxKeyFile = 256 << 10
	// maxKeys is how many keys it may have.
	maxKeys = 64
	// minRSA and maxRSA bound the RSA keys, in bits: shorter ones are broken, longer ones slow to
	// check.
	minRSA, maxRSA = 2048, 8192
)

// publicKey is a key and the one algorithm that it is for, so that no token can have it used in
// another way.
type publicKey struct {
	id  string // kid; "" when the file names none
	alg string
	key crypto.PublicKey
}

// keySet is what a file of public keys holds. It never changes.
type keySet []publicKey

// readKeys reads a file of public keys.
func readKeys(file string) (keySet, error) {
	text, err := reread.File(file, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("auth: public keys: %w", err)
	}
	parse := parsePEM
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		parse = parseJWKS
	}
	keys, err := parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: public keys in %s: %w", file, err)
	case len(keys) == 0:
		return nil, fmt.Errorf("auth: public keys in %s: it has none; want PEM, or a JWK set with RSA, P-256 or Ed25519 keys", file)
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("auth: public keys in %s: it has %d; at most %d", file, len(keys), maxKeys)
	}
	return keys, nil
}

func parsePEM(text []byte) (keys keySet, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return keys, nil
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		k, err := newPublicKey("", key)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
}

func parseBlock(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return nil, fmt.Errorf("a PEM block is a %.40q; want PUBLIC KEY or CERTIFICATE, and no private keys", block.Type)
}

// newPublicKey says what a key is for, or why it is for nothing.
func newPublicKey(id string, key crypto.PublicKey) (publicKey, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA || k.E < 3 || k.E&1 == 0 {
			return publicKey{}, fmt.Errorf("an RSA key has %d bits and the exponent %d; want %d to %d bits", bits, k.E, minRSA, maxRSA)
		}
		return publicKey{id, jwt.SigningMethodRS256.Alg(), key}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return publicKey{}, fmt.Errorf("an EC key is on %s; want P-256", k.Curve.Params().Name)
		}
		return publicKey{id, jwt.SigningMethodES256.Alg(), key}, nil
	case ed25519.PublicKey:
		return publicKey{id, jwt.SigningMethodEdDSA.Alg(), key}, nil
	}
	return publicKey{}, fmt.Errorf("a key of the type %T; want RSA, P-256 or Ed25519", key)
}

// jwk is one key of a JWK set (RFC 7517, RFC 7518 section 6, RFC 8037).
type jwk struct {
	Kty, Use, Alg, Kid, Crv string
	N, E, X, Y              base64URL
	Ops                     []string `json:"key_ops"`
	D                       *string  // there in private keys
}

// base64URL is bytes as JOSE writes them.
type base64URL []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *base64URL) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.Strict().DecodeString(string(text))
	return err
}

var errForeignKey = errors.New("a key for something else")

// parseJWKS takes the keys that are for signatures of a kind that is known here, and passes over
// the others, as RFC 7517 section 5 has it.
func parseJWKS(text []byte) (keys keySet, err error) {
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("no JWK set: %w", err)
	}
	for i, k := range set.Keys {
		key, err := k.public()
		if errors.Is(err, errForeignKey) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if k.Alg != "" && k.Alg != key.alg {
			continue
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (k jwk) public() (publicKey, error) {
	switch {
	case k.D != nil:
		return publicKey{}, errors.New("it is a private key; only public ones belong here")
	case k.Use != "" && k.Use != "sig":
		return publicKey{}, errForeignKey
	case k.Kty == "RSA":
		return newPublicKey(k.Kid, &rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: exponent(k.E)})
	case k.Kty == "EC" && k.Crv == "P-256":
		return k.p256()
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		if len(k.X) != ed25519.PublicKeySize {
			return publicKey{}, fmt.Errorf("an Ed25519 key of %d bytes; want %d", len(k.X), ed25519.PublicKeySize)
		}
		return newPublicKey(k.Kid, ed25519.PublicKey(k.X))
	}
	return publicKey{}, errForeignKey
}

func (k jwk) p256() (publicKey, error) {
	const size = 32
	if len(k.X) != size || len(k.Y) != size {
		return publicKey{}, fmt.Errorf("a P-256 key of %d and %d bytes; want %d each", len(k.X), len(k.Y), size)
	}
	point := append(append([]byte{4}, k.X...), k.Y...)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point) // it must lie on the curve
	if err != nil {
		return publicKey{}, err
	}
	return newPublicKey(k.Kid, key)
}

// exponent returns an RSA exponent, 0 for one that is too large to be one.
func exponent(b []byte) int {
	if n := new(big.Int).SetBytes(b); n.BitLen() < 32 {
		return int(n.Int64())
	}
	return 0
}

// find returns the keys that may have signed a token whose header has alg and kid. A kid is
// compared, and nothing else is done with it: it names no file and no query.
func (s keySet) find(alg, kid string) (keys []jwt.VerificationKey) {
	for _, k := range s {
		if k.alg == alg && (kid == "" || k.id == "" || k.id == kid) {
			keys = append(keys, k.key)
		}
	}
	return keys
}
