// Package pagetest opens pages in a real browser, as the people who use them do: Chromium,
// started here and nowhere else, in a profile that is removed with the test.
package pagetest

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Patience bounds each step in the browser, on a busy machine.
const Patience = 90 * time.Second

// Shots names the folder where tests leave pictures of their pages; without the variable
// they make none.
const Shots = "CLOAKROOM_TEST_SHOTS"

// Browser is a Chromium that runs until the test ends.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// Start starts the browser. A test that cannot have one fails, and says how to install it:
// what is not tried is not known to work.
func Start(t testing.TB) *Browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("this test opens pages in a browser, and found none: apt-get install chromium (Debian, Ubuntu), or put chromium on the PATH")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("headless", "new"),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("lang", "en-US"), chromedp.WSURLReadTimeout(Patience))
	if os.Getuid() == 0 { // the sandbox refuses root
		opts = append(opts, chromedp.NoSandbox)
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		stop()
		stopAlloc()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return &Browser{t, ctx}
}

// Tab is one window with cookies of its own, as another person's browser.
type Tab struct {
	t   testing.TB
	ctx context.Context

	mu      sync.Mutex
	refused []string // what the content policy refused
	dialogs []string
	thrown  []string
}

// Tab opens a window.
func (b *Browser) Tab() *Tab {
	b.t.Helper()
	ctx, stop := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(stop)
	tab := &Tab{t: b.t, ctx: ctx}
	err := chromedp.Listen(ctx, func(ev any) {
		tab.mu.Lock()
		defer tab.mu.Unlock()
		switch ev := ev.(type) {
		case *audits.EventIssueAdded:
			if ev.Issue.Details != nil && ev.Issue.Details.ContentSecurityPolicyIssueDetails != nil {
				d := ev.Issue.Details.ContentSecurityPolicyIssueDetails
				tab.refused = append(tab.refused, fmt.Sprint(d.ViolatedDirective, " ", d.BlockedURL, " ", d.ContentSecurityPolicyViolationType))
			}
		case *page.EventJavascriptDialogOpening:
			tab.dialogs = append(tab.dialogs, ev.Message)
		case *runtime.EventExceptionThrown:
			tab.thrown = append(tab.thrown, ev.ExceptionDetails.Text)
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	tab.Call(func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{})
		return err
	})
	tab.Desktop()
	return tab
}

// Call runs something in the window, within Patience.
func (tab *Tab) Call(fn func(ctx context.Context) error) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, Patience)
	defer cancel()
	if err := fn(ctx); err != nil {
		tab.t.Fatalf("in the browser, at %s: %v", tab.Path(), err)
	}
}

// Do runs actions.
func (tab *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	tab.Call(func(ctx context.Context) error { return chromedp.Do(ctx, actions...) })
}

// Desktop and Phone are sizes of the window.
func (tab *Tab) Desktop() { tab.Do(chromedp.EmulateViewport(1280, 900)) }

// Phone is a narrow window.
func (tab *Tab) Phone() { tab.Do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile)) }

// Prefer sets a preference that style sheets ask for, such as prefers-color-scheme: dark.
func (tab *Tab) Prefer(name, value string) {
	tab.t.Helper()
	tab.Call(func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: name, Value: value}}})
		return err
	})
}

// Zone is the time zone of the person at the window.
func (tab *Tab) Zone(name string) {
	tab.t.Helper()
	tab.Call(func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
		return err
	})
}

// Open loads an address.
func (tab *Tab) Open(address string) {
	tab.t.Helper()
	tab.Do(chromedp.Navigate(address))
}

// Press clicks on what a selector finds, and waits until the page that follows is there.
func (tab *Tab) Press(selector string) {
	tab.t.Helper()
	tab.Call(func(ctx context.Context) error {
		_, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)))
		return err
	})
}

// Type writes into a field, key by key.
func (tab *Tab) Type(selector, text string) {
	tab.t.Helper()
	tab.Do(chromedp.Focus(chromedp.CSS(selector), chromedp.NodeVisible), chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Choose sets a select to a value, and a box or a choice to checked.
func (tab *Tab) Choose(selector, value string) {
	tab.t.Helper()
	tab.Eval(fmt.Sprintf(`(() => { const e = document.querySelector(%q); if (!e) throw new Error('no such field'); if (e.type === 'checkbox' || e.type === 'radio') e.checked = true; else e.value = %q; return ''; })()`, selector, value))
}

// Eval returns what an expression is, as text.
func (tab *Tab) Eval(expression string) string {
	tab.t.Helper()
	out := ""
	tab.Call(func(ctx context.Context) (err error) {
		out, err = chromedp.Run(ctx, chromedp.Evaluate[string](expression))
		return err
	})
	return out
}

// Text is what a person reads on the page.
func (tab *Tab) Text() string {
	tab.t.Helper()
	return tab.Eval("document.body.innerText")
}

// Path is where the window is, without the origin.
func (tab *Tab) Path() string {
	ctx, cancel := context.WithTimeout(tab.ctx, Patience)
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return "?"
	}
	if _, rest, ok := strings.Cut(at, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
	}
	return at
}

// Eventually waits until an expression is true.
func (tab *Tab) Eventually(expression string) {
	tab.t.Helper()
	tab.Call(func(ctx context.Context) error {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression))
		return err
	})
}

// Refused is what the content policy refused so far, and what the page threw or asked in
// dialogs: on a page that is well, nothing.
func (tab *Tab) Refused() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	out := append([]string{}, tab.refused...)
	for _, d := range tab.dialogs {
		out = append(out, "a dialog: "+d)
	}
	for _, x := range tab.thrown {
		out = append(out, "an exception: "+x)
	}
	return out
}

//go:embed check.js
var check string

// Findings looks over the page as it is shown now: names of fields and buttons, headings,
// tables, contrast, width, targets. It returns what is wrong.
func (tab *Tab) Findings() []string {
	tab.t.Helper()
	var out []string
	tab.Call(func(ctx context.Context) (err error) {
		out, err = chromedp.Run(ctx, chromedp.Evaluate[[]string](check))
		return err
	})
	return out
}

// Shot keeps a picture of the whole page, where somebody asked for pictures.
func (tab *Tab) Shot(name string) {
	tab.t.Helper()
	dir := os.Getenv(Shots)
	if dir == "" {
		return
	}
	tab.Call(func(ctx context.Context) error {
		b, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name+".png"), b, 0o644)
	})
}
