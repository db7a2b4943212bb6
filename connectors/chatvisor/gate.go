package chatvisor

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"cobrowse-bridge/bridge/netaddr"
)

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// isSecret reports whether secret is one of the webhook secrets. Its run time does not
// depend on their values.
func (c *connector) isSecret(secret string) bool {
	sum, match := digest(secret), 0
	for i := range c.secrets {
		match |= subtle.ConstantTimeCompare(sum[:], c.secrets[i][:])
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
