package tier

import (
	"strconv"
	"testing"
)

// A full L1 takes what is asked for again, and passes over what is asked for once.
func TestFullL1AdmitsTheSecondRead(t *testing.T) {
	a := newAdmission(1000)
	l := hashOf(t)
	for i := range 1000 {
		if !a.admit(l(strconv.Itoa(i))) {
			t.Fatalf("id %d refused while there is room", i)
		}
	}
	a.note(true)
	first, second := 0, 0
	for i := range 1000 {
		if a.admit(l(strconv.Itoa(i))) {
			first++
		}
	}
	for i := range 1000 {
		if a.admit(l(strconv.Itoa(i))) {
			second++
		}
	}
	if first > 0 || second < 400 { // some have lost their slot to another
		t.Errorf("admitted %d at the first read and %d at the second of 1000; want 0 and most", first, second)
	}
	a.note(false)
	if !a.admit(l("new")) {
		t.Error("refused although there is room again")
	}
}

// hashOf returns the hash of an L1 of its own.
func hashOf(t *testing.T) func(string) hash {
	l, err := newL1(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l.hash
}

// An L1 without room for all keeps what is read often, though much more is read once.
func TestScanLeavesHotUsersInL1(t *testing.T) {
	const hot, once, rounds = 300, 3000, 20
	l, err := newL1(hot * 4 * 490)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	read := func(id string) (hit bool) {
		h := l.hash(id)
		if l.valid(l.candidate(h), h, l.stamps.of(h)) {
			return true
		}
		if e := newEntry(user(id, 1)); l.admission.admit(h) {
			e.check, e.pair = h.check, l.stamps.of(h)
			l.set(h, e)
		}
		return false
	}
	hits := 0
	for round := range rounds {
		for i := range hot {
			if read("hot"+strconv.Itoa(i)) && round >= rounds/2 {
				hits++
			}
		}
		for i := range once {
			read(strconv.Itoa(round*once + i))
		}
		l.drain()
	}
	if most := hot * rounds / 2; hits < most*9/10 {
		t.Errorf("%d of %d reads of hot users hit", hits, most)
	}
}
