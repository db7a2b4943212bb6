package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

// withEndpoint are rules with one endpoint at a path that no other test has.
func withEndpoint(name, text string) string { return "endpoints: {" + name + ": " + text + "}\n" }

func TestCustomersAreJoinedInTheOrderOfTheFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		join, external string
		want           bridge.Clues
	}{
		{"", "cust-77", bridge.Clues{IntegrationIDs: []string{"chatvisorext:cust-77", "chatvisor:c-1"}, LookupCode: "4821"}},
		{"", "4711", bridge.Clues{IntegrationIDs: []string{"chatvisorext:4711", "chatvisor:c-1"}, LookupCode: "4821"}}, // answered as a number
		{"", "", bridge.Clues{IntegrationIDs: []string{"chatvisor:c-1"}, LookupCode: "4821"}},
		{"", "ann@example.org", bridge.Clues{IntegrationIDs: []string{"chatvisor:c-1"}, LookupCode: "4821"}}, // no id that can be asked for
		{"join: [customer_id, external_id]", "cust-77", bridge.Clues{IntegrationIDs: []string{"chatvisor:c-1", "chatvisorext:cust-77"}}},
		{"join: [lookup_code]", "cust-77", bridge.Clues{LookupCode: "4821"}},
		{"join: [external_id, email]", "cust-77", bridge.Clues{IntegrationIDs: []string{"chatvisorext:cust-77"}, Email: "ann@example.org"}},
	} {
		d := newTenant(t, "odd"+c.join)
		d.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: c.external, Name: "Ann\u202e Silva\n", Email: "ann@example.org"})
		ask := d.ask(t, eventConversation, recorded(t, "text"))
		if fmt.Sprint(ask.Clues) != fmt.Sprint(c.want) || ask.Visitor != "Ann Silva" {
			t.Errorf("%s, %q: %+v for %q, want %+v", c.join, c.external, ask.Clues, ask.Visitor, c.want)
		}
		if strings.Contains(d.log.String(), "ann@example.org") {
			t.Error("an address is in the log")
		}
	}
}

func TestHooksThatComeTogetherShareWhatIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "odd")
		d.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77"})
		var all sync.WaitGroup
		for _, h := range d.Write("c-1", "hello") {
			all.Go(func() {
				if ask := d.ask(t, h.Event, string(h.Body)); len(ask.Clues.IntegrationIDs) != 2 {
					t.Errorf("%s: %+v", h.Event, ask)
				}
			})
		}
		all.Wait()
		d.ask(t, eventConversation, recorded(t, "text"))
		if n := len(d.Requests()); n != 1 {
			t.Errorf("%d requests for one customer", n)
		}
		<-time.After(customerLife)
		d.ask(t, eventConversation, recorded(t, "text"))
		if n := len(d.Requests()); n != 2 {
			t.Errorf("%d requests after a while, want 2", n)
		}
	})
}

func TestTheEndOfAConversationAsksNobody(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "odd")
	if ask := d.ask(t, eventStatus, recorded(t, "done")); ask.Verb != bridge.Close || len(d.Requests()) > 0 {
		t.Errorf("%+v after %q", ask, d.paths())
	}
}

