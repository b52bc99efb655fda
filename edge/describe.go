package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chatapp-ngomna/edgecache/internal/strictjson"
)

// ABI is the version of the interface between node and function that this package speaks.
const ABI = 1

const (
	maxDescription = 4 << 10
	maxNames       = 32
	maxName        = 64
)

// Description is what a function says of itself: which claims and arguments it reads, in the order
// in which it gets them. Whatever it does not name it does not see, and its answers are kept apart
// by nothing else.
type Description struct {
	// ABI is 1.
	ABI int `json:"abi"`
	// Claims are names of claims of the caller, Args those of arguments. Each has 1-64 bytes of
	// [A-Za-z0-9_.-]; at most 32 of either.
	Claims []string `json:"claims,omitempty"`
	Args   []string `json:"args,omitempty"`
	// Locale says that the function reads the locale.
	Locale bool `json:"locale,omitempty"`
}

func parseDescription(text []byte) (d Description, err error) {
	if len(text) > maxDescription {
		return d, fmt.Errorf("the description has %d bytes; at most %d", len(text), maxDescription)
	}
	if err := strictjson.Decode(text, &d); err != nil {
		return d, fmt.Errorf("the description %.80q: %w", text, err)
	}
	return d, d.check()
}

func (d Description) check() error {
	if d.ABI != ABI {
		return fmt.Errorf("the description says abi %d; this node speaks %d", d.ABI, ABI)
	}
	for kind, names := range map[string][]string{"claims": d.Claims, "args": d.Args} {
		if len(names) > maxNames {
			return fmt.Errorf("the description has %d %s; at most %d", len(names), kind, maxNames)
		}
		for i, name := range names {
			if !plainName(name) {
				return fmt.Errorf("the description has %q in %s; want 1-%d bytes of [A-Za-z0-9_.-]", name, kind, maxName)
			}
			if slices.Contains(names[:i], name) {
				return fmt.Errorf("the description has %q twice in %s", name, kind)
			}
		}
	}
	return nil
}

func plainName(name string) bool {
	ok := len(name) >= 1 && len(name) <= maxName
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.-", c) >= 0)
	}
	return ok
}

// Takes reports whether the function declares an argument.
func (d Description) Takes(arg string) bool { return slices.Contains(d.Args, arg) }
