// Package sample makes up users for tests, benchmarks and first steps: mostly Cameroonian names,
// then French and others in several scripts, with registration numbers and ministries as Cameroon's
// civil service has them. The same seed gives the same users, versions included.
package sample

import (
	_ "embed"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Base is the earliest version (updatedAt) of a sample user: 2024-01-01 00:00 UTC. The latest is
// less than a year later, so that any change made to them gets a higher one.
const Base = 1_704_067_200_000

const (
	yearMillis = 365 * 24 * 3600 * 1000
	avatars    = "https://cdn.chatapp.example/avatars/"
)

// Users returns users "1" to n, in this order. Each profile is new and the caller's.
func Users(seed uint64, n int) iter.Seq[*profile.Profile] {
	return func(yield func(*profile.Profile) bool) {
		for i := 1; i <= n && yield(User(seed, i)); i++ {
		}
	}
}

// User returns user i, the same one whatever else is generated.
func User(seed uint64, i int) *profile.Profile {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	p := &profile.Profile{ID: strconv.Itoa(i), UpdatedAt: Base + r.Int64N(yearMillis)}
	name(r, p)
	p.Matricule = unless(r, 3, matricule(seed, i))
	p.Ministere = unless(r, 5, pick(r, ministries))
	p.Avatar = unless(r, 8, avatars+p.ID+".jpg")
	p.Sexe = unless(r, 2, p.Sexe)
	if r.IntN(10) == 0 {
		p.Attrs = attrs(r)
	}
	return p
}

// unless returns "" in percent of all cases: real records have holes.
func unless(r *rand.Rand, percent int, s string) string {
	if r.IntN(100) < percent {
		return ""
	}
	return s
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

// name chooses names of one group, and the sex that goes with the given name.
func name(r *rand.Rand, p *profile.Profile) {
	g := names().at(r.IntN(100))
	given := g.male
	p.Sexe = "M"
	if r.IntN(2) == 0 {
		given, p.Sexe = g.female, "F"
	}
	p.Prenom, p.Nom = pick(r, given), pick(r, g.family)
	switch {
	case g.code == "cm":
		cameroonian(r, p)
	case g.code == "ru" && p.Sexe == "F" && (strings.HasSuffix(p.Nom, "в") || strings.HasSuffix(p.Nom, "н")):
		p.Nom += "а" // Смирнов, Смирнова
	}
	if g.familyFirst {
		p.FullName = p.Nom + p.Prenom
	}
	p.Complete()
}

// cameroonian adds what is usual there: two given names or two family names, and "Ngo" (daughter
// of) in Bassa names.
func cameroonian(r *rand.Rand, p *profile.Profile) {
	g := names().at(0)
	switch n := r.IntN(100); {
	case n < 10 && p.Sexe == "F":
		p.Nom = "Ngo " + p.Nom
	case n < 25:
		p.Nom += " " + pick(r, g.family)
	case n < 40 && p.Sexe == "F":
		p.Prenom += " " + pick(r, g.female)
	case n < 40:
		p.Prenom += " " + pick(r, g.male)
	}
}

// matricule is six digits and a letter, different for the first million users: 383,969 and a
// million have no common divisor.
func matricule(seed uint64, i int) string {
	n := (uint64(i)*383_969 + seed%1_000_000) % 1_000_000
	return fmt.Sprintf("%06d-%c", n, 'A'+rune(n%23))
}

func attrs(r *rand.Rand) map[string]string {
	a := map[string]string{"region": pick(r, regions)}
	if r.IntN(2) == 0 {
		a["grade"] = pick(r, grades)
	}
	if r.IntN(3) == 0 {
		a["telephone"] = fmt.Sprintf("+237 6%08d", r.IntN(100_000_000))
	}
	return a
}

// ministries lists the large ones several times.
var ministries = strings.Fields(`MINSANTE MINSANTE MINSANTE MINEDUB MINEDUB MINEDUB MINEDUB MINESEC MINESEC MINESEC MINFI MINFI
	MINFI MINESUP MINDEF MINJUSTICE MINAT MINADER MINEPIA MINTP MINPOSTEL MINFOPRA MINEPAT MINHDU MINEE MINTSS MINAS MINPROFF
	MINCOM MINAC MINJEC MINSEP MINTOUL MINDCAF MINDDEVEL MINMIDT MINFOF MINEPDED MINRESI MINMAP MINPMEESA MINREX MINT`)

var regions = []string{"Adamaoua", "Centre", "Est", "Extrême-Nord", "Littoral", "Nord", "Nord-Ouest", "Ouest", "Sud", "Sud-Ouest"}

var grades = []string{"A1", "A2", "B1", "B2", "C", "D"}

//go:embed names.tsv
var namesTSV string

// group is the names of one language.
type group struct {
	code                 string
	male, female, family []string
	// familyFirst: the full name is the family name and the given name without a space.
	familyFirst bool
}

// table holds the groups and, for each hundredth, which one it is.
type table struct {
	groups []*group
	share  []*group
}

func (t *table) at(percent int) *group { return t.share[percent] }

// shares are the parts in a hundred, in the order of names.tsv.
var shares = []int{55, 16, 5, 4, 4, 4, 3, 2, 1, 2, 2, 2}

// names parses names.tsv once.
var names = sync.OnceValue(func() *table {
	t := new(table)
	for line := range strings.Lines(namesTSV) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		list := strings.Split(f[2], ",")
		switch f[1] {
		case "M":
			t.groups = append(t.groups, &group{code: f[0], male: list, familyFirst: f[0] == "zh" || f[0] == "ja" || f[0] == "ko"})
		case "F":
			t.groups[len(t.groups)-1].female = list
		case "S":
			t.groups[len(t.groups)-1].family = list
		}
	}
	for i, g := range t.groups {
		for range shares[i] {
			t.share = append(t.share, g)
		}
	}
	return t
})
