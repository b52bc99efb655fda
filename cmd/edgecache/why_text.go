package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream/history"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// whyText says what the nodes answered. What is behind all of them is told as the first has it.
func whyText(answers []whyAnswer) string {
	var b strings.Builder
	first := answers[0].why
	fmt.Fprintf(&b, "user %s at %s\n\n", printable(first.ID), first.At.Format(time.RFC3339))
	for _, a := range answers {
		b.WriteString(whyNode(a))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w)
	for _, line := range whyRedis(&first.Why) {
		fmt.Fprintf(w, "Redis\t%s\n", printable(line))
	}
	fmt.Fprintf(w, "origin\t%s\n", printable(whyOrigin(first.Origin)))
	for _, line := range whyPast(first.Past, first.PastError, first.At) {
		fmt.Fprintf(w, "stream\t%s\n", printable(line))
	}
	_ = w.Flush() // to memory
	return b.String()
}

// whyNode says what a read of one node would be answered, and what its memory holds.
func whyNode(a whyAnswer) string {
	name := "node " + printable(a.name)
	if a.err != nil {
		return fmt.Sprintf("%s: not known: %s\n", name, printable(a.err.Error()))
	}
	text := fmt.Sprintf("%s: %s\n  because %s\n  in memory: %s\n", name, whyAnswered(a.why.Read),
		printable(a.why.Read.Because), printable(whyMemory(&a.why.Why)))
	if s := a.why.Store; s != nil {
		text += fmt.Sprintf("  on disk:   %s\n", printable(whyCopy(s, "nothing")))
	}
	return text
}

// whyAnswered is what a read would be answered.
func whyAnswered(r look.Reading) string {
	from := map[string]string{"L1": "from its memory", "L1.5": "from its store on disk", "L2": "from Redis", "origin": "from the origin",
		"stale": "with a copy that is marked stale"}[r.Tier]
	switch {
	case r.Tier == look.FromNone.String():
		return "a read fails: nobody can answer it"
	case r.Missing:
		return "a read is answered " + from + ": there is no such user"
	}
	return fmt.Sprintf("a read is answered %s: version %s", from, whyVersion(r.Version))
}

// whyVersion is a version, and the time that it stands for.
func whyVersion(v int64) string {
	return fmt.Sprintf("%d (%s)", v, time.UnixMilli(v).UTC().Format("2006-01-02 15:04:05.000"))
}

func whyMemory(w *look.Why) string {
	if w.Loading {
		return whyCopy(&w.Memory, "nothing yet, a load is under way")
	}
	return whyCopy(&w.Memory, "nothing")
}

// whyCopy says what a tier of a node holds; nothing is said where it holds nothing.
func whyCopy(m *look.Copy, nothing string) string {
	if m.State == look.CopyNone {
		return nothing
	}
	what := "that there is no such user"
	if m.Profile != nil {
		what = whyProfile(m.Profile)
	}
	source := "Redis"
	if m.Origin {
		source = "the origin"
	}
	return fmt.Sprintf("%s; loaded from %s %v ago, %s", what, source, whyTime(m.Age), m.State)
}

func whyProfile(p *profile.Profile) string {
	return fmt.Sprintf("version %s, %q, %s, %s", whyVersion(p.UpdatedAt), p.FullName, p.Matricule, p.Ministere)
}

// whyTime is a number of milliseconds.
func whyTime(ms int64) time.Duration {
	d := time.Duration(ms) * time.Millisecond
	if d >= time.Minute {
		return d.Round(time.Second)
	}
	return d
}

// whyRedis are sentences about what Redis holds.
func whyRedis(w *look.Why) []string {
	if w.RedisError != "" {
		return []string{"not known: " + w.RedisError}
	}
	lines := []string{whyRecord(&w.Redis)}
	if w.RedisDown {
		lines = append(lines, "readers do not ask it: it has not answered, and counts as down")
	}
	return append(append(lines, whyGuard(&w.Redis)...), whyLease(w.Redis.Lease))
}

func whyRecord(h *l2.Held) string {
	switch {
	case h.Broken != "":
		return "a record that is of no use: " + h.Broken
	case h.Profile == nil:
		return "no record"
	}
	by := map[string]string{"sealed": "as edgecache wrote it", "hint": "as another service wrote or changed it",
		"partial": "a part, as another service wrote it"}[h.Trust]
	kept := "kept for ever"
	if h.TTL >= 0 {
		kept = fmt.Sprintf("kept for %v", whyTime(h.TTL))
	}
	return fmt.Sprintf("%s; %s, %s", whyProfile(h.Profile), by, kept)
}

func whyGuard(h *l2.Held) (lines []string) {
	if h.Floor > 0 {
		lines = append(lines, fmt.Sprintf("stores nothing below version %s, which was announced, for %v", whyVersion(h.Floor), whyTime(h.Guard)))
	}
	if h.Absent > 0 {
		lines = append(lines, fmt.Sprintf("the user is known not to exist, for %v", whyTime(h.Absent)))
	}
	if h.Said != "" && h.Said != h.Hint {
		lines = append(lines, "another service said something ("+whyHint(h.Said)+"), for which the origin was not asked yet")
	}
	if h.Hint != "" {
		lines = append(lines, "the origin was asked after another service said something ("+whyHint(h.Hint)+")")
	}
	return lines
}

// whyHint is the entry of a hint, whose place is two numbers of 16 hexadecimal digits.
func whyHint(order string) string {
	if len(order) != 32 {
		return order
	}
	ms, err := strconv.ParseUint(order[:16], 16, 64)
	seq, wrong := strconv.ParseUint(order[16:], 16, 64)
	if err != nil || wrong != nil {
		return order
	}
	return fmt.Sprintf("entry %d-%d", ms, seq)
}

func whyLease(l *l2.LeaseHeld) string {
	switch {
	case l == nil:
		return "no lease: nobody loads the user"
	case l.Own:
		return fmt.Sprintf("the node loads the user, and may for %v more", whyTime(l.Left))
	}
	return fmt.Sprintf("another node loads the user, and may for %v more", whyTime(l.Left))
}

func whyOrigin(o look.Truth) string {
	switch {
	case o.Error != "":
		return "does not answer: " + o.Error
	case o.Absent:
		return fmt.Sprintf("knows no such user; answered in %d ms", o.Took)
	case o.Profile == nil:
		return "was not asked"
	}
	return fmt.Sprintf("%s; answered in %d ms", whyProfile(o.Profile), o.Took)
}

func whyPast(past history.Past, failed string, now time.Time) (lines []string) {
	for _, e := range past.Events {
		by := "announced"
		if e.Hint {
			by = "said by another service"
		}
		version := ""
		if e.Version > 0 {
			version = fmt.Sprintf(" version %d", e.Version)
		}
		if e.Reason != "" {
			version += ": " + e.Reason
		}
		lines = append(lines, fmt.Sprintf("%s, %v ago: %s %s, %s%s", e.ID, now.Sub(e.At).Round(time.Millisecond), by,
			strings.TrimPrefix(e.Kind, "user.profile."), e.Form, version))
	}
	if failed != "" {
		return append(lines, "not known: "+failed)
	}
	return append(lines, fmt.Sprintf("%d events of the user in the last %d entries%s", len(past.Events), past.Searched, whySince(past.Since, now)))
}

func whySince(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return fmt.Sprintf(", which go back %v", now.Sub(since).Round(time.Second))
}
