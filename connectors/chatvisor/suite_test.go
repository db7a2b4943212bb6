package chatvisor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/connectortest"
)

// The suite forges headers, so it gets a tenant whose deliveries are signed; what
// becomes of a wrong secret in the path is tested in accept_test.go.
func TestConnectorPassesTheSuite(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, connectortest.Harness{New: newService, Verdict: verdict})
}

func verdict(status int) connectortest.Verdict {
	switch {
	case status == http.StatusTooManyRequests:
		return connectortest.Wait
	case status < 400, status >= 500:
		return connectortest.Retry
	}
	switch status {
	case 401, 403, 408, 425: // an operator can mend these, or time
		return connectortest.Retry
	}
	return connectortest.Permanent
}

func newService(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) connectortest.Service {
	now := time.Now()
	d := newTenant(t, "odd\nwebhook: {signature: {header: X-Signature, prefix: sha256=}}\n", func(c *Config) {
		c.Transport, c.SignatureSecret = wrap(c.Transport), signatureSecret
		c.now = func() time.Time { return now }
	})
	d.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
	request := func(name string, body, signed []byte, secret string) connectortest.Request {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(signed)
		return connectortest.Request{
			Name: name, Path: hookPath(hookSecret, eventConversation), Body: body,
			Header: http.Header{"X-Signature": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}},
		}
	}
	event := []byte(recorded(t, "text"))
	return connectortest.Service{
		Connector: d.Connector,
		Secrets:   []string{apiToken, hookSecret, signatureSecret},
		Genuine:   func(body []byte) connectortest.Request { return request("genuine", body, body, signatureSecret) },
		Event:     func() []byte { return event },
		// No Closing: the suite's events are new-conversation, which closes nothing.
		Forged: []connectortest.Request{
			request("signed with the secret of the path", event, event, hookSecret),
			request("the signature of another body", event, []byte(recorded(t, "done")), signatureSecret),
		},
		Same: [][]byte{event, []byte(" " + strings.TrimSpace(recorded(t, "text")))},
		Different: [][]byte{
			event, []byte(recorded(t, "test")), []byte(recorded(t, "unresolved")), []byte(recorded(t, "number")), []byte(recorded(t, "several")),
		},
	}
}
