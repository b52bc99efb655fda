package sample_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
	"unicode"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
)

func Example() {
	for p := range sample.Users(1, 3) {
		fmt.Println(p.ID, p.FullName, p.Matricule, p.Ministere)
	}
	// Output:
	// 1 Blessing Amougou 383970-I MINEDUB
	// 2 Juliette Moreau 767939-P MINFOPRA
	// 3 Nora André 151908-Q MINPMEESA
}

func TestUsersAreValidAndDistinct(t *testing.T) {
	const n = 20_000
	matricules := map[string]bool{}
	scripts := map[string]int{}
	holes, attrs, i := 0, 0, 0
	for p := range sample.Users(7, n) {
		i++
		if err := p.Check(); err != nil || p.ID != strconv.Itoa(i) || p.Nom == "" || p.Prenom == "" || p.FullName == "" {
			t.Fatalf("user %d: %+v, %v", i, p, err)
		}
		if p.UpdatedAt < sample.Base || p.UpdatedAt >= time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() {
			t.Fatalf("user %d has version %d", i, p.UpdatedAt)
		}
		if p.Matricule != "" && matricules[p.Matricule] {
			t.Fatalf("matricule %s twice", p.Matricule)
		}
		matricules[p.Matricule] = true
		if p.Avatar == "" || p.Ministere == "" || p.Matricule == "" || p.Sexe == "" {
			holes++
		}
		if len(p.Attrs) > 0 {
			attrs++
		}
		scripts[scriptOf(p.Nom)]++
	}
	if i != n || holes < n/10 || holes > n/3 || attrs < n/20 || attrs > n/5 {
		t.Errorf("%d users, %d with holes, %d with attributes", i, holes, attrs)
	}
	for _, s := range []string{"Latin", "Arabic", "Cyrillic", "Greek", "Georgian", "Han", "Hangul"} {
		if scripts[s] < n/200 {
			t.Errorf("%d names in %s", scripts[s], s)
		}
	}
}

func scriptOf(s string) string {
	for _, r := range s {
		for _, name := range []string{"Latin", "Arabic", "Cyrillic", "Greek", "Georgian", "Han", "Hangul"} {
			if unicode.Is(unicode.Scripts[name], r) {
				return name
			}
		}
	}
	return ""
}

func TestUsersDependOnSeedAndNumberAlone(t *testing.T) {
	text := func(p *profile.Profile) string { return string(profile.AppendJSON(nil, p)) }
	var first []string
	for p := range sample.Users(1, 100) {
		first = append(first, text(p))
	}
	if got := text(sample.User(1, 50)); got != first[49] {
		t.Errorf("alone %s, in a row %s", got, first[49])
	}
	if text(sample.User(2, 50)) == first[49] {
		t.Error("two seeds give the same user")
	}
	sexes := map[string][]string{}
	for p := range sample.Users(1, 5000) {
		if p.Sexe != "" && !slices.Contains(sexes[p.Prenom], p.Sexe) {
			sexes[p.Prenom] = append(sexes[p.Prenom], p.Sexe)
		}
	}
	both := 0
	for _, s := range sexes {
		if len(s) > 1 {
			both++
		}
	}
	if both > 5 {
		t.Errorf("%d given names of both sexes: the sex does not go with the name", both)
	}
}

func BenchmarkUsers(b *testing.B) {
	for i := 0; b.Loop(); i++ {
		sample.User(1, i)
	}
}
