package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/edge"
)

const fnLong = `Edge functions are small WebAssembly modules that decide what each caller sees of a profile: one
hides the registration number from guests, another chooses the name by language. They run in the
nodes, next to the data. docs/edge-functions.md is the guide.`

func (p *program) fnCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fn",
		Short: "Write, try and push edge functions",
		Long:  fnLong,
		Example: `  edgecache fn new hide --lang c
  edgecache fn build hide
  edgecache fn test hide/hide.wasm --claim role=guest
  edgecache fn push hide hide/hide.wasm
  curl '127.0.0.1:8003/v1/users/123?fn=hide'`,
		RunE: wantCommand,
	}
	cmd.AddCommand(p.fnNewCommand(), p.fnBuildCommand(), p.fnTestCommand(), p.fnPushCommand(), p.fnListCommand(), p.fnShowCommand(),
		p.fnDiffCommand(), p.fnRollbackCommand(), p.fnRemoveCommand())
	return cmd
}

// fnClient asks a node about functions.
type fnClient struct{ nodeClient }

func (c *fnClient) flags(p *program, cmd *cobra.Command) {
	c.nodeClient.flags(p, cmd, auth.RoleAdmin)
	cmd.Flags().Lookup("timeout").DefValue = "1m"
	c.timeout = time.Minute
}

func functionPath(name, rest string, query url.Values) (string, error) {
	if err := edge.CheckName(name); err != nil {
		return "", usagef("%s", strings.TrimPrefix(err.Error(), edge.ErrRequest.Error()+": "))
	}
	path := "/v1/functions/" + name + rest
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path, nil
}

// ask sends a request about a function and prints the answer.
func (c *fnClient) ask(ctx context.Context, p *program, method, name, rest string, query url.Values, body []byte) error {
	path, err := functionPath(name, rest, query)
	if err != nil {
		return err
	}
	c.bodyType = "application/wasm"
	a, err := c.do(ctx, method, path, body)
	if err != nil || a.Status == http.StatusNoContent {
		return err
	}
	return p.printJSON(a.Body)
}

// readModule reads a module, which is no larger than a node takes.
func readModule(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > edge.MaxModule {
		return nil, fmt.Errorf("%s has %d bytes; a module has at most %d", file, info.Size(), edge.MaxModule)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	return wasm, nil
}

func (p *program) fnPushCommand() *cobra.Command {
	var c fnClient
	var fuel int64
	var open bool
	var key, share string
	cmd := &cobra.Command{
		Use:   "push NAME FILE",
		Short: "Make a module serve under a name, on all nodes",
		Long: `Sends a module to a node, which checks it and stores it in Redis. All nodes compile it while the
version before serves, and swap together. The answer names the version, and nodes that were
not ready in time.

With --share the version is on trial: it serves that share of the users, the same on every node, and
the version before serves the others. When it fails or refuses more often than that, or needs more
fuel, the nodes end the trial; "fn show" says why. Push the same file again with another share, or
without one for all users; "fn rollback" ends the trial.`,
		Example: `  edgecache fn push hide-matricule hide.wasm
  edgecache fn push hide-matricule hide.wasm --share 5%
  edgecache fn push hide-matricule hide.wasm --sign fn.key`,
		Args: wantArgs(2, 2, "hide-matricule hide.wasm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wasm, err := readModule(args[1])
			if err != nil {
				return err
			}
			query := url.Values{"fuel": {strconv.FormatInt(fuel, 10)}}
			if open {
				query.Set("open", "1")
			}
			if share != "" {
				part, err := parseShare(share)
				if err != nil {
					return err
				}
				query.Set("share", strconv.FormatFloat(part, 'g', -1, 64))
			}
			if key != "" {
				signature, err := signModule(key, args[0], wasm, fuel, open)
				if err != nil {
					return err
				}
				query.Set("signature", signature)
			}
			return c.ask(cmd.Context(), p, http.MethodPut, args[0], "", query, wasm)
		},
	}
	c.flags(p, cmd)
	f := cmd.Flags()
	f.Int64Var(&fuel, "fuel", edge.DefaultFuel, "`UNITS` that a call may use, about an instruction each")
	f.BoolVar(&open, "open", false, "while it fails, show profiles as they are; not for what hides")
	f.StringVar(&share, "share", "", "let it serve this `SHARE` of the users for now, such as 5%; all when not given")
	f.StringVar(&key, "sign", "", "`FILE` with the Ed25519 key in PEM that signs it")
	return cmd
}

// parseShare reads a share such as 5% or 0.05.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share > 0 && share < 1) {
		return 0, usagef("--share %s: want a share above 0 and below 100%%, such as 5%% or 0.05", text)
	}
	return share, nil
}

// signModule signs with a private key as of: openssl genpkey -algorithm ed25519.
func signModule(file, name string, wasm []byte, fuel int64, open bool) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", usagef("%s holds no PEM; make a key with: openssl genpkey -algorithm ed25519", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return "", usagef("%s holds no Ed25519 private key; make one with: openssl genpkey -algorithm ed25519", file)
	}
	sum := sha256.Sum256(wasm)
	return edge.Sign(key, name, edge.Version{Sum: hex.EncodeToString(sum[:]), Fuel: fuel, Open: open}), nil
}

// readKeys reads the public keys of a file in PEM.
func readKeys(file string) (keys []ed25519.PublicKey, err error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the keys of --fn-keys: %w", err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, usagef("--fn-keys: %s holds a key that is no Ed25519 public key", file)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, usagef("--fn-keys: %s holds no key; want PEM as of: openssl pkey -in fn.key -pubout", file)
	}
	return keys, nil
}

// fnSimple is a command that asks a node one thing about one function.
func (p *program) fnSimple(use, short, method, rest string) *cobra.Command {
	var c fnClient
	cmd := &cobra.Command{
		Use: use + " NAME", Short: short, Long: short + ".", Example: "  edgecache fn " + use + " hide-matricule",
		Args: wantArgs(1, 1, "hide-matricule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.ask(cmd.Context(), p, method, args[0], rest, nil, nil)
		},
	}
	c.flags(p, cmd)
	return cmd
}

func (p *program) fnShowCommand() *cobra.Command {
	return p.fnSimple("show", "Show a function: its versions, what it reads, and what a node counted", http.MethodGet, "")
}

func (p *program) fnRemoveCommand() *cobra.Command {
	return p.fnSimple("rm", "Remove a function with all its versions", http.MethodDelete, "")
}

func (p *program) fnRollbackCommand() *cobra.Command {
	var c fnClient
	cmd := &cobra.Command{
		Use:     "rollback NAME [VERSION]",
		Short:   "Make an earlier version serve again",
		Long:    "Makes a version that is still kept serve on all nodes: the one before the current, or the one of that number.",
		Example: "  edgecache fn rollback hide-matricule\n  edgecache fn rollback hide-matricule 3",
		Args:    wantArgs(1, 2, "hide-matricule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if len(args) > 1 {
				query.Set("to", args[1])
			}
			return c.ask(cmd.Context(), p, http.MethodPost, args[0], "/rollback", query, nil)
		},
	}
	c.flags(p, cmd)
	return cmd
}

func (p *program) fnListCommand() *cobra.Command {
	var c fnClient
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the functions of the cluster",
		Long:    "Lists the functions, the version of each that serves, and what the node that is asked counted of it.",
		Example: "  edgecache fn list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.do(cmd.Context(), http.MethodGet, "/v1/functions", nil)
			if err != nil {
				return err
			}
			return p.printJSON(a.Body)
		},
	}
	c.flags(p, cmd)
	return cmd
}
