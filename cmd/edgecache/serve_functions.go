package main

import (
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/node"
)

// functionSettings are the flags of serve about edge functions.
type functionSettings struct {
	roles    map[string]string
	keys     string
	cacheDir string
	maxFuel  int64
}

func (s *functionSettings) flags(f *pflag.FlagSet) {
	f.StringToStringVar(&s.roles, "fn-role", nil, "`ROLE=FUNCTION` that users go through before callers of that role are shown them; "+
		"the role \"none\" is that of callers without a token")
	f.StringVar(&s.keys, "fn-keys", "", "`FILE` with Ed25519 public keys in PEM; functions that none of them signed are refused")
	f.StringVar(&s.cacheDir, "fn-cache", "", "`DIR` for compiled functions, that nobody else can write to; none when not given")
	f.Int64Var(&s.maxFuel, "fn-max-fuel", 1_000_000, "most `UNITS` that a function may have for a call")
}

// node returns what the node must know. Errors are usage errors.
func (s functionSettings) node() (*edge.FunctionsConfig, error) {
	conf := &edge.FunctionsConfig{Config: edge.Config{MaxFuel: s.maxFuel, CacheDir: s.cacheDir}}
	if s.maxFuel < 1 {
		return nil, usagef("--fn-max-fuel %d: want 1 or more", s.maxFuel)
	}
	for role, name := range s.roles {
		if err := edge.CheckName(name); err != nil || role == "" {
			return nil, usagef("--fn-role %s=%s: want ROLE=FUNCTION, such as none=hide-matricule", role, name)
		}
	}
	if s.keys == "" {
		return conf, nil
	}
	var err error
	conf.Keys, err = readKeys(s.keys)
	return conf, err
}

// api returns what the API must know.
func (s functionSettings) api(n *node.Node) *api.FunctionsConfig {
	return &api.FunctionsConfig{Node: n, Roles: s.roles}
}
