// Package browsertest drives WebKitGTK, Firefox and Chromium in tests, with the input
// events of a mouse and a keyboard.
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

// An Engine is what shows pages and sends requests in a browser.
type Engine string

// The engines. BRIDGE_TEST_BROWSERS lists those that tests run in, such as
// webkit,chromium.
const (
	WebKit   Engine = "webkit"
	Firefox  Engine = "firefox"
	Chromium Engine = "chromium"
)

// Engines are all of them.
var Engines = []Engine{WebKit, Firefox, Chromium}

// patience is the time limit of each call, and of each condition that is waited for.
const patience = 30 * time.Second

// A Browser is a running browser with a profile of its own. It is for one goroutine.
// What fails in it ends the test.
type Browser struct {
	testing.TB
	Engine Engine
	remote remote
}

// Start starts an engine, which ends with the test. It skips the test unless
// BRIDGE_TEST_BROWSERS names the engine, and fails it if the engine's programs are missing.
func Start(t testing.TB, engine Engine) *Browser {
	t.Helper()
	if !wanted(engine) {
		t.Skip("BRIDGE_TEST_BROWSERS does not name " + engine)
	}
	paths, err := find(engine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	r, err := open(ctx, t, engine, paths)
	if err != nil {
		t.Fatalf("start %s: %v", engine, err)
	}
	return &Browser{TB: t, Engine: engine, remote: r}
}

// With is the same browser in another test, such as a subtest.
func (b *Browser) With(t testing.TB) *Browser {
	other := *b
	other.TB = t
	return &other
}

// call runs a command.
func (b *Browser) call(command string, params object, result any) error {
	return b.callFor(patience, command, params, result)
}

// probe runs a command that asks the page for something, which may be on its way out.
// WebKit loses some of those, so that they have to be asked again.
func (b *Browser) probe(command string, params object, result any) error {
	limit := patience
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

// must ends the test with what was done and the page, if err is not nil.
func (b *Browser) must(err error, did string, args ...any) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %s: %v\n%s", b.Engine, fmt.Sprintf(did, args...), err, b.page())
	}
}

// page describes the page that is open.
func (b *Browser) page() string {
	var address, text string
	_ = b.call("GetCurrentURL", nil, &address)
	if err := b.call("ExecuteScript", object{"script": "return document.body.innerText", "args": []any{}}, &text); err != nil {
		text = err.Error()
	}
	return "The page at " + address + " says:\n" + text
}

// wait waits until a condition holds. What it returns says what is missing.
func (b *Browser) wait(what string, holds func() error) {
	b.Helper()
	var err error
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(25 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	b.must(err, "waited in vain for %s", what)
}

// Open opens an address as if it was typed, and waits until the page is loaded.
func (b *Browser) Open(address string) {
	b.Helper()
	b.Loads(func() { b.must(b.call("Navigate", object{"url": address}, nil), "open %s", address) })
}

// Loads does something that leads to another page, and waits until that is loaded.
func (b *Browser) Loads(do func()) {
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
			if !goneElement(err) {
				return err
			}
		}
		return nil
	})
	b.loaded()
}

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

// elementKey is what WebDriver has elements under.
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

// quoted is a text as XPath has it.
func quoted(text string) string {
	if strings.Contains(text, `"`) {
		return `'` + text + `'`
	}
	return `"` + text + `"`
}

// button is the XPath of buttons and links with this text. A text that ends in … is
// the beginning of theirs.
func button(text string) string {
	is := `=` + quoted(text)
	if begin, more := strings.CutSuffix(text, "…"); more {
		return `//*[self::a or self::button or self::summary][starts-with(normalize-space(), ` + quoted(begin) + `)]`
	}
	return `//*[self::a or self::button or self::summary][normalize-space()` + is + ` or @aria-label` + is + `]`
}

// field is the XPath of what the labels with this text in them are for.
func field(label string) string {
	has := `[contains(normalize-space(), ` + quoted(label) + `)]`
	return `//*[self::input or self::textarea or self::select][@id=//label` + has + `/@for or ancestor::label` + has + `]`
}

var errNone = errors.New("there is none")

// shown waits for an element that is displayed.
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
		return cmp.Or(err, errNone)
	})
	return element
}

// Click clicks the button or the link with one of these texts, whichever is shown.
func (b *Browser) Click(texts ...string) {
	b.Helper()
	var paths []string
	for _, text := range texts {
		paths = append(paths, button(text))
	}
	b.click(fmt.Sprintf("the button %q", texts), strings.Join(paths, " | "))
}

// click clicks an element, which a script of the page may replace at any time.
func (b *Browser) click(what, path string) {
	b.Helper()
	b.wait(what+" to be clicked", func() error {
		err := b.call("ElementClick", object{"element": b.shown(what, path)}, nil)
		if err != nil && !goneElement(err) {
			b.must(err, "click %s", what)
		}
		return err
	})
}

// betweenClicks is the time between the clicks of a double click, in milliseconds.
const betweenClicks = 100

// DoubleClick clicks the button or the link with this text twice, as a person does. The
// page has to be there for that long.
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

// The keys of WebDriver that tests need.
const (
	Tab   = "\uE004"
	Enter = "\uE007"
)

