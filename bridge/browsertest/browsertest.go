// Package browsertest controls WebKitGTK, Firefox and Chromium in tests, with the input events
// of a mouse and a keyboard. Start reading the code at browsertest.go.
package browsertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An Engine is a browser engine.
type Engine string

// The engines. BRIDGE_TEST_BROWSERS is the comma-separated list of engines to test, such as "webkit,chromium".
const (
	WebKit   Engine = "webkit"
	Firefox  Engine = "firefox"
	Chromium Engine = "chromium"
)

// Engines has all engines.
var Engines = []Engine{WebKit, Firefox, Chromium}

// timeout is the time limit for each call, and for each condition that a test waits for.
const timeout = 30 * time.Second

// A Browser is a running browser with its own profile, for one goroutine. Exported methods end the test if they fail.
type Browser struct {
	testing.TB        // the test that uses the browser
	Engine     Engine // what was started
	remote     remote
}

// Start starts an engine, and stops it when the test ends. It skips the test unless
// BRIDGE_TEST_BROWSERS names the engine, and fails the test if a program of the engine is missing.
func Start(t testing.TB, engine Engine) *Browser {
	t.Helper()
	if !enabled(engine) {
		t.Skip("BRIDGE_TEST_BROWSERS does not name " + engine)
	}
	paths, err := find(engine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
	defer cancel()
	r, err := open(ctx, t, engine, paths)
	if err != nil {
		t.Fatalf("start %s: %v", engine, err)
	}
	return &Browser{TB: t, Engine: engine, remote: r}
}

// ForTest returns the same browser for another test, such as a subtest.
func (b *Browser) ForTest(t testing.TB) *Browser {
	other := *b
	other.TB = t
	return &other
}

func (b *Browser) call(command string, params object, result any) error {
	return b.callFor(timeout, command, params, result)
}

// probe runs a command that reads from a page which may be unloading. WebKit sometimes does not answer such a command,
// so on WebKit it has a short limit. Call it only inside wait, which tries again.
func (b *Browser) probe(command string, params object, result any) error {
	limit := timeout
	if b.Engine == WebKit {
		limit = time.Second
	}
	return b.callFor(limit, command, params, result)
}

func (b *Browser) callFor(limit time.Duration, command string, params object, result any) error {
	ctx, cancel := context.WithTimeout(b.Context(), limit)
	defer cancel()
	return b.remote.call(ctx, command, params, result)
}

// must ends the test if err is not nil. The message contains the action, and the address and text of the page.
func (b *Browser) must(err error, action string, args ...any) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %s: %v\n%s", b.Engine, fmt.Sprintf(action, args...), err, b.page())
	}
}

// page returns the address and the text of the open page.
func (b *Browser) page() string {
	var address, text string
	_ = b.call("GetCurrentURL", nil, &address)
	if err := b.call("ExecuteScript", object{"script": "return document.body.innerText", "args": []any{}}, &text); err != nil {
		text = err.Error()
	}
	return "The page at " + address + " has the text:\n" + text
}

// wait waits until check returns nil. The error of check says what is missing.
func (b *Browser) wait(what string, check func() error) {
	b.Helper()
	var err error
	for until := time.Now().Add(timeout); time.Now().Before(until); {
		if err = check(); err == nil {
			return
		}
		<-time.After(25 * time.Millisecond)
	}
	b.must(err, "timed out waiting for %s", what)
}

// Open opens an address as if a person had typed it, and waits until the page is loaded.
func (b *Browser) Open(address string) {
	b.Helper()
	b.WaitForLoad(func() { b.must(b.call("Navigate", object{"url": address}, nil), "open %s", address) })
}

// WaitForLoad calls do, which must open another page, and waits until the old page is gone and the new one loaded.
func (b *Browser) WaitForLoad(do func()) {
	b.Helper()
	var before []string
	b.wait("the page", func() (err error) {
		before, err = b.elements("/*")
		return err
	})
	do()
	b.wait("another page", func() error {
		for _, root := range before {
			err := b.probe("GetElementTagName", object{"element": root}, nil)
			if err == nil {
				return errors.New("the page is still the same")
			}
			if !isElementGone(err) {
				return err
			}
		}
		return nil
	})
	b.loaded()
}

// loaded waits until the page is loaded.
func (b *Browser) loaded() {
	b.Helper()
	b.wait("the page to load", func() error {
		var state string
		err := b.probe("ExecuteScript", object{"script": "return document.readyState", "args": []any{}}, &state)
		if err == nil && state != "complete" {
			err = fmt.Errorf("the page is %s", state)
		}
		return err
	})
}

// elementKey is the JSON key of an element in WebDriver.
const elementKey = "element-6066-11e4-a52e-4f735466cecf"

