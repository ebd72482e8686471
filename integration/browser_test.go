package integration

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// screenshots, when given, keeps what the browser tests see for the manual: go test ./integration -run Dashboard -screenshots ../docs/img
var screenshots = flag.String("screenshots", "", "folder in which to keep the dashboard's screenshots")

// chromium is one headless browser for all tests of this package.
type chromium struct {
	ctx  context.Context
	stop func()
}

func startChromium(t *testing.T) *chromium {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("hide-scrollbars", false), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("font-render-hinting", "none"))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // its sandbox does not work for root
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stopBrowser := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		stopBrowser()
		stopAlloc()
		t.Fatalf("chromium does not start (scripts/install-peers installs it): %v", err)
	}
	return &chromium{ctx, func() { stopBrowser(); stopAlloc() }}
}

// tab is one page of the browser, with what went wrong on it.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu     sync.Mutex
	faults []string
}

// tab opens a page for a test. Errors on the page's console, refused scripts and styles among them, fail the test.
func (c *chromium) tab(t *testing.T, base string) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(c.ctx)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	b := &tab{t: t, ctx: ctx, base: base}
	b.run(func(ctx context.Context, tg *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, tg, log.Enable, cdp.Empty{})
		return chromedp.Void{}, err
	})
	if err := chromedp.Listen(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.faults = append(b.faults, e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
		case *log.EventEntryAdded: // refused scripts and styles are "security"; answers of 4xx are "network", and meant
			if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
				b.faults = append(b.faults, e.Entry.Text)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b.evidence()
		}
		cancel()
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.faults {
			t.Errorf("on the page's console: %s", f)
		}
	})
	b.run(chromedp.EmulateViewport(1360, 900))
	return b
}

// evidence logs what the page showed when a test failed.
func (b *tab) evidence() {
	if text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + " shows:\n" + document.body.innerText`)); err == nil {
		b.t.Log(text)
	}
}

func (b *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.base + path))
}

// click clicks the first visible element of a kind that holds a text, and waits for the page that it leads to when
// there is one.
func (b *tab) click(element, text string) {
	b.t.Helper()
	b.run(chromedp.Click(chromedp.Search(fmt.Sprintf("//%s[contains(normalize-space(.), %q) or contains(@aria-label, %q)]", element, text, text)), chromedp.NodeVisible))
}

func (b *tab) press(selector string) {
	b.t.Helper()
	b.run(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.run(chromedp.WaitVisible(chromedp.CSS(selector)))
	eval[bool](b, fmt.Sprintf(`document.querySelector(%q).value = "", true`, selector))
	b.run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.run(chromedp.WaitVisible(chromedp.CSS(selector)))
	eval[bool](b, fmt.Sprintf(`{ const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event("change", {bubbles: true})); e.value === %[2]q }`, selector, value))
}

// shows waits until the page has all the texts.
func (b *tab) shows(texts ...string) {
	b.t.Helper()
	var want []string
	for _, s := range texts {
		q, err := json.Marshal(s)
		if err != nil {
			b.t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("document.body.innerText.includes(%s)", q))
	}
	b.holds(strings.Join(want, " && "))
}

// holds waits until a JavaScript expression is true.
func (b *tab) holds(expr string) {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// While a page is being left there is nothing to ask: that is an error for once.
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("document.body !== null && document.readyState !== 'loading' && !!("+expr+")"))
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) || b.ctx.Err() != nil {
			b.t.Fatalf("waited in vain for %s (%v)", expr, err)
		}
		<-tick.C
	}
}

// eval is a JavaScript expression's value.
func eval[T any](b *tab, expr string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expr, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// scheme switches between light and dark.
func (b *tab) scheme(name string) {
	b.t.Helper()
	b.run(func(ctx context.Context, tg *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, tg, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return chromedp.Void{}, err
	})
}

// shot keeps a screenshot, as wide as the viewport and as tall as the page, when they are asked for.
func (b *tab) shot(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	size := eval[[]float64](b, `[innerWidth, Math.min(document.documentElement.scrollHeight, 1400)]`)
	beyond := true
	shot, err := chromedp.Run(b.ctx, func(ctx context.Context, tg *chromedp.Target) (page.CaptureScreenshotResult, error) {
		return cdp.Call(ctx, tg, page.CaptureScreenshot, page.CaptureScreenshotParams{
			Clip: &page.Viewport{Width: size[0], Height: size[1], Scale: 1}, CaptureBeyondViewport: &beyond,
		})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), shot.Data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// violation is what axe-core found, cut to what a reader needs.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// accessible runs axe-core, with the given rules only when there are any, and fails on serious and critical violations.
func (b *tab) accessible(axe, rules, what string) {
	b.t.Helper()
	eval[bool](b, axe+"; true")
	found := eval[[]violation](b, `axe.run(document, {resultTypes: ["violations"]`+rules+`}).then(r => r.violations.map(v => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.slice(0, 3).map(n => ({HTML: n.html.slice(0, 200), FailureSummary: n.failureSummary}))})))`)
	for _, v := range found {
		if v.Impact == "serious" || v.Impact == "critical" {
			b.t.Errorf("%s: axe %s (%s): %s", what, v.ID, v.Impact, v.Help)
			for _, n := range v.Nodes {
				b.t.Logf("    %s\n        %s", n.HTML, n.FailureSummary)
			}
		}
	}
}
