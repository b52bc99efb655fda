package api

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pki"
	"github.com/chatapp-ngomna/edgecache/internal/tlsfile"
)

// issuer signs tokens, and changes its key.
type issuer struct {
	name string
	key  ed25519.PrivateKey
}

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{name, key}
}

func (i *issuer) token(t *testing.T) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"roles": "read", "exp": time.Now().Add(time.Hour).Unix()})
	token.Header["kid"] = i.name
	text, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + text
}

// jwkSet is a file of public keys as services publish it.
func jwkSet(issuers ...*issuer) []byte {
	text := []byte(`{"keys":[`)
	for n, i := range issuers {
		if n > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, `{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, i.name,
			base64.RawURLEncoding.EncodeToString(i.key.Public().(ed25519.PublicKey)))
	}
	return append(text, `]}`...)
}

func publicKeyPEM(t *testing.T, i *issuer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// rotation is a server with mTLS and tokens, and what its files are replaced by.
type rotation struct {
	t              *testing.T
	before, after  *pki.Authority
	first, second  *issuer
	server, client tlsfile.Files // as they are in use
	keys           string
	s              *Server
}

func newRotation(t *testing.T) *rotation {
	r := &rotation{t: t, before: pki.New(t), after: pki.New(t), first: newIssuer(t, "first"), second: newIssuer(t, "second")}
	dir := t.TempDir()
	r.server, r.client = r.before.Issue(t, "server"), r.before.Issue(t, "client")
	r.server.CA, r.client.CA, r.keys = filepath.Join(dir, "clients.pem"), filepath.Join(dir, "servers.pem"), filepath.Join(dir, "keys.json")
	r.replace(r.server.CA, r.before.File)
	r.replace(r.client.CA, r.before.File)
	pki.Replace(t, r.keys, jwkSet(r.first))
	conf, err := r.server.Server(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.s = serve(t, newFake("1"), func(c *Config) {
		c.TLS, c.Tokens = conf, auth.Config{KeyFile: r.keys}
	})
	return r
}

// replace puts what other files hold, one after another, into the place of one.
func (r *rotation) replace(file string, by ...string) {
	r.t.Helper()
	var all [][]byte
	for _, name := range by {
		text, err := os.ReadFile(name)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, text)
	}
	pki.Replace(r.t, file, bytes.Join(all, nil))
}

// replacePair replaces a certificate and its key, which takes two steps.
func (r *rotation) replacePair(files, by tlsfile.Files) {
	r.replace(files.Key, by.Key)
	r.replace(files.Cert, by.Cert)
}

func (r *rotation) dialer(files tlsfile.Files) *tlsfile.Client {
	r.t.Helper()
	c, err := files.Client(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// status asks over a new connection of its own; 0 is a connection that is refused.
func (r *rotation) status(conf *tls.Config, token string) int {
	transport := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "https://"+r.s.Addr().String()+"/v1/users/1", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	resp, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// believeBoth has server and client believe both authorities and both keys; next is a certificate
// by the second.
func (r *rotation) believeBoth(client *tlsfile.Client, next tlsfile.Files) {
	r.t.Helper()
	r.replace(r.server.CA, r.before.File, r.after.File)
	r.replace(r.client.CA, r.before.File, r.after.File)
	pki.Replace(r.t, r.keys, jwkSet(r.first, r.second))
	r.await("both", func() bool { return r.status(r.dialer(next).Config("localhost"), r.second.token(r.t)) == 200 })
	both := pool(r.t, r.before.File, r.after.File)
	r.await("both authorities at the clients", func() bool { return client.Config("").RootCAs.Equal(both) })
}

// TestAllIsReplacedUnderLoad changes to another authority and another issuer of tokens as an
// operator does: first both are believed, then the new ones are used, then the old ones are
// believed no more. No request fails meanwhile, on new connections or on old ones. In the end the
// old certificate is refused, even to who resumes a session, and so is the old token, which was
// remembered.
func TestAllIsReplacedUnderLoad(t *testing.T) {
	r := newRotation(t)
	client := r.dialer(r.client)
	var token atomic.Value
	token.Store(r.first.token(t))
	var asked, failed atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		group.Wait()
	})
	defer end()
	for i := range 4 {
		transport := client.Transport()
		transport.DisableKeepAlives = i%2 == 0 // half of them over new connections
		defer transport.CloseIdleConnections()
		group.Go(func() {
			load(&http.Client{Transport: bearing{transport, &token}}, "https://"+r.s.Addr().String(), stop, &asked, &failed)
		})
	}
	old := client.Config("localhost")
	old.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	if got := r.status(old, r.first.token(t)); got != 200 {
		t.Fatalf("before: %d", got)
	}
	oldCert, oldKey := old.Certificates, r.first.token(t)
	next := r.after.Issue(t, "client")
	next.CA = r.client.CA
	t.Log("both are believed")
	r.believeBoth(client, next)

	t.Log("the new ones are used")
	r.replacePair(r.server, r.after.Issue(t, "server"))
	r.replacePair(r.client, next)
	token.Store(r.second.token(t))
	alone := &tls.Config{RootCAs: pool(t, r.after.File), ServerName: "localhost", Certificates: oldCert}
	r.await("the new certificate of the server", func() bool { return r.status(alone, oldKey) == 200 })
	r.await("the new certificate of the clients", func() bool {
		return !bytes.Equal(client.Config("").Certificates[0].Certificate[0], oldCert[0].Certificate[0])
	})

	t.Log("the old ones are believed no more")
	r.replace(r.server.CA, r.after.File)
	r.replace(r.client.CA, r.after.File)
	pki.Replace(t, r.keys, publicKeyPEM(t, r.second))
	now := client.Config("localhost")
	r.await("401 for the old token", func() bool { return r.status(now, oldKey) == 401 })
	r.await("the old certificate to be refused", func() bool { return r.status(alone, r.second.token(t)) == 0 })
	old.RootCAs = pool(t, r.after.File, r.before.File)
	if got := r.status(old, r.second.token(t)); got != 0 {
		t.Errorf("who resumes a session of the old certificate gets %d", got)
	}
	end()
	t.Logf("%d requests", asked.Load())
	if failed.Load() > 0 || asked.Load() < 100 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}

// await waits until ok, with whatever the machine is busy with.
func (r *rotation) await(what string, ok func() bool) {
	r.t.Helper()
	testkit.Eventually(r.t, 20*time.Second, what, ok)
}

// bearing sends the token of now with each request.
type bearing struct {
	http.RoundTripper
	token *atomic.Value
}

func (b bearing) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", b.token.Load().(string))
	return b.RoundTripper.RoundTrip(req)
}

func pool(t *testing.T, files ...string) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !p.AppendCertsFromPEM(text) {
			t.Fatalf("no authority in %s: %v", file, err)
		}
	}
	return p
}