// elements finds elements by XPath.
func (b *Browser) elements(path string) (ids []string, err error) {
	var found []map[string]string
	err = b.probe("FindElements", object{"using": "xpath", "value": path}, &found)
	for _, f := range found {
		ids = append(ids, f[elementKey])
	}
	return ids, err
}

// quoted returns a text as an XPath string. The text must not have both ' and ".
func quoted(text string) string {
	if strings.Contains(text, `"`) {
		return `'` + text + `'`
	}
	return `"` + text + `"`
}

// button returns the XPath of buttons, links and summaries with this text, as content or aria-label. If the text ends
// in …, their content must begin with the part before it.
func button(text string) string {
	equals := `=` + quoted(text)
	if begin, more := strings.CutSuffix(text, "…"); more {
		return `//*[self::a or self::button or self::summary][starts-with(normalize-space(), ` + quoted(begin) + `)]`
	}
	return `//*[self::a or self::button or self::summary][normalize-space()` + equals + ` or @aria-label` + equals + `]`
}

// field returns the XPath of fields whose label contains this text.
func field(label string) string {
	has := `[contains(normalize-space(), ` + quoted(label) + `)]`
	return `//*[self::input or self::textarea or self::select][@id=//label` + has + `/@for or ancestor::label` + has + `]`
}

var errNotFound = errors.New("not found")

// shown waits until an element of the path is displayed, and returns it.
func (b *Browser) shown(what, path string) (element string) {
	b.Helper()
	b.wait(what, func() error {
		ids, err := b.elements(path)
		for _, id := range ids {
			var displayed bool
			if err = b.probe("IsElementDisplayed", object{"element": id}, &displayed); err == nil && displayed {
				element = id
				return nil
			}
		}
		return cmp.Or(err, errNotFound)
	})
	return element
}

// Click clicks the button or link with one of these texts, whichever is displayed.
func (b *Browser) Click(texts ...string) {
	b.Helper()
	var paths []string
	for _, text := range texts {
		paths = append(paths, button(text))
	}
	b.click(fmt.Sprintf("the button %q", texts), strings.Join(paths, " | "))
}

// click clicks an element, and tries again if a script replaces it. shown ends the test if none is displayed in time.
func (b *Browser) click(what, path string) {
	b.Helper()
	b.wait(what+" to be clicked", func() error {
		err := b.call("ElementClick", object{"element": b.shown(what, path)}, nil)
		if err != nil && !isElementGone(err) {
			b.must(err, "click %s", what)
		}
		return err
	})
}

// betweenClicks is the time between the clicks of a double click, in milliseconds.
const betweenClicks = 100

// DoubleClick clicks the button or link with this text twice, as a person does. The first click
// must not replace the page.
func (b *Browser) DoubleClick(text string) {
	b.Helper()
	element := b.shown("the button "+strconv.Quote(text), button(text))
	down, up := object{"type": "pointerDown", "button": 0}, object{"type": "pointerUp", "button": 0}
	b.must(b.call("PerformActions", object{"actions": []any{object{
		"type": "pointer", "id": "mouse", "parameters": object{"pointerType": "mouse"},
		"actions": []any{
			object{"type": "pointerMove", "duration": 0, "origin": object{elementKey: element}, "x": 0, "y": 0},
			down, up, object{"type": "pause", "duration": betweenClicks}, down, up,
		},
	}}}, nil), "double click %q", text)
}

// The keys for Press, in WebDriver's encoding.
const (
	KeyTab   = "\uE004" // the Tab key
	KeyEnter = "\uE007" // the Enter key
)

// Press presses keys one after the other. They go to the element with the focus.
func (b *Browser) Press(keys ...string) {
	b.Helper()
	var actions []any
	for _, key := range keys {
		actions = append(actions, object{"type": "keyDown", "value": key}, object{"type": "keyUp", "value": key})
	}
	b.must(b.call("PerformActions", object{"actions": []any{object{"type": "key", "id": "keyboard", "actions": actions}}}, nil), "press %q", keys)
}

// FocusAndPressEnter moves the focus with Tab to the button or link with this text, and presses Enter.
func (b *Browser) FocusAndPressEnter(text string) {
	b.Helper()
	b.shown("the button "+strconv.Quote(text), button(text))
	wanted, err := b.elements(button(text))
	b.must(err, "look for %q", text)
	for range 100 {
		b.Press(KeyTab)
		var at map[string]string
		b.must(b.call("GetActiveElement", nil, &at), "get the element with the focus")
		if slices.Contains(wanted, at[elementKey]) {
			b.Press(KeyEnter)
			return
		}
	}
	b.must(errors.New("not reached by pressing Tab 100 times"), "go to %q", text)
}

