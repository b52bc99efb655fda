package edge

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
)

// Kept is how many versions of a function are kept, the one that serves included.
const Kept = 20

// Version is one version of a function, as Redis keeps it.
type Version struct {
	// Number counts the versions of a name from 1.
	Number int `json:"number"`
	// Sum is the SHA-256 of the module, in hex.
	Sum string `json:"sha256"`
	// Size is the module's, in bytes.
	Size int `json:"size"`
	// Fuel is the budget of a call.
	Fuel int64 `json:"fuel"`
	// Open says that the profile is shown as it is while the function is fenced. Without it such
	// lookups fail, as they must for a function that hides something.
	Open bool `json:"open,omitempty"`
	// At is when the version was pushed, in milliseconds since 1970, by the clock of the node that
	// took it.
	At int64 `json:"at"`
	// Signature is that of Signed, in base64; "" for none.
	Signature string `json:"signature,omitempty"`
}

// Record is a function's versions.
type Record struct {
	// Current is the number of the version that serves, 0 while there is none, and Next that of the
	// one which nodes make ready, else 0.
	Current int `json:"current"`
	Next    int `json:"next,omitempty"`
	// Trial is the version that serves a share of the users, and Ended why a node ended the last
	// one.
	Trial Trial  `json:"trial,omitzero"`
	Ended *Ended `json:"ended,omitempty"`
	// Versions are the last ones, in the order of their numbers.
	Versions []Version `json:"versions"`
}

// Find returns a version by its number.
func (r Record) Find(number int) (Version, bool) {
	for _, v := range r.Versions {
		if v.Number == number && number > 0 {
			return v, true
		}
	}
	return Version{}, false
}

// add returns r with another version, which is Next, and without those that are too many.
func (r Record) add(v Version) Record {
	if n := len(r.Versions); n > 0 {
		v.Number = r.Versions[n-1].Number
	}
	v.Number++
	r.Versions = append(slices.Clone(r.Versions), v)
	for i := 0; len(r.Versions) > Kept; {
		if n := r.Versions[i].Number; n == r.Current || n == r.Trial.Version {
			i++
			continue
		}
		r.Versions = slices.Delete(r.Versions, i, i+1)
	}
	r.Next = v.Number
	return r
}

// maxRecord is the largest record that is read, in bytes: 20 versions take 6 KB.
const maxRecord = 64 << 10

func parseRecord(text string) (r Record, err error) {
	if len(text) > maxRecord {
		return r, fmt.Errorf("a record of %d bytes; at most %d", len(text), maxRecord)
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// Signed is what the signature of a version signs: the name, so that a module cannot be put under
// another, what it does, and how it is run.
func Signed(name string, v Version) []byte {
	return fmt.Appendf(nil, "edgecache function 1\n%s\n%s\n%d\n%v\n", name, v.Sum, v.Fuel, v.Open)
}

// Sign returns the signature of a version under a name, as Version.Signature holds it.
func Sign(key ed25519.PrivateKey, name string, v Version) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, Signed(name, v)))
}

// verify returns nil when one of the keys signed v, or none is required.
func verify(keys []ed25519.PublicKey, name string, v Version) error {
	if len(keys) == 0 {
		return nil
	}
	if v.Signature == "" {
		return fmt.Errorf("%w: this node takes only signed functions", ErrSignature)
	}
	signature, err := base64.StdEncoding.DecodeString(v.Signature)
	if err != nil {
		return fmt.Errorf("%w: the signature is no base64", ErrSignature)
	}
	for _, key := range keys {
		if ed25519.Verify(key, Signed(name, v), signature) {
			return nil
		}
	}
	return fmt.Errorf("%w: the signature of version %d is of none of the %d keys", ErrSignature, v.Number, len(keys))
}
