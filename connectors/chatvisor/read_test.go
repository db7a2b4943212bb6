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

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// withEndpoint returns a file with one endpoint.
func withEndpoint(name, text string) string { return "endpoints: {" + name + ": " + text + "}\n" }

func TestCluesHaveTheOrderOfTheFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		join, external string
		want           chat.Clues
	}{
		{"", "cust-77", chat.Clues{IntegrationIDs: []string{"chatvisorext:cust-77", "chatvisor:c-1"}, LookupCode: "4821"}},
		{"", "4711", chat.Clues{IntegrationIDs: []string{"chatvisorext:4711", "chatvisor:c-1"}, LookupCode: "4821"}}, // answered as a number
		{"", "", chat.Clues{IntegrationIDs: []string{"chatvisor:c-1"}, LookupCode: "4821"}},
		{"", "a.b@shop/1+2=3~4", chat.Clues{IntegrationIDs: []string{"chatvisorext:a.b@shop/1+2=3~4", "chatvisor:c-1"}, LookupCode: "4821"}},
		{"", "ann at home", chat.Clues{IntegrationIDs: []string{"chatvisor:c-1"}, LookupCode: "4821"}}, // not an id for Upscope
		{"", strings.Repeat("a", 201), chat.Clues{IntegrationIDs: []string{"chatvisor:c-1"}, LookupCode: "4821"}},
		{"join: [customer_id, external_id]", "cust-77", chat.Clues{IntegrationIDs: []string{"chatvisor:c-1", "chatvisorext:cust-77"}}},
		{"join: [lookup_code]", "cust-77", chat.Clues{LookupCode: "4821"}},
		{"join: [external_id, email]", "cust-77", chat.Clues{IntegrationIDs: []string{"chatvisorext:cust-77"}, Email: "ann@example.org"}},
	} {
		d := newTenant(t, "all-steps"+c.join)
		d.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: c.external, Name: "Ann\u202e Silva\n", Email: "ann@example.org"})
		ask := d.ask(t, rules.NewConversation, testBody(t, "text"))
		if fmt.Sprint(ask.Clues) != fmt.Sprint(c.want) || ask.Visitor != "Ann Silva" {
			t.Errorf("%s, %q: %+v for %q, want %+v", c.join, c.external, ask.Clues, ask.Visitor, c.want)
		}
		if strings.Contains(d.log.String(), "ann@example.org") {
			t.Error("an e-mail address is in the log")
		}
	}
}

func TestHooksThatArriveTogetherReadTheCustomerOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "all-steps")
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
		d.ask(t, rules.NewConversation, testBody(t, "text"))
		if n := len(d.Requests()); n != 1 {
			t.Errorf("%d requests for one customer, want 1", n)
		}
		<-time.After(customerTTL + customerTTL/10 + 1) // the cache adds up to a tenth
		d.ask(t, rules.NewConversation, testBody(t, "text"))
		if n := len(d.Requests()); n != 2 {
			t.Errorf("%d requests after the cache expired, want 2", n)
		}
	})
}

func TestTheEndOfAConversationMakesNoRequest(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "all-steps")
	if ask := d.ask(t, rules.StatusChange, testBody(t, "done")); ask.Verb != chat.Close || len(d.Requests()) > 0 {
		t.Errorf("%+v after %q", ask, d.paths())
	}
}

// A proxy that restarts may answer 404, and the vendor documents no code that proves more.
func TestACustomerThatIsNotFoundIsRetried(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "all-steps")
	r, _ := d.receive(rules.NewConversation, testBody(t, "text"))
	_, err := d.Read(t.Context(), chat.Delivery{Body: r.Body})
	if err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "CHATVISOR_CONFIG") || strings.Contains(err.Error(), "c-1") {
		t.Errorf("a deleted customer: %v", err)
	}
	d.AddCustomer(chatvisortest.Customer{ID: "c-1", Name: "Ann"})
	if ask, err := d.Read(t.Context(), chat.Delivery{Body: r.Body}); err != nil || ask.Verb != chat.Start || ask.Visitor != "Ann" {
		t.Errorf("when the API has the customer: %+v, %v", ask, err)
	}
}

