package main

import (
	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
)

// redisFiles are the flags about how Redis is spoken to; they complete the URL of --redis.
type redisFiles struct{ redisconn.Files }

func (r *redisFiles) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.CA, "redis-ca", "", "`FILE` of authorities of Redis's certificate, for rediss:// and the like; those of the system when not given")
	f.StringVar(&r.Cert, "redis-cert", "", "`FILE` in PEM: the certificate to show to Redis; read again when it changes")
	f.StringVar(&r.Key, "redis-key", "", "`FILE` in PEM with the private key of --redis-cert")
	f.StringVar(&r.PasswordFile, "redis-password-file", "", "`FILE` with the password for Redis; read again when it changes")
}

// complete returns the URL with the files in it. "" stays so: there is no Redis to speak to.
func (r *redisFiles) complete(url string) (string, error) {
	if url == "" {
		if r.Files != (redisconn.Files{}) {
			return "", usagef("--redis-ca, --redis-cert, --redis-key and --redis-password-file are for --redis URL")
		}
		return "", nil
	}
	full, err := redisconn.With(url, r.Files)
	if err != nil {
		return "", usageRedis(err)
	}
	return full, nil
}
