package chatvisor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
	"cobrowse-bridge/connectors/connectortest"
)

// The suite changes headers, and Chatvisor signs nothing. So the suite gets a tenant
// that accepts deliveries from one network only, behind a proxy that sets a header.
// accept_test.go tests a wrong secret in the path.
func TestConnectorPassesTheSuite(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, connectortest.Harness{New: newService, OddFields: []string{"called", "mail", "own", "marks"}})
}

func newService(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) connectortest.Service {
	const file = "all-steps\nsweep: {page_size: 3}\nwebhook: {allow_cidrs: [203.0.113.0/24], trusted_proxies: [192.0.2.0/24]}\n"
	now := time.Now()
	d := newTenant(t, file, func(c *Config) {
		c.Transport = wrap(c.Transport)
		c.now = func() time.Time { return now }
	})
	d.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
	d.Write("c-1", "4821") // what event says
	customers := 1
	request := func(name, from string, body []byte) connectortest.Request {
		return connectortest.Request{
			Name: name, Path: hookPath(hookSecret, rules.Auto), Body: body, Header: http.Header{"X-Forwarded-For": {from}},
		}
	}
	event := []byte(testBody(t, "text"))
	// Two events differ by the text that the customer wrote.
	named := func(customer, key string) []byte {
		body, err := json.Marshal(map[string]any{"customerId": customer, "status": "UNREAD", "lastMessage": map[string]string{"text": key}})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	return connectortest.Service{
		Connector: d.Connector,
		Secrets:   []string{apiToken, hookSecret},
		Genuine:   func(body []byte) connectortest.Request { return request("genuine", "203.0.113.7", body) },
		Event:     func() []byte { return event },
		Keyed:     func(key string) []byte { return named("c-1", key) },
		Named:     named,
		// Webhooks do not say which agent serves a conversation, so there is no HandOver.
		Closing: func() []byte { return d.SetStatus("c-1", chatvisortest.Done)[0].Body },
		Open: func() {
			customers++
			d.Write(fmt.Sprintf("c-%d", customers), "hello")
		},
		PageSize: 3,
		News:     func() []byte { return d.Write("c-1", "are you there?")[0].Body },
		Forged: []connectortest.Request{
			request("another network", "198.51.100.7", event),
			request("another network with a forged forwarded address", "203.0.113.7, 198.51.100.7", event),
			request("no address", "203.0.113", event),
		},
		Same: [][]byte{event, []byte(" " + strings.TrimSpace(testBody(t, "text")))},
		Different: [][]byte{
			event, []byte(testBody(t, "test")), []byte(testBody(t, "unresolved")), []byte(testBody(t, "number")), []byte(testBody(t, "several")),
		},
	}
}