func TestACustomerWhoIsGoneEndsTheDelivery(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "odd")
	r, _ := d.comes(eventConversation, recorded(t, "text"))
	_, err := d.Read(t.Context(), bridge.Delivery{Body: r.Body})
	if !bridge.IsPermanent(err) || !strings.Contains(err.Error(), "CHATVISOR_CONFIG") || strings.Contains(err.Error(), "c-1") {
		t.Errorf("%v", err)
	}
	for _, body := range []string{"", "{}", "[]", `{"event":"new-message"}`} {
		if _, err := d.Read(t.Context(), bridge.Delivery{Body: []byte(body)}); !bridge.IsPermanent(err) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestAListOfEventsBecomesADeliveryEachInItsOrder(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	d := newTenant(t, "", func(c *Config) { c.now = func() time.Time { return now } })
	// That c-1 was unread at first is over, as the list itself says.
	r, err := d.comes(eventStatus, strings.TrimSuffix(strings.TrimSpace(recorded(t, "several")), "]")+`,{"customerId":"c-1","status":"UNREAD"}]`)
	if err != nil || r.Key == "" {
		t.Fatal(r, err)
	}
	whole := bridge.Delivery{Key: r.Key, Body: r.Body, Received: now}
	if _, err := d.k.read(t.Context(), whole); err == nil {
		t.Error("the list is lost while nobody listens")
	} else if _, ok := bridge.RetryWait(err); !ok {
		t.Errorf("%v", err)
	}
	var asks []string
	keys := map[string]bool{}
	before := whole.Received.Add(-1)
	d.listens(func(_ context.Context, one bridge.Delivery) error {
		ask, err := d.k.read(t.Context(), one)
		if err != nil || !one.Received.After(before) || one.Received.Sub(whole.Received) > time.Millisecond || keys[one.Key] {
			t.Errorf("%+v: %v", one, err)
		}
		before, keys[one.Key] = one.Received.Truncate(time.Microsecond), true
		asks = append(asks, fmt.Sprint(ask.Verb, ask.Chat))
		return nil
	})
	if ask, err := d.k.read(t.Context(), whole); err != nil || ask.Verb != bridge.Nothing {
		t.Errorf("the list itself: %+v, %v", ask, err)
	}
	want := []string{fmt.Sprint(bridge.Start, "c-2"), fmt.Sprint(bridge.Close, "c-1"), fmt.Sprint(bridge.Start, "c-1")}
	if !slices.Equal(asks, want) {
		t.Errorf("%q, want %q", asks, want)
	}
	// One event of a list is the same delivery as it is alone.
	for _, body := range []string{`{"customerId":"c-1","status":"UNREAD"}`, `{"customerId":"c-2","status":"UNREAD"}`} {
		if alone, _ := d.comes(eventStatus, body); !keys[alone.Key] {
			t.Errorf("%s alone has another key than in a list", body)
		}
	}
	full := errors.New("the store is full")
	d.listens(func(context.Context, bridge.Delivery) error { return full })
	if _, err := d.k.read(t.Context(), whole); !errors.Is(err, full) {
		t.Errorf("a list that is not handed on: %v", err)
	}
}

// listens has deliveries taken as the bridge does while it runs.
func (d *tenant) listens(hand func(context.Context, bridge.Delivery) error) { d.k.hand.Store(&hand) }

func TestAConversationOfItsOwnHasAChatOfItsOwn(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "webhook: {mapping: {new-conversation: {conversation_id: talk}, status-change: {conversation_id: talk}, new-message: {conversation_id: talk}}}")
	for _, event := range []string{eventConversation, eventStatus, eventMessage} {
		if ask := d.ask(t, event, `{"customerId":"c-1","status":"UNREAD","talk":17}`); ask.Chat != "c-1/17" {
			t.Errorf("%s: %+v", event, ask)
		}
	}
	// Nothing is taken for a conversation without an id.
	for talk, wrong := range map[string]string{
		`"a/b"`: "with a conversation id of another form", `".."`: "with a conversation id of another form",
		`""`: "without a conversation id", `null`: "without a conversation id", `{"id":17}`: "without a conversation id",
	} {
		r, err := d.comes(eventStatus, `{"customerId":"c-1","status":"DONE","talk":`+talk+`}`)
		if err != nil || strings.Contains(string(r.Body), "c-1") || !strings.Contains(r.Note, wrong) || !strings.Contains(r.Note, " was left out; a body looks like {customerId: text, status: text, talk: ") {
			t.Errorf("%s: %+v, %v", talk, r, err)
		}
	}
}

func TestAnAgentIsLedIntoTheChatByAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	if newTenant(t, "").EnterChat != nil {
		t.Error("without an endpoint there is a way into the chat")
	}
	off := newTenant(t, withEndpoint("agent_chat_url", `{method: GET, path: "/x/{customerId}", result: url}`))
	if off.EnterChat != nil {
		t.Error("what is not enabled is done")
	}
	d := newTenant(t, "odd")
	bob := bridge.Agent{ID: "U1", Name: "Bob", Email: "Bob@Example.ORG"} // Chatvisor's addresses are in lower case
	address, err := d.EnterChat(t.Context(), "c-1/17", bob)
	if minted := d.Minted(); err != nil || len(minted) != 1 || address != minted[0] {
		t.Errorf("%q, %v; minted %q", address, err, minted)
	}
	if r := d.Requests()[0]; !strings.HasSuffix(r.Path, "/way/c-1") || string(r.Body) != `{"for":"bob@example.org"}` {
		t.Errorf("asked %s %s with %s", r.Method, r.Path, r.Body)
	}
	if again, err := d.EnterChat(t.Context(), "c-1", bob); err != nil || again == address {
		t.Errorf("the second time %q, %v", again, err)
	}
	if _, err := d.EnterChat(t.Context(), "c-1", bridge.Agent{ID: "U1"}); err == nil || len(d.Requests()) != 2 {
		t.Errorf("an agent without an address: %v", err)
	}
	if _, err := d.EnterChat(t.Context(), "../x", bob); err == nil || len(d.Requests()) != 2 {
		t.Errorf("a chat that is no customer: %v", err)
	}
	d.Site = "https://evil.example"
	if address, err := d.EnterChat(t.Context(), "c-1", bob); err == nil || address != "" || strings.Contains(err.Error(), "evil") {
		t.Errorf("another host: %q, %v", address, err)
	}
}

func TestAddressesOfChatsLeadToTheHostsOnly(t *testing.T) {
	t.Parallel()
	hosts := []string{"app.chatvisor.com", "127.0.0.1:8080"}
	for address, want := range map[string]bool{
		"https://app.chatvisor.com/x?a=b#c": true, "https://APP.chatvisor.com/": true, "http://127.0.0.1:8080/x": true, "https://127.0.0.1:8080/": true,
		"http://app.chatvisor.com/": false, "https://app.chatvisor.com:8443/": false, "https://a@app.chatvisor.com/": false,
		"https://app.chatvisor.com.evil.example/": false, "https://evil.example/app.chatvisor.com": false, `https://app.chatvisor.com\@evil.example/`: false,
		`https:\\evil.example`: false, "//app.chatvisor.com/": false, "javascript://app.chatvisor.com/%0aalert(1)": false, "https://app.chatvisor.com/\nx": false,
		"https://app.chatvisor.com/ä": false, "": false, "https://app.chatvisor.com/" + strings.Repeat("x", 2048): false, "https://sub.app.chatvisor.com/": false,
		"http://127.0.0.1/": false, "https://app.chatvisor.com%2eevil.example/": false,
	} {
		if got := chatURL(address, hosts); got != want {
			t.Errorf("%.80q: %v", address, got)
		}
	}
}

func TestARefusedTokenIsReadAnewFromItsFileOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	const former = "canary-former-token-Zoo2ahw"
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(former)
	d := newTenant(t, "odd", func(c *Config) { c.Token, c.TokenFile = former, file })
	d.AddCustomer(chatvisortest.Customer{ID: "c-1"})
	r, _ := d.comes(eventConversation, recorded(t, "text"))
	if _, err := d.Read(t.Context(), bridge.Delivery{Body: r.Body}); err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "CHATVISOR_TOKEN") {
		t.Errorf("with the former token: %v", err)
	}
	if n := len(d.Requests()); n != 1 {
		t.Errorf("%d requests with a token that is the same in its file", n)
	}
	write(apiToken)
	for range 2 {
		if _, err := d.Read(t.Context(), bridge.Delivery{Body: r.Body}); err != nil {
			t.Error(err)
		}
	}
	d.Check(t.Context())
	if n := len(d.Requests()); n != 4 {
		t.Errorf("%d requests, want 1, then 2 for the change, then 1", n)
	}
}

func TestTheTokenGoesIntoTheQueryWhereTheFileSaysSo(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{"": "Bearer " + apiToken + " ", "auth_style: query": " " + apiToken} {
		var got string
		d := newTenant(t, file, func(c *Config) {
			next := c.Transport
			c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				got = r.Header.Get("Authorization") + " " + r.URL.Query().Get("access_token")
				return next.RoundTrip(r)
			})
		})
		if _, err := d.k.api.do(t.Context(), customersPage(1)); err != nil || got != want {
			t.Errorf("%q: sent %q, %v", file, got, err)
		}
	}
}
