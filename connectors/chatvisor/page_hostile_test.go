package chatvisor

import (
	"encoding/json"
	"slices"
	"testing"

	"cobrowse-bridge/bridge/browsertest"
)

// A hostile page throws where a script does not expect it. The page script must throw nothing
// into the page, and go on.
func TestHostilePagesInEveryEngine(t *testing.T) {
	t.Parallel()
	const (
		widgets = upscopeComes + `chatvisor.arrives();`
		both    = widgets + `await bridge();`
		// tells gives the script two objects at once, after it has loaded.
		tells = `window.CobrowseChatvisor.push({}, {externalId: "4711"}); await clock.pass(20000);`
		// once checks that the script is registered once at Upscope.
		once = `if (upscope.listeners.connection?.length !== 1) wrong.push("registered " + upscope.listeners.connection?.length);`
	)
	browsertest.ResultsInEveryEngine(t, func(t *testing.T, result func(testing.TB, string) string) {
		s := serveShop(t)
		run := func(t *testing.T, steps string) (got pageState) {
			t.Helper()
			text := result(t, browsertest.StepsAt(s.steps, "localStorage.clear();"+s.load+steps+returnState))
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("the page shows %q", text)
			}
			got.harmless(t)
			return got
		}
		for name, steps := range map[string]string{
			"Upscope cannot be read for half a minute":       widgets + `unreadable(window, "Upscope", 30000); await bridge();` + siteSays + later,
			"Chatvisor cannot be read for half a minute":     `unreadable(window, "CV", 30000);` + siteSays + both + later,
			"Chatvisor's user cannot be read for 30 seconds": siteSays + widgets + `unreadable(CV, "user", 30000); await bridge();` + later,
			"nothing of Upscope's function can be read":      widgets + `await clock.pass(1000); opaque("Upscope", "q", "_config", "_version"); await bridge();` + siteSays + later,
			"the queue of Upscope's function cannot be read": widgets + `await clock.pass(1000); opaque("Upscope", "q"); await bridge();` + siteSays + later,
			"new functions at each access":                   widgets + `alwaysNew("Upscope"); await bridge();` + siteSays + later + once,
			"elements with the ids of the widgets":           `hasElement("a", {id: "Upscope"}); hasElement("a", {id: "CV"}); await bridge();` + siteSays + later + widgets,
			"storage cannot be read":                         `blockStorage();` + siteSays + both,
			"a form hides document.addEventListener": `hasElement("form", {name: "addEventListener"});` + siteSays + `await bridge(); await clock.pass(300000);
				document.body.click(); await clock.pass(700);` + widgets,
			"CVLoaded cannot be replaced": `readOnly("CVLoaded", () => { chatvisor.calls.push("site"); });` + siteSays + `await bridge();` + widgets,
			"CVLoaded has no setter":      `noSetter("CVLoaded", () => { chatvisor.calls.push("site"); });` + siteSays + `await bridge();` + widgets,
			"CVLoaded cannot be read":     `unreadable(window, "CVLoaded", 500);` + siteSays + `await bridge(); await clock.pass(1000);` + widgets,
			"CVLoaded is an element":      `hasElement("a", {id: "CVLoaded"});` + siteSays + `await bridge();` + widgets,
		} {
			t.Run(name, func(t *testing.T) { run(t, steps+later).wantID(t, "chatvisorext:4711") })
		}
		t.Run("Chatvisor can never be read", func(t *testing.T) {
			run(t, `unreadable(window, "CV");`+siteSays+both+`CobrowseChatvisor.push({forget: true});`+later).wantID(t, "")
		})
		for name, steps := range map[string]string{
			"an element":                 `hasElement("a", {id: "CobrowseChatvisor"});` + both,
			"a form":                     `hasElement("form", {id: "CobrowseChatvisor", innerHTML: "<input name=push><input name=forget>"});` + both,
			"two elements":               `hasElement("a", {id: "CobrowseChatvisor"}); hasElement("p", {id: "CobrowseChatvisor"});` + both,
			"settings":                   `window.CobrowseChatvisor = {externalId: "1"};` + both,
			"a read-only array":          `readOnly("CobrowseChatvisor", []);` + both,
			"a read-only array, twice":   `readOnly("CobrowseChatvisor", []);` + both + `await bridge();`,
			"an array without a setter":  `noSetter("CobrowseChatvisor", []);` + both,
			"a frozen array":             `window.CobrowseChatvisor = Object.freeze([null]);` + both,
			"an array that the page has": `const mine = window.CobrowseChatvisor = [];` + both + `window.CobrowseChatvisor = mine;`,
		} {
			t.Run("CobrowseChatvisor is "+name, func(t *testing.T) {
				run(t, steps+later+tells+once).wantID(t, "chatvisorext:4711")
			})
		}
		for name, objects := range map[string]string{
			"no getters":                 `{externalId: "1"}, {externalId: "4711"}`,
			"no prototype":               `Object.assign(Object.create(null), {externalId: "4711"})`,
			"its own hasOwnProperty":     `{externalId: "4711", hasOwnProperty: 1}`,
			"an object of a class":       `new (class { get externalId() { return "4711"; } })()`,
			"other getters that throw":   `{externalId: "4711", get forget() { throw new Error("no"); }, get identities() { throw new Error("no"); }}`,
			"unwilling objects":          `unwilling(), {externalId: "4711"}, unwilling()`,
			"nothing and other types":    `null, undefined, 7, {externalId: "4711"}, "externalId", Symbol("x"), () => 1`,
			"identities that throw":      `{externalId: "4711", identities: new Proxy([], {get() { throw new Error("no"); }})}`,
			"an id that throws, then it": `{get externalId() { throw new Error("no"); }}, {externalId: "4711"}`,
		} {
			t.Run("before: "+name, func(t *testing.T) {
				run(t, `window.CobrowseChatvisor = [`+objects+`];`+both+later).wantID(t, "chatvisorext:4711")
			})
			t.Run("after: "+name, func(t *testing.T) {
				run(t, both+later+`CobrowseChatvisor.push(`+objects+`);`+later).wantID(t, "chatvisorext:4711")
			})
		}
		t.Run("an id that throws removes the former id", func(t *testing.T) {
			run(t, both+later+siteSays+later+`CobrowseChatvisor.push({get externalId() { throw new Error("no"); }});`+later).wantID(t, "")
		})
		t.Run("a log-out with a queue that cannot be read", func(t *testing.T) {
			got := run(t, widgets+`await clock.pass(1000); opaque("Upscope", "q"); await bridge();`+siteSays+later+
				`CobrowseChatvisor.push({forget: true}, {externalId: "4712"});`+later)
			got.wantID(t, "chatvisorext:4712")
			for id, v := range got.Visitors {
				if slices.Contains(v.Had, "chatvisorext:4711") && slices.Contains(v.Had, "chatvisorext:4712") {
					t.Errorf("visitor %s has had the ids of two customers: %q", id, v.Had)
				}
			}
		})
	})
}
