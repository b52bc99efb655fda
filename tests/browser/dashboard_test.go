package browser

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/chatapp-ngomna/edgecache/auth"
)

const secret = "0123456789abcdef0123456789abcdef"

// contrast is a script that returns the texts of the page which are too faint for WCAG AA.
//
//go:embed testdata/contrast.js
var contrast string

// The dashboard loads in both colour schemes, on a desktop and on a phone; it changes by itself, no
// text is too faint, nothing is wider than the screen, and nothing comes from elsewhere.
func TestTheDashboardIsReadableEverywhere(t *testing.T) {
	r := newRig(t, options{nodes: 3})
	r.traffic(400, time.Millisecond)
	r.poison(2)
	for name, l := range map[string]look{
		"desktop-light": {width: 1280, height: 860},
		"desktop-dark":  {width: 1280, height: 860, dark: true},
		"phone-light":   {width: 400, height: 860, touch: true},
		"phone-dark":    {width: 400, height: 860, dark: true, touch: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openTab(t, r.url+"/ui", l)
			p.says("link", "live")
			p.says("checks", "stream")
			p.says("members", "yaounde")
			p.until("rows of lookups", `document.querySelectorAll("#lookups tr").length > 5`)
			p.until("areas", `document.querySelector("#areas .l1")?.getAttribute("points").split(" ").length >= 8`)
			p.until("how old changes were", `document.querySelectorAll("#heard rect").length > 0 && document.getElementById("heard-says").innerText.includes("half within")`)
			p.until("a distribution", `document.querySelectorAll("#latency rect.l1").length > 0`)
			if dark := eval[bool](p, `matchMedia("(prefers-color-scheme: dark)").matches`); dark != l.dark {
				t.Fatalf("the scheme is dark: %t", dark)
			}
			before := eval[string](p, `document.getElementById("link").innerText`)
			p.until("next snapshot", fmt.Sprintf(`document.getElementById("link").innerText !== %q`, before))
			if wide := eval[int64](p, `document.documentElement.scrollWidth`); wide > l.width {
				t.Errorf("the page is %d pixels wide on a screen of %d", wide, l.width)
			}
			for _, faint := range eval[[]string](p, contrast) {
				t.Error("too faint:", faint)
			}
			p.shoot(name, true)
			p.quiet(r.url)
		})
	}
}

// Filters, the box for why and pausing work by keyboard alone.
func TestTheDashboardWorksByKeyboard(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.traffic(400, time.Millisecond)
	p := openTab(t, r.url+"/ui", look{width: 1280, height: 860})
	p.until("rows of lookups", `document.querySelectorAll("#lookups tr").length > 5`)
	focus := func() string { return eval[string](p, `document.activeElement.id`) }
	p.press(kb.Tab)
	if got := eval[string](p, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q, not the link past the head", got)
	}
	p.shortcut("/")
	if focus() != "filter" {
		t.Fatalf("/ leads to %q", focus())
	}
	p.press("tier=absent id=nobody*")
	p.until("nothing but what the filter shows", `[...document.querySelectorAll("#lookups tr")].length > 0 &&
		[...document.querySelectorAll("#lookups tr")].every(r => r.innerText.includes("nobody-") && r.innerText.includes("absent"))`)
	p.press(" ms>x")
	p.says("filter-says", `"ms>x" compares with no time`)
	if eval[string](p, `document.getElementById("filter").getAttribute("aria-invalid")`) != "true" {
		t.Error("a bad filter is not marked")
	}
	p.press(kb.Escape)
	p.shortcut("p")
	p.until("a pause", `document.getElementById("pause").getAttribute("aria-pressed") === "true"`)
	p.shortcut("w")
	if focus() != "why-id" {
		t.Fatalf("w leads to %q", focus())
	}
	p.press("1" + kb.Enter)
	p.until("an answer of why", `document.querySelectorAll("#why li").length > 5`)
	p.shoot("why", true)
	p.press(kb.Tab)
	if outline := eval[string](p, `getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
		t.Errorf("what has the focus is not seen: outline %q", outline)
	}
}

// The dead letters are listed by a key, the newest first.
func TestTheDashboardListsDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	p := openTab(t, r.url+"/ui", look{width: 1280, height: 860})
	p.says("link", "live")
	p.shortcut("d")
	p.says("dead-says", "There are none.")
	r.poison(3)
	p.until("three of them", `(document.getElementById("dead-ask").click(), document.querySelectorAll("#letters tr").length === 3)`)
	p.says("letters", "malformed")
	for _, faint := range eval[[]string](p, contrast) {
		t.Error("too faint:", faint)
	}
	p.quiet(r.url)
}

// nameless is a script that returns what a screen reader would find no name for, or stumble over.
//
//go:embed testdata/nameless.js
var nameless string

// What can be used or read has a name and a place in the order of headings, and whatever takes the
// focus is reached by Tab alone.
func TestTheDashboardIsToldByAScreenReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{nodes: 2})
	r.traffic(200, time.Millisecond)
	p := openTab(t, r.url+"/ui", look{width: 1280, height: 860})
	p.says("members", "yaounde")
	p.until("rows of lookups", `document.querySelectorAll("#lookups tr").length > 5`)
	p.shortcut("p") // rows that come and go have no fixed place in the order
	for _, what := range eval[[]string](p, nameless) {
		t.Error(what)
	}
	reached := map[string]bool{}
	for range 200 {
		p.press(kb.Tab)
		reached[eval[string](p, `document.activeElement.id || document.activeElement.getAttribute("aria-label") || document.activeElement.className`)] = true
	}
	for _, id := range []string{"filter", "pause", "why-id", "why", "dead-ask", "Lookups, the newest first", "Edge functions", "skip"} {
		if !reached[id] {
			t.Errorf("Tab does not lead to %q; it leads to %v", id, slices.Sorted(maps.Keys(reached)))
		}
	}
}

// With tokens the page asks for one, keeps it in the tab, and asks again for one that is refused.
func TestTheDashboardAsksForAToken(t *testing.T) {
	t.Parallel()
	tokens := auth.Config{Secret: secret}
	r := newRig(t, options{tokens: tokens})
	source, err := auth.SignTokens(tokens, auth.RoleRead)
	check(t, err)
	good, err := source()
	check(t, err)
	p := openTab(t, r.url+"/ui", look{width: 400, height: 860})
	p.says("verdict", "A token is needed")
	p.press("nonsense" + kb.Enter)
	p.says("login-says", "does not take this token")
	p.press(good + kb.Enter)
	p.says("link", "live")
	if eval[bool](p, `localStorage.length > 0 || document.cookie !== "" || location.href.includes("ey")`) {
		t.Error("the token is elsewhere than in this tab")
	}
	p.do(chromedp.Reload())
	p.says("link", "live")
}

// A node that goes away is told, and so is one that is back; what was shown stays.
func TestTheDashboardTellsOfALostNode(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	proxy := r.before()
	p := openTab(t, "http://"+proxy.Addr+"/ui", look{width: 1280, height: 860})
	p.says("link", "live")
	proxy.BlackHole(true)
	p.says("verdict", "The node does not answer")
	p.says("link", "this is from")
	proxy.BlackHole(false)
	p.says("link", "live")
	if text := eval[string](p, `document.getElementById("verdict").innerText`); strings.Contains(text, "does not answer") {
		t.Errorf("it is back, and the verdict is %q", text)
	}
}
