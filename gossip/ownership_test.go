package gossip

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// equals returns members of weight 1 with made-up names.
func equals(rng *rand.Rand, n int) []Member {
	list := make([]Member, n)
	for i := range list {
		list[i] = Member{Name: "node-" + strconv.FormatUint(rng.Uint64(), 36), Weight: 1}
	}
	return list
}

func counts(o *Ownership) map[string]int {
	n := map[string]int{}
	for r := range profile.Ranges {
		n[o.Owner(r)]++
	}
	return n
}

func TestOwnersAreTheSameInEveryVersion(t *testing.T) {
	o := Owners([]Member{{Name: "a", Weight: 1}, {Name: "b", Weight: 2}, {Name: "c", Weight: 1}})
	var got string
	for r := range 32 {
		got += o.Owner(r)
	}
	if want := "accabaccbaabacccccbabcbbcbacaabb"; got != want {
		t.Errorf("the owners of the first ranges are %s; want %s: nodes of two versions would not agree", got, want)
	}
}

// mostOf returns the most ranges that one of ten equal members owns, with 102.4 as the even share.
func mostOf(members []Member) (most int) {
	for _, n := range counts(Owners(members)) {
		most = max(most, n)
	}
	return most
}

const fairShare = 128 // 1.25 times 102.4

func TestTenEqualMembersShareFairly(t *testing.T) {
	most, formats := 0, []string{"%d", "node-%d", "edgecache-%d", "chat-%02d.example.cm", "10.0.0.%d", "edgecache-7d9c5b6f4-x%dk2p"}
	for _, format := range formats {
		members := make([]Member, 10)
		for i := range members {
			members[i] = Member{Name: fmt.Sprintf(format, i), Weight: 1}
		}
		n := mostOf(members)
		most = max(most, n)
		if n > fairShare {
			t.Errorf("of ten members named %s one owns %d ranges; want at most %d", format, n, fairShare)
		}
	}
	results.add(fmt.Sprintf("most ranges of one of 10 equal members, %d usual ways to name them", len(formats)),
		fmt.Sprintf("%d, %.2f x its share", most, float64(most)*10/profile.Ranges), "at most 1.25 x")
}

// TestUnluckyNamesAreRare: chance is not abolished. Of 20,000 sets of random names 11 had a member
// above 1.25 times its share, the worst with 133 ranges. With plain hashes in place of their ranks
// it is one set in 21, which this would notice.
func TestUnluckyNamesAreRare(t *testing.T) {
	sets, unlucky, most := form(5000, 200), 0, 0
	for seed := range sets {
		n := mostOf(equals(rand.New(rand.NewPCG(uint64(seed), 1)), 10))
		if most = max(most, n); n > fairShare {
			unlucky++
			t.Logf("seed %d: one of ten members owns %d ranges", seed, n)
		}
	}
	if unlucky*200 > sets || most > fairShare*11/10 {
		t.Errorf("of %d sets of random names %d have a member with more than %d ranges, the worst with %d; want 1 in 200 at most, and %d",
			sets, unlucky, fairShare, most, fairShare*11/10)
	}
	results.add(fmt.Sprintf("the same with random names: sets of %d in which one has more than 1.25 x its share", sets),
		fmt.Sprintf("%d; the most is %d, %.2f x", unlucky, most, float64(most)*10/profile.Ranges), "at most 1 in 200")
}

func TestWeightsAreShares(t *testing.T) {
	const seed = 2
	for _, weights := range [][]int{{1, 2, 4}, {1, 1, 1, 1, 8}, {10, 20, 30, 40}, {1, 100}} {
		members := equals(rand.New(rand.NewPCG(seed, 1)), len(weights))
		sum := 0
		for i, w := range weights {
			members[i].Weight = w
			sum += w
		}
		n := counts(Owners(members))
		for i, w := range weights {
			want := float64(profile.Ranges) * float64(w) / float64(sum)
			if got := float64(n[members[i].Name]); got < want*0.75-8 || got > want*1.25+8 {
				t.Errorf("seed %d, weights %v: the member of weight %d owns %v ranges; want about %.0f", seed, weights, w, got, want)
			}
		}
	}
}

func TestWhoOwnsNothing(t *testing.T) {
	if o := Owners(nil); o.Owner(0) != "" || o.OwnerOf("1") != "" || o.Owned("a") != nil {
		t.Errorf("without members %q owns range 0", o.Owner(0))
	}
	if o := (&Ownership{}); o.Owner(5) != "" {
		t.Errorf("the zero value gives range 5 to %q", o.Owner(5))
	}
	o := Owners([]Member{{Name: "a"}, {Name: "gone", State: Gone, Weight: 100}, {Name: "a", Weight: 1}})
	if n := len(o.Owned("a")); n != profile.Ranges || o.Owned("gone") != nil {
		t.Errorf("beside one that is gone, a owns %d ranges; want all", n)
	}
}

func TestOwnedIsWhatOwnerSays(t *testing.T) {
	members := equals(rand.New(rand.NewPCG(3, 1)), 5)
	o := Owners(members)
	seen := map[int]string{}
	for _, m := range members {
		ranges := o.Owned(m.Name)
		if !slices.IsSorted(ranges) {
			t.Errorf("%s: %v is not in order", m.Name, ranges)
		}
		for _, r := range ranges {
			seen[r] += m.Name
		}
	}
	for r := range profile.Ranges {
		if seen[r] != o.Owner(r) {
			t.Errorf("range %d is in the lists of %q; its owner is %q", r, seen[r], o.Owner(r))
		}
	}
}

// FuzzOwners makes members of the input: a byte of weight and two bytes of name each.
func FuzzOwners(f *testing.F) {
	f.Add([]byte("1aa2bb3cc"), uint64(1))
	f.Add([]byte{}, uint64(2))
	f.Add([]byte("1aa1aa9aa"), uint64(3))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		var members []Member
		for ; len(text) >= 3 && len(members) < 12; text = text[3:] {
			members = append(members, Member{Name: fmt.Sprintf("n%d", binary.BigEndian.Uint16(text[1:])), Weight: int(int8(text[0]))})
		}
		before := Owners(members)
		rng := rand.New(rand.NewPCG(seed, 1))
		rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		if after := Owners(members); !slices.Equal(owners(before), owners(after)) {
			t.Fatalf("seed %d: the order of %v changes who owns what", seed, members)
		}
		if len(members) == 0 {
			return
		}
		leaver := members[rng.IntN(len(members))].Name
		rest := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Name == leaver })
		after := Owners(rest)
		for r := range profile.Ranges {
			if was, is := before.Owner(r), after.Owner(r); was != leaver && was != is {
				t.Fatalf("seed %d: when %s left, range %d went from %s to %s", seed, leaver, r, was, is)
			}
		}
	})
}

func owners(o *Ownership) (list []string) {
	for r := range profile.Ranges {
		list = append(list, o.Owner(r))
	}
	return list
}

func BenchmarkOwners(b *testing.B) {
	for _, n := range []int{3, 10, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			members := equals(rand.New(rand.NewPCG(4, 1)), n)
			for b.Loop() {
				Owners(members)
			}
		})
	}
}
