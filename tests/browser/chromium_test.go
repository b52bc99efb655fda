package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// shots is a folder for pictures, which scripts/screenshots.sh names.
var shots = flag.String("shots", "", "write pictures of the dashboard to `DIR`")

// patience is how long a condition may take on a machine that stalls.
const patience = 30 * time.Second

// browser is the one Chromium of all tests; each has tabs of its own.
var browser context.Context

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // they wait most of the time
		panic(err)
	}
	os.Exit(withBrowser(m))
}

func withBrowser(m *testing.M) int {
	path, err := chromium()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	defer end()
	var close context.CancelFunc
	browser, close = chromedp.NewContext(allocator)
	defer close()
	if err := chromedp.Do(browser); err != nil {
		fmt.Fprintln(os.Stderr, "start Chromium:", err)
		return 1
	}
	return m.Run()
}

func chromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium was found; scripts/deps.sh installs it")
}

// look is how a page is looked at.
type look struct {
	width, height int64
	dark, touch   bool
}

// tab is one page in the browser, and what it did.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	errors   []string // guarded by mu: of the console, and what was thrown
	requests []string // guarded by mu: URLs
}

// openTab opens url. The tab is closed with the test.
func openTab(t *testing.T, url string, l look) *tab {
	t.Helper()
	p := &tab{t: t}
	var end context.CancelFunc
	p.ctx, end = chromedp.NewContext(browser, chromedp.WithListener(p.heard))
	t.Cleanup(end)
	check(t, chromedp.Do(p.ctx)) // the tab lives as long as the context of its first action
	p.do(listen(), l.emulate(), chromedp.Navigate(url))
	return p
}

// listen has the browser tell what a page asks for, and what it complains of.
func listen() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, to *chromedp.Target) error {
		if _, err := cdp.Call(ctx, to, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, to, log.Enable, cdp.Empty{})
		return err
	})
}

func (l look) emulate() chromedp.Action[chromedp.Void] {
	screen := emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.touch}
	scheme := map[bool]string{false: "light", true: "dark"}[l.dark]
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	return chromedp.Func(func(ctx context.Context, to *chromedp.Target) error {
		if _, err := cdp.Call(ctx, to, emulation.SetDeviceMetricsOverride, screen); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, to, emulation.SetEmulatedMedia, media)
		return err
	})
}

func (p *tab) heard(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.errors = append(p.errors, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			p.errors = append(p.errors, fmt.Sprint(e.Type, " ", e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.errors = append(p.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	}
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("the browser: %v", err)
	}
}

// eval returns what a script evaluates to.
func eval[T any](p *tab, script string) T {
	p.t.Helper()
	return result(p, chromedp.Evaluate[T](script))
}

func result[T any](p *tab, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("the browser: %v", err)
	}
	return v
}

// until waits until a script evaluates to true.
func (p *tab) until(what, script string) {
	p.t.Helper()
	for end := time.Now().Add(patience); !eval[bool](p, script); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("no %s within %v; the page says:\n%s", what, patience, eval[string](p, `document.body.innerText`))
		}
	}
}

// says waits until an element shows a text.
func (p *tab) says(id, want string) {
	p.t.Helper()
	quoted, err := json.Marshal(want)
	if err != nil {
		p.t.Fatal(err)
	}
	p.until(fmt.Sprintf("%q in #%s", want, id), fmt.Sprintf(`document.getElementById(%q).innerText.includes(%s)`, id, quoted))
}

// press sends keys to what has the focus.
func (p *tab) press(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// shortcut presses a key as a person does: what the page prevents is not typed.
func (p *tab) shortcut(key string) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, to *chromedp.Target) error {
		down := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: key, Text: key}
		if _, err := cdp.Call(ctx, to, input.DispatchKeyEvent, down); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, to, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: key})
		return err
	}))
}

// quiet fails the test if the console has an error, or a request went to elsewhere than base.
func (p *tab) quiet(base string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.errors {
		p.t.Error("console:", e)
	}
	for _, url := range p.requests {
		if !strings.HasPrefix(url, base+"/") {
			p.t.Error("a request to elsewhere:", url)
		}
	}
	if len(p.requests) < 5 {
		p.t.Errorf("only %d requests were seen: %v", len(p.requests), p.requests)
	}
}

// shoot writes a picture of the page, whole or of its first screen, if somebody wants pictures.
func (p *tab) shoot(name string, whole bool) {
	p.t.Helper()
	if *shots == "" {
		return
	}
	take := chromedp.CaptureScreenshot()
	if whole {
		take = chromedp.FullScreenshot(100)
	}
	png, err := small(result(p, take))
	check(p.t, err)
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}
