package chatvisor

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/secret"
)

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// isSecret reports whether text is one of the webhook secrets. Its run time does not
// depend on their values.
func (c *connector) isSecret(text string) bool {
	sum, match := digest(text), 0
	for _, s := range secret.AcceptedOf(c.secrets) {
		want := digest(s)
		match |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return match == 1
}

// addressAllowed reports whether the sender's address is in allow_cidrs. If the address is not known, it is
// not. An empty allow_cidrs allows every address.
func (c *connector) addressAllowed(req *http.Request) bool {
	if len(c.rules.Allow) == 0 {
		return true
	}
	client, ok := c.clients.Of(req)
	return ok && netaddr.Within(c.rules.Allow, client)
}
