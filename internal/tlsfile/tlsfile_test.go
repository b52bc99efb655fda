package tlsfile_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pki"
	"github.com/chatapp-ngomna/edgecache/internal/tlsfile"
)

// serve answers every request over TLS with the name of who asks, and returns the address.
func serve(t *testing.T, files tlsfile.Files) string {
	t.Helper()
	conf, err := files.Server(nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := "nobody"
			if certs := r.TLS.PeerCertificates; len(certs) > 0 {
				name = certs[0].Subject.CommonName
			}
			_, _ = io.WriteString(w, name)
		})}
	go func() { _ = server.Serve(tls.NewListener(ln, conf)) }()
	t.Cleanup(func() { _ = server.Close() })
	return ln.Addr().String()
}

// ask makes one request over a connection of its own.
func ask(t *testing.T, files tlsfile.Files, addr string) (string, error) {
	t.Helper()
	client, err := files.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	return askWith(client, addr)
}

func askWith(client *tlsfile.Client, addr string) (string, error) {
	transport := client.Transport()
	transport.DisableKeepAlives = true
	resp, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get("https://" + addr)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestWhoIsLetIn(t *testing.T) {
	ours, theirs := pki.New(t), pki.New(t)
	server, client, stranger := ours.Issue(t, "server"), ours.Issue(t, "client"), theirs.Issue(t, "stranger")
	open, closed := server, server
	open.CA = ""
	onlyCA := func(a *pki.Authority) tlsfile.Files { return tlsfile.Files{CA: a.File} }
	for name, tt := range map[string]struct {
		server, client tlsfile.Files
		want, says     string
	}{
		"TLS":                             {open, onlyCA(ours), "nobody", ""},
		"TLS, another authority":          {open, onlyCA(theirs), "", "unknown authority"},
		"TLS, the system's authorities":   {open, tlsfile.Files{}, "", "authority"},
		"mTLS":                            {closed, client, "client", ""},
		"mTLS, no certificate":            {closed, onlyCA(ours), "", "certificate required"},
		"mTLS, another's certificate":     {closed, tlsfile.Files{Cert: stranger.Cert, Key: stranger.Key, CA: ours.File}, "", "tls"},
		"a certificate nobody asked for ": {open, client, "nobody", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ask(t, tt.client, serve(t, tt.server))
			if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q, %v; want %q, %q", got, err, tt.want, tt.says)
			}
		})
	}
}

func TestServerOfAnotherNameIsRefused(t *testing.T) {
	ours := pki.New(t)
	addr := serve(t, ours.Issue(t, "server"))
	client, err := tlsfile.Files{CA: ours.File}.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, client.Config("else.example")).Handshake(); err == nil || !strings.Contains(err.Error(), "else.example") {
		t.Errorf("handshake: %v", err)
	}
}

func TestOldVersionsAreRefused(t *testing.T) {
	ours := pki.New(t)
	files := ours.Issue(t, "server")
	files.CA = ""
	addr := serve(t, files)
	client, err := tlsfile.Files{CA: ours.File}.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	for version, good := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conf := client.Config("localhost")
		conf.MinVersion, conf.MaxVersion = version, version
		conn, err := tls.Dial("tcp", addr, conf)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != good {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

// Both sides change to another authority, the clients first to both.
func TestFilesAreReadAgain(t *testing.T) {
	ours := pki.New(t)
	files := ours.Issue(t, "server")
	addr := serve(t, files)
	mine := ours.Issue(t, "client")
	client, err := mine.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := askWith(client, addr); got != "client" {
		t.Fatalf("%q, %v", got, err)
	}
	conn, err := client.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber
	ours.Issue(t, "server")
	end := time.Now().Add(10 * time.Second)
	for {
		next, err := client.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		serial := next.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber
		_ = next.Close()
		if serial.Cmp(first) != 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the server still shows its first certificate")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	ours := pki.New(t)
	a, b := ours.Issue(t, "a"), ours.Issue(t, "b")
	for says, files := range map[string]tlsfile.Files{
		"go together": {Cert: a.Cert}, "private key does not match": {Cert: a.Cert, Key: b.Key}, "needs a certificate": {CA: a.CA},
		"no such file": {Cert: a.Cert + "x", Key: a.Key}, "no certificate in PEM": {Cert: a.Cert, Key: a.Key, CA: a.Key},
	} {
		if _, err := files.Server(nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", files, err, says)
		}
	}
}
