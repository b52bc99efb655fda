package source

import (
	"errors"
	"testing"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

func FuzzParseBody(f *testing.F) {
	for _, s := range []string{`{"id":"7","nom":"x","attrs":{"a":null}}`, `{"nom":null}`, `{"nom":"a","nom":"b"}`, `{`, `{"attrs":{"\u0000":1}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := parseCreate(body, false, false); err == nil {
			if err := record.Check(p); err != nil && !errors.Is(err, profile.ErrTooLarge) {
				t.Fatalf("%s: accepted %+v, which cannot be stored: %v", body, p, err)
			}
		}
		if u, err := parseUpdate(body, "7", false); err == nil && u.Empty() {
			t.Fatalf("%s: accepted an update of nothing", body)
		}
	})
}