func TestAStoredDeliveryThatCannotBeReadFailsForGood(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "all-steps")
	for _, body := range []string{"", "{}", "[]", `{"event":"new-message"}`} {
		if _, err := d.Read(t.Context(), chat.Delivery{Body: []byte(body)}); !chat.IsPermanent(err) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestEachEventOfAListBecomesADeliveryInOrder(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	d := newTenant(t, "", func(c *Config) { c.now = func() time.Time { return now } })
	// The list ends c-1, so the event of c-1 before that end is dropped.
	r, err := d.receive(rules.StatusChange, strings.TrimSuffix(strings.TrimSpace(testBody(t, "several")), "]")+`,{"customerId":"c-1","status":"UNREAD"}]`)
	if err != nil || r.Key == "" {
		t.Fatal(r, err)
	}
	whole := chat.Delivery{Key: r.Key, Body: r.Body, Received: now}
	if _, err := d.k.read(t.Context(), whole); err == nil {
		t.Error("the list is lost before listen runs")
	} else if _, ok := chat.RetryWait(err); !ok {
		t.Errorf("the error has no wait: %v", err)
	}
	var asks []string
	keys := map[string]bool{}
	before := whole.Received.Add(-1)
	d.setDeliver(func(_ context.Context, one chat.Delivery) error {
		ask, err := d.k.read(t.Context(), one)
		if err != nil || !one.Received.After(before) || one.Received.Sub(whole.Received) > time.Millisecond || keys[one.Key] {
			t.Errorf("%+v: %v", one, err)
		}
		before, keys[one.Key] = one.Received.Truncate(time.Microsecond), true
		asks = append(asks, fmt.Sprint(ask.Verb, ask.Chat))
		return nil
	})
	if ask, err := d.k.read(t.Context(), whole); err != nil || ask.Verb != chat.Nothing {
		t.Errorf("the list itself: %+v, %v", ask, err)
	}
	want := []string{fmt.Sprint(chat.Start, "c-2"), fmt.Sprint(chat.Close, "c-1"), fmt.Sprint(chat.Start, "c-1")}
	if !slices.Equal(asks, want) {
		t.Errorf("%q, want %q", asks, want)
	}
	// An event has the same key in a list and alone.
	for _, body := range []string{`{"customerId":"c-1","status":"UNREAD"}`, `{"customerId":"c-2","status":"UNREAD"}`} {
		if alone, _ := d.receive(rules.StatusChange, body); !keys[alone.Key] {
			t.Errorf("%s alone has another key than in a list", body)
		}
	}
	full := errors.New("the store is full")
	d.setDeliver(func(context.Context, chat.Delivery) error { return full })
	if _, err := d.k.read(t.Context(), whole); !errors.Is(err, full) {
		t.Errorf("a list that cannot be stored: %v", err)
	}
}

// setDeliver sets the function that stores deliveries while listen runs.
func (d *tenant) setDeliver(hand func(context.Context, chat.Delivery) error) {
	d.k.deliver.Store(&hand)
}

func TestAMappedConversationIDIsPartOfTheChatID(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "webhook: {mapping: {new-conversation: {conversation_id: talk}, status-change: {conversation_id: talk}, new-message: {conversation_id: talk}}}")
	for _, event := range []string{rules.NewConversation, rules.StatusChange, rules.NewMessage} {
		if ask := d.ask(t, event, `{"customerId":"c-1","status":"UNREAD","talk":17}`); ask.Chat != "c-1/17" {
			t.Errorf("%s: %+v", event, ask)
		}
	}
	// A body without a valid conversation id is a mismatch.
	for talk, wrong := range map[string]string{
		`"a/b"`: "conversation id is not 1 to 128 letters", `".."`: "conversation id is not 1 to 128 letters",
		`""`: "no conversation id", `null`: "no conversation id", `{"id":17}`: "no conversation id",
	} {
		r, err := d.receive(rules.StatusChange, `{"customerId":"c-1","status":"DONE","talk":`+talk+`}`)
		if err != nil || strings.Contains(string(r.Body), "c-1") || !strings.Contains(r.Note, wrong) || !strings.Contains(r.Note, "; fields of the body: {customerId: text, status: text, talk: ") {
			t.Errorf("%s: %+v, %v", talk, r, err)
		}
	}
}

