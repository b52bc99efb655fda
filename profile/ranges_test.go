package profile

import (
	"slices"
	"strconv"
	"testing"
)

func TestRangesAreTheSameInEveryProcess(t *testing.T) {
	for id, want := range map[string]int{"": 957, "1": 734, "123": 241, "jean.dupont@example.cm": 375} {
		if got := RangeOf(id); got != want {
			t.Errorf("RangeOf(%q) is %d; want %d: nodes of two versions would not agree", id, got, want)
		}
	}
}

func TestIDsSpreadOverAllRanges(t *testing.T) {
	var n [Ranges]int
	for i := range 300_000 {
		n[RangeOf(strconv.Itoa(i))]++
	}
	if low, high := slices.Min(n[:]), slices.Max(n[:]); low < 200 || high > 400 {
		t.Errorf("of 300,000 ids a range has %d to %d; want 200 to 400, about 293", low, high)
	}
}
