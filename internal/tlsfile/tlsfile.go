// Package tlsfile makes TLS configurations from files, which are read again when they change:
// connections that are made from then on use the new ones, those that are open go on. TLS 1.2 is
// the least.
package tlsfile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/reread"
)

// maxFile is the largest file of certificates or keys, in bytes.
const maxFile = 1 << 20

// dialTimeout bounds the making of a connection with its handshake.
const dialTimeout = 2 * time.Second

// Files are in PEM.
type Files struct {
	// Cert is the certificate with those that lead to its authority, Key its private key. Both or
	// neither.
	Cert, Key string
	// CA are the authorities whose certificates the other side must have. "" is for a server: ask
	// for none; for a client: those that the system knows.
	CA string
}

// Any reports whether there is a file at all.
func (f Files) Any() bool { return f != (Files{}) }

func (f Files) names() (names []string) {
	for _, name := range []string{f.Cert, f.Key, f.CA} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// check refuses half a pair.
func (f Files) check() error {
	if (f.Cert == "") != (f.Key == "") {
		return errors.New("tls: a certificate and its key go together; one of them is not named")
	}
	return nil
}

// load reads the files into what both sides of a connection start from.
func (f Files) load() (*tls.Config, *x509.CertPool, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.Cert != "" {
		cert, err := f.pair()
		if err != nil {
			return nil, nil, err
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	if f.CA == "" {
		return conf, nil, nil
	}
	text, err := reread.File(f.CA, maxFile)
	if err != nil {
		return nil, nil, fmt.Errorf("tls: authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, nil, fmt.Errorf("tls: authorities: %s has no certificate in PEM", f.CA)
	}
	return conf, pool, nil
}

func (f Files) pair() (none tls.Certificate, err error) {
	cert, err := reread.File(f.Cert, maxFile)
	if err != nil {
		return none, fmt.Errorf("tls: certificate: %w", err)
	}
	key, err := reread.File(f.Key, maxFile)
	if err != nil {
		return none, fmt.Errorf("tls: key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return none, fmt.Errorf("tls: certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	return pair, nil
}

// Server returns the configuration of a server. With CA it takes only clients with a certificate of
// those authorities.
func (f Files) Server(log *slog.Logger) (*tls.Config, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.Cert == "" {
		return nil, errors.New("tls: a server needs a certificate and its key")
	}
	now, err := reread.New(log, func() (*tls.Config, error) {
		conf, pool, err := f.load()
		if err == nil && pool != nil {
			conf.ClientCAs, conf.ClientAuth = pool, tls.RequireAndVerifyClientCert
		}
		return conf, err
	}, f.names()...)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return *now.Get(), nil }}, nil
}

// Client dials with TLS.
type Client struct {
	now *reread.Value[*tls.Config]
}

// Client returns what dials servers. The zero Files are good for those whose authority the system
// knows.
func (f Files) Client(log *slog.Logger) (*Client, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	now, err := reread.New(log, func() (*tls.Config, error) {
		conf, pool, err := f.load()
		if err == nil {
			conf.RootCAs = pool
		}
		return conf, err
	}, f.names()...)
	if err != nil {
		return nil, err
	}
	return &Client{now}, nil
}

// Config returns the configuration for a connection that is made now, to a server of that name.
func (c *Client) Config(serverName string) *tls.Config {
	conf := (*c.now.Get()).Clone()
	conf.ServerName = serverName
	return conf
}

// DialContext connects and shakes hands with the server at HOST:PORT, which must have a certificate
// for HOST.
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}, Config: c.Config(host)}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return dialer.DialContext(ctx, network, addr)
}

// Transport returns a transport of its own for HTTP/1.1 requests. Through a proxy the files are
// those of now.
func (c *Client) Transport() *http.Transport {
	return &http.Transport{Proxy: http.ProxyFromEnvironment, DialTLSContext: c.DialContext, TLSClientConfig: c.Config(""),
		TLSHandshakeTimeout: dialTimeout}
}
