package fuel

// Instructions are paid for by segments. A segment is charged at one place, before any of its
// instructions, and that place keeps two rules:
//
//   - what gets to an instruction of the segment has passed the place, because code only enters
//     a block at its top (the place dominates the instruction);
//   - no loop begins between the two, so what gets to the instruction again has passed the place
//     again.
//
// So at each moment at least as much was paid as was executed. Too much is paid where a branch
// leaves a segment early: mergeMost bounds that for each place.
type segment struct {
	at   int // where it is charged
	cost int
	// parent is a segment whose place dominates this one and is in the same loop, or -1.
	parent int
	// extra is what was merged into it.
	extra  int
	merged bool
}

// mergeMost is the most, in units, that a segment pays for code that a branch may skip.
const mergeMost = 32

// merge adds small segments to their parents, from the innermost outwards: a parent comes before
// its children.
func (b *body) merge() {
	for i := len(b.segments) - 1; i > 0; i-- {
		s := &b.segments[i]
		if s.parent < 0 {
			continue
		}
		parent := &b.segments[s.parent]
		if total := s.cost + s.extra; parent.extra+total <= mergeMost {
			parent.extra += total
			s.merged = true
		}
	}
}

// charge is what is paid at the place of the segment: 0 if nothing.
func (s segment) charge() int {
	if s.merged {
		return 0
	}
	return s.cost + s.extra
}