// Press presses keys, one after the other, wherever the focus is.
func (b *Browser) Press(keys ...string) {
	b.Helper()
	var actions []any
	for _, key := range keys {
		actions = append(actions, object{"type": "keyDown", "value": key}, object{"type": "keyUp", "value": key})
	}
	b.must(b.call("PerformActions", object{"actions": []any{object{"type": "key", "id": "keyboard", "actions": actions}}}, nil), "press %q", keys)
}

// Enter goes to the button or the link with this text by Tab, and presses Enter.
func (b *Browser) Enter(text string) {
	b.Helper()
	b.shown("the button "+strconv.Quote(text), button(text))
	wanted, err := b.elements(button(text))
	b.must(err, "look for %q", text)
	for range 100 {
		b.Press(Tab)
		var at map[string]string
		b.must(b.call("GetActiveElement", nil, &at), "ask for what has the focus")
		if slices.Contains(wanted, at[elementKey]) {
			b.Press(Enter)
			return
		}
	}
	b.must(errors.New("100 tabs did not get there"), "go to %q", text)
}

// Choose clicks the label with this text in it, of a box to tick.
func (b *Browser) Choose(label string) {
	b.Helper()
	b.click("the choice "+strconv.Quote(label), `//label[contains(normalize-space(), `+quoted(label)+`)]`)
}

// Type replaces what is in the field with this text in its label.
func (b *Browser) Type(label, text string) {
	b.Helper()
	element := b.shown("the field "+strconv.Quote(label), field(label))
	b.must(b.call("ElementClear", object{"element": element}, nil), "empty %q", label)
	b.must(b.call("ElementSendKeys", object{"element": element, "text": text}, nil), "type into %q", label)
}

// Back, Forward and Reload do what the buttons of the browser do.
func (b *Browser) Back() {
	b.Helper()
	b.must(b.call("Back", nil, nil), "go back")
}

// Forward is explained at Back.
func (b *Browser) Forward() {
	b.Helper()
	b.must(b.call("Forward", nil, nil), "go forward")
}

// Reload is explained at Back.
func (b *Browser) Reload() {
	b.Helper()
	b.must(b.call("Refresh", nil, nil), "reload")
}

// NewTab does something that opens a tab, goes to that, and waits until it is loaded.
func (b *Browser) NewTab(do func()) {
	b.Helper()
	before := b.Tabs()
	do()
	b.wait("a new tab", func() error {
		for _, tab := range b.Tabs() {
			if !slices.Contains(before, tab) {
				b.SwitchTo(tab)
				var address string
				if err := b.call("GetCurrentURL", nil, &address); err != nil || address == "" || address == "about:blank" {
					return fmt.Errorf("the tab is at %q, error %w", address, err)
				}
				return nil
			}
		}
		return errNone
	})
	b.loaded()
}

// Reset leaves one tab, opens an address in it, and deletes the cookies that this gets.
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

// Tabs are the open tabs.
func (b *Browser) Tabs() (tabs []string) {
	b.Helper()
	b.must(b.call("GetWindowHandles", nil, &tabs), "list the tabs")
	return tabs
}

// Tab is the tab that is driven.
func (b *Browser) Tab() (tab string) {
	b.Helper()
	b.must(b.call("GetWindowHandle", nil, &tab), "ask for the tab")
	return tab
}

// SwitchTo goes to another tab.
func (b *Browser) SwitchTo(tab string) {
	b.Helper()
	b.must(b.call("SwitchToWindow", object{"handle": tab}, nil), "go to a tab")
}

// Title is the page's title.
func (b *Browser) Title() (title string) {
	b.Helper()
	b.must(b.call("GetTitle", nil, &title), "ask for the title")
	return title
}

// URL is the page's address.
func (b *Browser) URL() (address string) {
	b.Helper()
	b.must(b.call("GetCurrentURL", nil, &address), "ask for the address")
	return address
}

// Text is what a person can read on the page.
func (b *Browser) Text() (text string) {
	b.Helper()
	b.must(json.Unmarshal(b.Script("return document.body.innerText"), &text), "read the page")
	return text
}

// See waits until the page has these texts.
func (b *Browser) See(texts ...string) {
	b.Helper()
	for _, text := range texts {
		b.wait("the text "+strconv.Quote(text), func() error {
			var body string
			err := b.probe("ExecuteScript", object{"script": "return document.body.innerText", "args": []any{}}, &body)
			if err == nil && !strings.Contains(body, text) {
				err = errors.New("the page does not have it")
			}
			return err
		})
	}
}

// Script runs the body of a function in the page, as no person's doing, and returns
// what it returns.
func (b *Browser) Script(body string) (value json.RawMessage) {
	b.Helper()
	b.must(b.call("ExecuteScript", object{"script": body, "args": []any{}}, &value), "run %s", body)
	return value
}

// A Cookie is one that the page's address gets.
type Cookie struct {
	Name, Value string
}

// Cookies are those that the page's address gets.
func (b *Browser) Cookies() (cookies []Cookie) {
	b.Helper()
	b.must(b.call("GetCookies", nil, &cookies), "list the cookies")
	return cookies
}

// DeleteCookies deletes the cookies that the page's address gets.
func (b *Browser) DeleteCookies() {
	b.Helper()
	b.must(b.call("DeleteAllCookies", nil, nil), "delete the cookies")
	// WebKit answers before they are deleted, and would delete the next page's as well.
	b.wait("cookies to be deleted", func() error {
		var left []Cookie
		err := b.probe("GetCookies", nil, &left)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there are %d", len(left))
		}
		return err
	})
}