func TestEachAgentGetsTheirOwnChatAddress(t *testing.T) {
	t.Parallel()
	if newTenant(t, "").OpenChat != nil {
		t.Error("OpenChat is set without an endpoint")
	}
	off := newTenant(t, withEndpoint("agent_chat_url", `{method: GET, path: "/x/{customerId}", result: url}`))
	if off.OpenChat != nil {
		t.Error("OpenChat is set though the endpoint is not enabled")
	}
	d := newTenant(t, "all-steps")
	bob := chat.Agent{ID: "U1", Name: "Bob", Email: "Bob@Example.ORG"} // Chatvisor's addresses are in lower case
	address, err := d.OpenChat(t.Context(), "c-1/17", bob)
	if minted := d.Minted(); err != nil || len(minted) != 1 || address != minted[0] {
		t.Errorf("%q, %v; minted %q", address, err, minted)
	}
	if r := d.Requests()[0]; !strings.HasSuffix(r.Path, "/way/c-1") || string(r.Body) != `{"for":"bob@example.org"}` {
		t.Errorf("request %s %s with %s", r.Method, r.Path, r.Body)
	}
	if again, err := d.OpenChat(t.Context(), "c-1", bob); err != nil || again == address {
		t.Errorf("the second time %q, %v", again, err)
	}
	if _, err := d.OpenChat(t.Context(), "c-1", chat.Agent{ID: "U1"}); err == nil || len(d.Requests()) != 2 {
		t.Errorf("an agent without an e-mail address: %v", err)
	}
	if _, err := d.OpenChat(t.Context(), "../x", bob); err == nil || len(d.Requests()) != 2 {
		t.Errorf("a chat id without a customer id: %v", err)
	}
	d.Site = "https://evil.example"
	if address, err := d.OpenChat(t.Context(), "c-1", bob); err == nil || address != "" || strings.Contains(err.Error(), "evil") {
		t.Errorf("another host: %q, %v", address, err)
	}
}

func TestChatAddressesLeadOnlyToConfiguredHosts(t *testing.T) {
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
		if got := allowedURL(address, hosts); got != want {
			t.Errorf("%.80q: %v", address, got)
		}
	}
}

func TestARefusedTokenIsReadAgainFromItsFileOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	const former = "canary-former-token-Zoo2ahw"
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(former)
	d := newTenant(t, "all-steps", func(c *Config) { c.Token, c.TokenFile = secret.New(former), file })
	d.AddCustomer(chatvisortest.Customer{ID: "c-1"})
	r, _ := d.receive(rules.NewConversation, testBody(t, "text"))
	if _, err := d.Read(t.Context(), chat.Delivery{Body: r.Body}); err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "CHATVISOR_TOKEN") {
		t.Errorf("with the former token: %v", err)
	}
	if n := len(d.Requests()); n != 1 {
		t.Errorf("%d requests though the file has the same token", n)
	}
	write(apiToken)
	for range 2 {
		if _, err := d.Read(t.Context(), chat.Delivery{Body: r.Body}); err != nil {
			t.Error(err)
		}
	}
	d.Check(t.Context())
	if n := len(d.Requests()); n != 4 {
		t.Errorf("%d requests, want 1, then 2 for the change, then 1", n)
	}
}

func TestTheTokenIsSentInTheQueryIfTheFileSaysSo(t *testing.T) {
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
		if _, err := d.k.api.Customers(t.Context(), 1); err != nil || got != want {
			t.Errorf("%q: sent %q, %v", file, got, err)
		}
	}
}
