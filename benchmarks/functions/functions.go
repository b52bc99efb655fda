// Package functions measures what edge functions cost: an answer that is kept beside a hit of L1, a
// call beside the bare call of wazero with the same memory reset, and fuel beside none.
//
//	go run -C benchmarks . functions -out results
package functions

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// example is one of the examples, and a request that it has to work for.
type example struct {
	name    string
	request edge.Request
}

func examples() []example {
	return []example{
		{"hide-matricule", edge.Request{Claims: edge.Map{"role": "guest"}}},
		{"display-name", edge.Request{Locale: "fr-CM"}},
		{"avatar-size", edge.Request{Args: edge.Map{"size": "64"}}},
	}
}

func user() *profile.Profile {
	return &profile.Profile{ID: "123", Nom: "Ngo Mbé", Prenom: "Awa", FullName: "Awa Ngo Mbé", Avatar: "/a/123.webp", Matricule: "623456-K",
		Ministere: "MINSANTE", Sexe: "F", UpdatedAt: 1700000000000, Attrs: map[string]string{"room": "12", "name.fr": "Mme Ngo Mbé"}}
}

func module(name, language string) ([]byte, error) {
	return guests.Modules.ReadFile("prebuilt/" + name + "." + language + ".wasm")
}

// Run is the command functions.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("functions", flag.ContinueOnError)
	rounds := f.Int("rounds", 200, "how often each is measured, in turns")
	out := f.String("out", "", "folder for functions.md; default none is written")
	if err := f.Parse(args); err != nil {
		return err
	}
	var report strings.Builder
	report.WriteString("# What edge functions cost\n\n`go run -C benchmarks . functions -out results`. Contenders take turns; the shortest of " +
		fmt.Sprint(*rounds) + " rounds, one goroutine, so that what other work on the machine adds is in neither.\n")
	for _, part := range []func(context.Context, io.Writer, int) error{kept, calls, fuels} {
		if err := part(ctx, &report, *rounds); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(stdout, report.String()); err != nil || *out == "" {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "functions.md"), []byte(report.String()), 0o644)
}

// turns runs contenders one after the other, as often as rounds says, and returns the shortest time
// of each for one of n.
func turns(rounds, n int, contenders ...func() error) ([]time.Duration, error) {
	best := make([]time.Duration, len(contenders))
	for range rounds {
		for i, run := range contenders {
			began := time.Now()
			for range n {
				if err := run(); err != nil {
					return nil, err
				}
			}
			if took := time.Since(began) / time.Duration(n); best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	return best, nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }
