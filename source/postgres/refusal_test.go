package postgres

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// Callers learn from a sentinel what the database's own codes say.
func TestWhatTheDatabaseRefuses(t *testing.T) {
	all := []error{profile.ErrUnavailable, profile.ErrMalformed, origin.ErrUnwritable, source.ErrFull, source.ErrReadOnly, source.ErrDisk,
		origin.ErrExists, origin.ErrInternal, context.DeadlineExceeded}
	code := func(c string) error { return &pgconn.PgError{Code: c, Message: "no"} }
	unwritable := func(why ...error) []error { return append(why, profile.ErrUnavailable, origin.ErrUnwritable) }
	for name, c := range map[string]struct {
		err  error
		want []error
	}{
		"disk full":                   {code("53100"), unwritable(source.ErrFull)},
		"read-only transaction":       {code("25006"), unwritable(source.ErrReadOnly)},
		"error of input or output":    {code("58030"), unwritable(source.ErrDisk)},
		"a file that is not writable": {code("42501"), unwritable()},
		"too many connections":        {code("53300"), []error{profile.ErrUnavailable}},
		"out of memory":               {code("53200"), []error{profile.ErrUnavailable}},
		"idle in transaction":         {code("25P03"), []error{profile.ErrUnavailable}},
		"shutting down":               {code("57P01"), []error{profile.ErrUnavailable}},
		"deadlock":                    {code("40P01"), []error{profile.ErrUnavailable}},
		"connection lost":             {code("08006"), []error{profile.ErrUnavailable}},
		"unique":                      {code("23505"), []error{origin.ErrExists}},
		"check":                       {code("23514"), []error{profile.ErrMalformed}},
		"value too long":              {code("22001"), []error{profile.ErrMalformed}},
		"no such table":               {code("42P01"), []error{origin.ErrInternal}},
		"broken index":                {code("XX002"), []error{origin.ErrInternal}},
		"no code":                     {code(""), []error{origin.ErrInternal}},
		"the network":                 {io.ErrUnexpectedEOF, []error{profile.ErrUnavailable}},
		"the caller's time ended":     {context.DeadlineExceeded, []error{context.DeadlineExceeded}},
	} {
		err := brokenPG("write user", c.err)
		for _, sentinel := range all {
			want := false
			for _, w := range c.want {
				want = want || w == sentinel
			}
			if errors.Is(err, sentinel) != want {
				t.Errorf("%s is %v; that it is %q should be %v", name, err, sentinel, want)
			}
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%s is %v, without what the database said", name, err)
		}
	}
}