// ClickLabel clicks the label that contains this text, to tick its box.
func (b *Browser) ClickLabel(label string) {
	b.Helper()
	b.click("the choice "+strconv.Quote(label), `//label[contains(normalize-space(), `+quoted(label)+`)]`)
}

// Type replaces the content of the field whose label contains this text.
func (b *Browser) Type(label, text string) {
	b.Helper()
	element := b.shown("the field "+strconv.Quote(label), field(label)+`[not(@type="radio" or @type="checkbox")]`)
	b.must(b.call("ElementClear", object{"element": element}, nil), "empty %q", label)
	b.must(b.call("ElementSendKeys", object{"element": element, "text": text}, nil), "type into %q", label)
}

// Back goes to the previous page. It does not wait; use WaitForLoad(b.Back).
func (b *Browser) Back() {
	b.Helper()
	b.must(b.call("Back", nil, nil), "go back")
}

// Reload loads the page again. It does not wait; use WaitForLoad(b.Reload).
func (b *Browser) Reload() {
	b.Helper()
	b.must(b.call("Refresh", nil, nil), "reload")
}

// ReloadUntil reloads the page until it has a button or link with this text.
func (b *Browser) ReloadUntil(text string) {
	b.Helper()
	b.wait("the button "+strconv.Quote(text)+" after a reload", func() error {
		b.WaitForLoad(b.Reload)
		ids, err := b.elements(button(text))
		if err == nil && len(ids) == 0 {
			err = errNotFound
		}
		return err
	})
}

// NewTab calls do, which must open a tab, switches to that tab, and waits until it is loaded.
func (b *Browser) NewTab(do func()) {
	b.Helper()
	before := b.Tabs()
	do()
	b.wait("a new tab", func() error {
		for _, tab := range b.Tabs() {
			if !slices.Contains(before, tab) {
				b.SwitchTo(tab)
				var address string
				if err := b.call("GetCurrentURL", nil, &address); err != nil {
					return err
				}
				if address == "" || address == "about:blank" {
					return fmt.Errorf("the tab is at %q", address)
				}
				return nil
			}
		}
		return errNotFound
	})
	b.loaded()
}

// Reset closes all tabs but one, opens an address in it, and deletes the cookies for that address.
func (b *Browser) Reset(address string) {
	b.Helper()
	tabs := b.Tabs()
	for _, tab := range tabs[1:] {
		b.SwitchTo(tab)
		b.must(b.call("CloseWindow", nil, nil), "close a tab")
	}
	b.SwitchTo(tabs[0])
	b.Open(address)
	b.DeleteCookies()
}

// Tabs returns the handles of the open tabs, for SwitchTo.
func (b *Browser) Tabs() (tabs []string) {
	b.Helper()
	b.must(b.call("GetWindowHandles", nil, &tabs), "list the tabs")
	return tabs
}

// Tab returns the handle of the current tab.
func (b *Browser) Tab() (tab string) {
	b.Helper()
	b.must(b.call("GetWindowHandle", nil, &tab), "get the tab")
	return tab
}

// SwitchTo switches to another tab.
func (b *Browser) SwitchTo(tab string) {
	b.Helper()
	b.must(b.call("SwitchToWindow", object{"handle": tab}, nil), "go to a tab")
}

// URL returns the address of the page.
func (b *Browser) URL() (address string) {
	b.Helper()
	b.must(b.call("GetCurrentURL", nil, &address), "get the address")
	return address
}

// WaitForText waits until the page contains each of these texts.
func (b *Browser) WaitForText(texts ...string) {
	b.Helper()
	for _, text := range texts {
		b.wait("the text "+strconv.Quote(text), func() error {
			var body string
			err := b.probe("ExecuteScript", object{"script": "return document.body.innerText", "args": []any{}}, &body)
			if err == nil && !strings.Contains(body, text) {
				err = errors.New("the page does not contain it")
			}
			return err
		})
	}
}

// Script runs the body of a function in the page, without user activation, and returns its result.
func (b *Browser) Script(body string) (value json.RawMessage) {
	b.Helper()
	b.must(b.call("ExecuteScript", object{"script": body, "args": []any{}}, &value), "run %s", body)
	return value
}

// DeleteCookies deletes the cookies for the address of the page.
func (b *Browser) DeleteCookies() {
	b.Helper()
	b.must(b.call("DeleteAllCookies", nil, nil), "delete the cookies")
	// WebKit answers before it has deleted the cookies, and may then also delete cookies that the next page sets.
	b.wait("cookies to be deleted", func() error {
		var left []json.RawMessage
		err := b.probe("GetCookies", nil, &left)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there are %d", len(left))
		}
		return err
	})
}
