package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/reread"
	"github.com/chatapp-ngomna/edgecache/internal/tlsfile"
)

// Files complete a URL; each is read again when it changes.
type Files struct {
	// CA, Cert and Key are for the forms with TLS: see tlsfile.Files.
	CA, Cert, Key string
	// PasswordFile has the password; the URL has none then.
	PasswordFile string
}

// parameters of URLs, in the order in which With adds them.
var parameters = []string{"ca", "cert", "key", "password-file"}

// With returns rawURL with the files as its parameters. Errors wrap ErrURL.
func With(rawURL string, f Files) (string, error) {
	q := url.Values{}
	for i, file := range []string{f.CA, f.Cert, f.Key, f.PasswordFile} {
		if file != "" {
			q.Set(parameters[i], file)
		}
	}
	if len(q) == 0 {
		return rawURL, nil
	}
	separator := "?"
	if strings.Contains(rawURL, "?") {
		separator = "&"
	}
	full := rawURL + separator + q.Encode()
	_, err := parse(full)
	return full, err
}

// setFiles reads the parameters of a URL.
func setFiles(o *redis.UniversalOptions, u *url.URL) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("its parameters cannot be read")
	}
	known := append(slices.Clone(parameters), paramDB)
	if strings.HasSuffix(u.Scheme, "+sentinel") {
		known = append(known, paramSentinelUser, paramSentinelPassword)
	}
	for name, values := range q {
		if len(values) > 1 || !slices.Contains(known, name) {
			return fmt.Errorf("parameter %.40q: want %s, each once", name, strings.Join(known, ", "))
		}
	}
	if err := setPassword(o, q.Get("password-file")); err != nil {
		return err
	}
	files := tlsfile.Files{CA: q.Get("ca"), Cert: q.Get("cert"), Key: q.Get("key")}
	if !strings.HasPrefix(u.Scheme, "rediss") {
		if files.Any() {
			return errors.New("ca, cert and key are for TLS: rediss://, rediss+cluster:// or rediss+sentinel://")
		}
		return nil
	}
	client, err := files.Client(nil)
	if err != nil {
		return err
	}
	o.Dialer = client.DialContext
	return nil
}

func setPassword(o *redis.UniversalOptions, file string) error {
	if file == "" {
		return nil
	}
	if o.Password != "" {
		return errors.New("it has a password and a password-file; want one of them")
	}
	password, err := reread.New(nil, func() (string, error) { return reread.Secret(file) }, file)
	if err != nil {
		return fmt.Errorf("password-file: %w", err)
	}
	user := o.Username
	o.CredentialsProviderContext = func(context.Context) (string, string, error) { return user, *password.Get(), nil }
	return nil
}
