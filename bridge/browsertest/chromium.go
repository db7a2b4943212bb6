package browsertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/testmain"

	"github.com/chromedp/chromedp"
)

// chromium is the browser that all tests of a program share. To start a browser takes longer
// than most tests.
var chromium struct {
	once sync.Once
	ctx  context.Context
	err  error
	end  func()
}

// errNoChromium means that there is no Chromium on this machine.
var errNoChromium = errors.New("no Chromium on this machine (apt-get install chromium)")

// SharedChromium returns the context of the Chromium that all tests of the program share. It
// skips the test if there is no Chromium. Tests open tabs with chromedp.WithNewBrowserContext,
// so that each has its own cookies and storage. The program's TestMain must use Main.
func SharedChromium(t testing.TB) context.Context {
	t.Helper()
	chromium.once.Do(func() { chromium.ctx, chromium.end, chromium.err = startChromium() })
	if errors.Is(chromium.err, errNoChromium) {
		t.Skip(chromium.err)
	}
	if chromium.err != nil {
		t.Fatalf("start Chromium: %v", chromium.err)
	}
	return chromium.ctx
}

// SharedTab opens a tab of SharedChromium with its own cookies and storage. It is closed when
// the test ends.
func SharedTab(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(SharedChromium(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	return ctx
}

// Main runs the tests of a program, as testing.M does, and then stops their Chromium.
type Main struct {
	*testing.M

	Parallel int // see testmain.Setup
}

// Run implements goleak.TestingM.
func (m Main) Run() int {
	testmain.Setup(m.Parallel)
	defer func() {
		if chromium.end != nil {
			chromium.end()
		}
	}()
	return m.M.Run()
}

func startChromium() (_ context.Context, end func(), err error) {
	var path string
	// The headless shell is the same engine without a window, and needs a fifth of the time.
	for _, name := range append([]string{"chromium-headless-shell", "chrome-headless-shell"}, programs[Chromium].lists[1]...) {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, nil, errNoChromium
	}
	profile, err := os.MkdirTemp("", "chromium-test-")
	if err != nil {
		return nil, nil, err
	}
	ctx, endProcess := chromedp.NewExecAllocator(context.Background(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // tests often run as root in a container
		chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(5*time.Minute),
	)...)
	ctx, endBrowser := chromedp.NewContext(ctx)
	end = func() {
		endBrowser()
		endProcess()
		_ = os.RemoveAll(profile)
	}
	if err := chromedp.Do(ctx); err != nil {
		end()
		return nil, nil, err
	}
	return ctx, end, nil
}
