// Package edge runs edge functions: WebAssembly modules of an operator's that decide what each
// caller sees of a profile. A function gets the profile, what is known of the caller, and
// arguments; it returns the profile to show, or refuses. docs/edge-functions.md tells how one is
// written.
//
// # What a function can do
//
// It computes. It has no files, no network, no clock and no randomness, so that the same input has
// the same answer on every node. Its time is bounded by fuel (package fuel), its memory by
// Config.Pages, and nothing of a call is left when the next one begins: memory and globals are put
// back.
//
// # The parts
//
// An Engine compiles modules; a Function is one that was compiled, checked, and is ready to run.
// Functions keeps the functions of a cluster: they lie in Redis, and every node swaps to a new
// version as soon as it hears of it.
package edge

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
)

const (
	// DefaultFuel is the budget of a call in units of package fuel, 0.02 to 0.5 ms.
	DefaultFuel = 100_000
	// MaxModule is the largest module that is taken, in bytes.
	MaxModule = 8 << 20
	// MaxTail is what claims, arguments and locale of one call take at most, in msgpack.
	MaxTail = 8 << 10
	// MaxReason is the longest reason of a refusal, in bytes.
	MaxReason = 256
)

var (
	// ErrModule reports bytes that are no function: malformed, over a limit, or without what the
	// ABI wants.
	ErrModule = errors.New("edge: no function")
	// ErrTrap reports a call that ended by a trap of the guest's own.
	ErrTrap = errors.New("edge: trapped")
	// ErrFuel reports a call that used up its fuel.
	ErrFuel = errors.New("edge: out of fuel")
	// ErrDepth reports a call whose own calls went too deep.
	ErrDepth = errors.New("edge: calls too deep")
	// ErrOutput reports output that lies outside of the guest's memory, does not decode, or is no
	// valid profile.
	ErrOutput = errors.New("edge: bad output")
	// ErrIdentity reports output whose id or version is not that of the input.
	ErrIdentity = errors.New("edge: changed the id or the version")
	// ErrRefused reports that the function refused to show the profile; Failure.Detail is its
	// reason.
	ErrRefused = errors.New("edge: refused")
	// ErrFenced reports a function that failed so often that it is not called for a while.
	ErrFenced = errors.New("edge: fenced after failures")
	// ErrNotLoaded reports a function whose module this node does not have, yet.
	ErrNotLoaded = errors.New("edge: not loaded")
	// ErrUnknown reports a name that no function has.
	ErrUnknown = errors.New("edge: unknown function")
	// ErrRequest reports arguments that the function does not declare, or that are too long.
	ErrRequest = errors.New("edge: bad request")
	// ErrSignature reports a function that is not signed by a key that the node trusts.
	ErrSignature = errors.New("edge: signature refused")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("edge: closed")

	errConfig = errors.New("edge: bad configuration")
)

// Failure is what became of a call that brought no profile. It wraps one of ErrTrap, ErrFuel,
// ErrDepth, ErrOutput, ErrIdentity, ErrRefused, ErrFenced, ErrNotLoaded and ErrUnknown.
type Failure struct {
	// Function is the function's name.
	Function string
	// Err is the sentinel.
	Err error
	// Detail says more; of a refusal it is the function's reason.
	Detail string
}

// Error names the function, and what happened.
func (f *Failure) Error() string {
	what := strings.TrimPrefix(f.Err.Error(), "edge: ")
	if f.Detail == "" {
		return fmt.Sprintf("edge: function %q: %s", f.Function, what)
	}
	return fmt.Sprintf("edge: function %q: %s: %s", f.Function, what, f.Detail)
}

// Unwrap returns the sentinel.
func (f *Failure) Unwrap() error { return f.Err }

// Values is what a function may read by name: the claims of a caller, or arguments. An
// implementation is asked only for names that the function declares.
type Values interface {
	// Value returns the text of a name; false when there is none.
	Value(name string) (string, bool)
}

// Map is Values of a map.
type Map map[string]string

// Value implements Values.
func (m Map) Value(name string) (string, bool) {
	v, ok := m[name]
	return v, ok
}

// Request is what a call gets beside the profile. The zero value is a caller of which nothing is
// known.
type Request struct {
	// Claims is what is known of the caller; nil for nothing.
	Claims Values
	// Args are the arguments; nil for none.
	Args Values
	// Locale is the language that the caller prefers, such as "fr" or "fr-CM"; "" when it is
	// unknown.
	Locale string
}

// Config says what functions may use. The zero value holds the defaults.
type Config struct {
	// MaxFuel is the largest budget that a function may have for a call. Default 1,000,000.
	MaxFuel int64
	// InitFuel is what making an instance may use: the start function, _initialize, the first
	// buffer, and the description. Default 50,000,000, which a guest in Go needs; one in C takes
	// none of it.
	InitFuel int64
	// Pages is the largest memory of an instance, in pages of 64 KiB. Default 64.
	Pages int
	// Concurrency is how many calls run at once on the node; the rest wait. A guest cannot be
	// interrupted, so that each takes a processor from everything else until its fuel ends. Default
	// half of GOMAXPROCS, at least 1.
	Concurrency int
	// CacheDir is a directory for native code, so that a node that starts again need not compile.
	// A client that can write to it can run code in the node. Default: none.
	CacheDir string
}

func (c Config) withDefaults() Config {
	c.MaxFuel = cmp.Or(c.MaxFuel, 1_000_000)
	c.InitFuel = cmp.Or(c.InitFuel, 50_000_000)
	c.Pages = cmp.Or(c.Pages, 64)
	c.Concurrency = cmp.Or(c.Concurrency, max(1, runtime.GOMAXPROCS(0)/2))
	return c
}

func (c Config) validate() error {
	switch {
	case c.MaxFuel < 1:
		return fmt.Errorf("%w: Config.MaxFuel is %d; want at least 1", errConfig, c.MaxFuel)
	case c.InitFuel < 1:
		return fmt.Errorf("%w: Config.InitFuel is %d; want at least 1", errConfig, c.InitFuel)
	case c.Pages < 1 || c.Pages > 1<<16:
		return fmt.Errorf("%w: Config.Pages is %d; want 1 to 65536", errConfig, c.Pages)
	case c.Concurrency < 1:
		return fmt.Errorf("%w: Config.Concurrency is %d; want at least 1", errConfig, c.Concurrency)
	}
	return nil
}

// CheckName returns nil for a name that a function may have: 1-64 bytes of [a-z0-9-], not at either
// end a "-".
func CheckName(name string) error {
	ok := len(name) >= 1 && len(name) <= 64 && name[0] != '-' && name[len(name)-1] != '-'
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: the name %.70q; want 1-64 bytes of [a-z0-9-], and no - at the ends", ErrRequest, name)
	}
	return nil
}

// Claims is Values of the claims of a token, as encoding/json reads them: texts as they are,
// numbers and truth values in their JSON form, a list of those joined by spaces. Objects and null
// are as if they were not there.
type Claims map[string]any

// Value implements Values.
func (c Claims) Value(name string) (string, bool) { return claimText(c[name]) }

func claimText(claim any) (string, bool) {
	switch claim := claim.(type) {
	case string:
		return claim, true
	case float64:
		return strconv.FormatFloat(claim, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(claim), true
	case []any:
		words := make([]string, 0, len(claim))
		for _, one := range claim {
			if _, nested := one.([]any); nested {
				continue
			}
			if text, ok := claimText(one); ok {
				words = append(words, text)
			}
		}
		return strings.Join(words, " "), true
	}
	return "", false
}
