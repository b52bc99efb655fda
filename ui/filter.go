package ui

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// ErrFilter reports a filter that is none; the text names the word and the rule.
var ErrFilter = errors.New("ui: bad filter")

// ErrFault reports a fault that cannot be brought on.
var ErrFault = errors.New("ui: no such fault")

// MaxFilter is the longest filter, in bytes.
const MaxFilter = 500

// Filter says which lookups to show. The zero value shows all.
type Filter struct{ terms []func(*look.Lookup) bool }

// Match reports whether a lookup is to be shown.
func (f Filter) Match(l *look.Lookup) bool {
	return !slices.ContainsFunc(f.terms, func(term func(*look.Lookup) bool) bool { return !term(l) })
}

// ParseFilter reads words such as
//
//	tier=origin ms>50 id=12*
//
// all of which must hold. tier is L1, L1.5, L2, origin, stale, absent or failed; id is a user's, or
// the beginning of one with a star after it; both take = and !=. ms and us, the time that a lookup
// took in milliseconds and microseconds, take = != < <= > and >=. Errors wrap ErrFilter.
func ParseFilter(text string) (f Filter, err error) {
	if len(text) > MaxFilter {
		return f, fmt.Errorf("%w: it has %d bytes; want %d at most", ErrFilter, len(text), MaxFilter)
	}
	for word := range strings.FieldsSeq(text) {
		term, err := parseTerm(word)
		if err != nil {
			return Filter{}, err
		}
		f.terms = append(f.terms, term)
	}
	return f, nil
}

func parseTerm(word string) (func(*look.Lookup) bool, error) {
	at := strings.IndexAny(word, "=!<>")
	if at < 1 {
		return nil, fmt.Errorf("%w: %.60q has no comparison; want words such as tier=origin, ms>50 or id=12*", ErrFilter, word)
	}
	field, rest := strings.ToLower(word[:at]), word[at:]
	op := rest[:1]
	if len(rest) > 1 && rest[1] == '=' {
		op = rest[:2]
	}
	value := rest[len(op):]
	if value == "" || op == "!" {
		return nil, fmt.Errorf("%w: %.60q compares with nothing; want one of = != < <= > >= and a value", ErrFilter, word)
	}
	switch field {
	case "tier":
		return tierTerm(word, op, value)
	case "id":
		return idTerm(word, op, value)
	case "ms":
		return timeTerm(word, op, value, time.Millisecond)
	case "us", "µs":
		return timeTerm(word, op, value, time.Microsecond)
	}
	return nil, fmt.Errorf("%w: %.60q is no field; want tier, id, ms or us", ErrFilter, field)
}

// outcomes are the values of Outcome. Never changed.
var outcomes = []string{"L1", "L1.5", "L2", "origin", "stale", "absent", "failed"}

func tierTerm(word, op, value string) (func(*look.Lookup) bool, error) {
	if !slices.ContainsFunc(outcomes, func(o string) bool { return strings.EqualFold(o, value) }) {
		return nil, fmt.Errorf("%w: %.60q is no tier; want one of %s", ErrFilter, value, strings.Join(outcomes, ", "))
	}
	return equality(word, op, func(l *look.Lookup) bool { return strings.EqualFold(Outcome(l), value) })
}

func idTerm(word, op, value string) (func(*look.Lookup) bool, error) {
	begin, some := strings.CutSuffix(value, "*")
	return equality(word, op, func(l *look.Lookup) bool { return l.ID == value || some && strings.HasPrefix(l.ID, begin) })
}

func equality(word, op string, is func(*look.Lookup) bool) (func(*look.Lookup) bool, error) {
	switch op {
	case "=", "==":
		return is, nil
	case "!=":
		return func(l *look.Lookup) bool { return !is(l) }, nil
	}
	return nil, fmt.Errorf("%w: %.60q has no order; want = or !=", ErrFilter, word)
}

// holds says which results of a comparison satisfy an operator. Never changed.
var holds = map[string]func(order int) bool{
	"=": func(o int) bool { return o == 0 }, "==": func(o int) bool { return o == 0 }, "!=": func(o int) bool { return o != 0 },
	"<": func(o int) bool { return o < 0 }, "<=": func(o int) bool { return o <= 0 },
	">": func(o int) bool { return o > 0 }, ">=": func(o int) bool { return o >= 0 },
}

func timeTerm(word, op, value string, unit time.Duration) (func(*look.Lookup) bool, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || n < 0 || n != n {
		return nil, fmt.Errorf("%w: %.60q compares with no time; want a number, as in ms>50", ErrFilter, word)
	}
	hold := holds[op]
	return func(l *look.Lookup) bool { return hold(cmp.Compare(float64(l.Took)/float64(unit), n)) }, nil
}
