package rocketchat

import (
	"encoding/json"
	"slices"
	"testing"

	"cobrowse-bridge/bridge/browsertest"
)

// A hostile page throws where a script does not expect it. The page script must throw nothing
// into the page, and tell the key to each widget that works.
func TestHostilePagesInEveryEngine(t *testing.T) {
	t.Parallel()
	const (
		chat    = `widget.snippet(); widget.arrives();`
		upscope = `upscope.snippet(); Upscope("init"); upscope.arrives();`
		// tells gives the script, after it has loaded, two commands at once.
		tells = `window.CobrowseBridge.push({}, {identities: ["Ann Lee"]}); await clock.pass(1000);`
		// once checks that the script is registered once at each widget.
		once = `for (const all of [upscope.listeners.connection, widget.callbacks.started]) if (all?.length !== 1) wrong.push("registered " + all?.length);`
	)
	browsertest.ResultsInEveryEngine(t, func(t *testing.T, result func(testing.TB, string) string) {
		s := serveStreet(t)
		run := func(t *testing.T, steps string) (got state) {
			t.Helper()
			text := result(t, browsertest.StepsAt(s.steps, "localStorage.clear();"+s.tag+steps+returnState))
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("the page shows %q", text)
			}
			return got
		}
		for name, steps := range map[string]string{
			"the widgets cannot be read for half a minute": snippets + `upscope.arrives(); widget.arrives();
				unreadable(window, "Upscope", 30000); unreadable(window, "RocketChat", 30000); await bridge(); await clock.pass(31000);` + later,
			"Upscope cannot be read for half a minute": snippets + `upscope.arrives(); widget.arrives();
				unreadable(window, "Upscope", 30000); await bridge();` + later,
			"nothing of Upscope's function can be read":      arrivesBefore(`opaque("Upscope", "q", "_config", "_version");`) + later,
			"the queue of Upscope's function cannot be read": arrivesBefore(`opaque("Upscope", "q");`) + later,
			"the queue cannot be read, and the customer signs out": arrivesBefore(`opaque("Upscope", "q");`) + later + `CobrowseBridge.push({forget: true});` + later +
				`for (const v of Object.values(kept("visitors", {}))) if (v.had.length > 1) wrong.push("a visitor has had " + v.had);`,
			"new functions at each access": snippets + `upscope.arrives(); widget.arrives();
				alwaysNew("Upscope"); alwaysNew("RocketChat"); await bridge();` + later + once,
			"elements with the ids of the widgets": `hasElement("a", {id: "Upscope"}); hasElement("a", {id: "RocketChat"}); await bridge(); await clock.pass(3000);` + upscope + `delete window.RocketChat;` + chat + later,
			"storage returns other things":         `Object.defineProperty(window, "localStorage", {value: {getItem: () => ({}), setItem() {}, removeItem() {}}});` + arrival + later,
			"a form hides document.addEventListener": `hasElement("form", {name: "addEventListener"}); await bridge(); await clock.pass(300000);
				document.body.click(); await clock.pass(700);` + upscope + chat + later,
			"CobrowseBridge is not readable": `unreadable(window, "CobrowseBridge");` + arrival + later,
			"CobrowseBridge is frozen":       `window.CobrowseBridge = Object.freeze([{code: false}]);` + arrival + later,
		} {
			t.Run(name, func(t *testing.T) { run(t, steps).agreed(t) })
		}
		for name, steps := range map[string]string{
			"an element":                 `hasElement("a", {id: "CobrowseBridge"});` + arrival,
			"a form":                     `hasElement("form", {id: "CobrowseBridge", innerHTML: "<input name=push><input name=forget>"});` + arrival,
			"two elements":               `hasElement("a", {id: "CobrowseBridge"}); hasElement("p", {id: "CobrowseBridge"});` + arrival,
			"a frame":                    `hasElement("iframe", {name: "CobrowseBridge"});` + arrival,
			"settings":                   `window.CobrowseBridge = {field: "upscope_key"};` + arrival,
			"a read-only array":          `readOnly("CobrowseBridge", []);` + arrival,
			"a read-only array, twice":   `readOnly("CobrowseBridge", []);` + arrival + `await bridge();`,
			"an array without a setter":  `noSetter("CobrowseBridge", []);` + arrival,
			"a frozen array":             `window.CobrowseBridge = Object.freeze([null]);` + arrival,
			"an array that the page has": `const mine = window.CobrowseBridge = [];` + arrival + `await clock.pass(1000); window.CobrowseBridge = mine;`,
		} {
			t.Run("CobrowseBridge is "+name, func(t *testing.T) {
				got := run(t, steps+later+tells+once)
				got.wantNamed(t, got.agreed(t))
			})
		}
		for name, commands := range map[string]string{
			"no getters":                `{identities: ["Ann Lee"]}`,
			"a getter that throws":      `{get code() { throw new Error("no"); }, identities: ["Ann Lee"]}`,
			"a getter before and after": `{get field() { throw new Error("no"); }}, {identities: ["Ann Lee"]}, {get forget() { throw new Error("no"); }}`,
			"no prototype":              `Object.assign(Object.create(null), {identities: ["Ann Lee"]})`,
			"an unwilling object":       `unwilling(), {identities: ["Ann Lee"]}, unwilling()`,
			"nothing and other types":   `null, undefined, 7, "forget", {identities: ["Ann Lee"]}, Symbol("x"), () => 1`,
		} {
			t.Run("before: "+name, func(t *testing.T) {
				got := run(t, `window.CobrowseBridge = [`+commands+`];`+arrival+later)
				got.wantNamed(t, got.agreed(t))
			})
			t.Run("after: "+name, func(t *testing.T) {
				got := run(t, arrival+later+`CobrowseBridge.push(`+commands+`);`+later)
				got.wantNamed(t, got.agreed(t))
			})
		}
		t.Run("identities that cannot be read do not cost the key", func(t *testing.T) {
			run(t, `window.CobrowseBridge = [{identities: new Proxy([], {get() { throw new Error("no"); }})}];`+arrival+later).agreed(t)
		})
		for name, broken := range map[string]string{
			"a getter that throws": `unreadable(window, "Upscope");`,
			"a class":              `window.Upscope = class {};`,
			"unwilling":            `window.Upscope = new Proxy(() => 1, {get() { throw new Error("no"); }, apply() { throw new Error("no"); }});`,
		} {
			t.Run("Upscope is "+name+", and the chat has the key", func(t *testing.T) {
				got := run(t, broken+chat+`await bridge();`+later)
				got.harmless(t)
				if got.Key == "" || got.Guest["upscope_key"] != got.Key {
					t.Errorf("the key is %q, Rocket.Chat has %v", got.Key, got.Guest)
				}
			})
		}
		for name, broken := range map[string]string{
			"a getter that throws": `unreadable(window, "RocketChat");`,
			"a class":              `window.RocketChat = class {};`,
		} {
			t.Run("RocketChat is "+name+", and Upscope has the key", func(t *testing.T) {
				got := run(t, broken+upscope+`await bridge(); await clock.pass(30000);`)
				got.harmless(t)
				got.hasKey(t, got.Key)
			})
		}
		const noRandom = `crypto.getRandomValues = () => { throw new Error("no random numbers"); };`
		t.Run("without random numbers there is no key", func(t *testing.T) {
			got := run(t, snippets+`upscope.arrives(); widget.arrives(); await clock.pass(2000);`+noRandom+`await bridge();`+later)
			got.wantNoKey(t)
		})
		t.Run("without random numbers the next person has no key", func(t *testing.T) {
			got := run(t, arrival+later+noRandom+`CobrowseBridge.push({forget: true});`+later)
			if got.Key != "" || got.Visitor != nil && len(got.Visitor.IntegrationIDs) > 0 {
				t.Errorf("the key %q stays, Upscope has %+v", got.Key, got.Visitor)
			}
			got.harmless(t)
		})
	})
}

// arrivesBefore returns steps with which both widgets arrive and connect, then change runs,
// and then the bridge's script arrives.
func arrivesBefore(change string) string {
	return snippets + `upscope.arrives(); widget.arrives(); await clock.pass(1000);` + change + `await bridge(); await clock.pass(10000);`
}

// wantNamed checks that Upscope has the identity of Ann Lee and the key.
func (s state) wantNamed(t testing.TB, key string) {
	t.Helper()
	if want := []string{"Ann Lee", "rocketchat:" + key}; s.Visitor == nil || !slices.Equal(s.Visitor.Identities, want) {
		t.Errorf("Upscope has %+v, want the identities %q", s.Visitor, want)
	}
}

// wantNoKey checks that the page has no errors and no key.
func (s state) wantNoKey(t testing.TB) {
	t.Helper()
	s.harmless(t)
	if s.Key != "" || len(s.Guest) > 0 || s.Visitor != nil && len(s.Visitor.IntegrationIDs) > 0 {
		t.Errorf("the key is %q, Rocket.Chat has %v, Upscope %+v", s.Key, s.Guest, s.Visitor)
	}
}
