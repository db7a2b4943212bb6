package signin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

var (
	errNoKeys       = errors.New("it has no keys")
	errNoUsableKeys = errors.New("none of its keys can be used")
)

// An unusableKey is a member of a key set that cannot be used.
type unusableKey struct {
	id  string // its kid, quoted
	why string
}

// readKeys reads a key set (RFC 7517, 5) and returns it without the members that cannot be used.
// The error says why there is no usable key.
func readKeys(body []byte) (usable []byte, unusable []unusableKey, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := readJSON(body, &set); err != nil {
		return nil, nil, err
	}
	if len(set.Keys) == 0 {
		return nil, nil, errNoKeys
	}
	keys := []json.RawMessage{}
	for _, member := range set.Keys {
		if key, err := readKey(member); err != nil {
			unusable = append(unusable, unusableKey{keyID(member), err.Error()})
		} else {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, unusable, errNoUsableKeys
	}
	usable, err = json.Marshal(map[string]any{"keys": keys})
	return usable, unusable, err
}

// Members of a public key: those that make the key, and texts that are optional. Certificates are
// not used, so that a wrong one does not matter.
var (
	keyValues = []string{"kty", "crv", "x", "y", "n", "e"}
	keyTexts  = []string{"kid", "use", "alg"}
)

// readKey returns a member of a key set with only what the bridge uses, or an error that does not
// contain anything of the member.
func readKey(member json.RawMessage) (json.RawMessage, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(member, &all) != nil || all == nil {
		return nil, errors.New("not a JSON object")
	}
	for name, value := range all {
		var text string
		optional := slices.Contains(keyTexts, name) && json.Unmarshal(value, &text) == nil
		if !optional && !slices.Contains(keyValues, name) {
			delete(all, name)
		}
	}
	key, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	switch err := json.Unmarshal(key, new(jose.JSONWebKey)); {
	case errors.Is(err, jose.ErrUnsupportedKeyType):
		return nil, errors.New("type or curve not supported")
	case err != nil:
		return nil, errors.New("a value is missing, invalid or not supported")
	}
	return key, nil
}

// keyID returns the kid of a member of a key set, quoted and shortened. It is "" in quotes if
// there is none.
func keyID(member json.RawMessage) string {
	key := claims{}
	_ = json.Unmarshal(member, &key)
	id := key.text("kid")
	return strconv.QuoteToASCII(id[:min(len(id), 100)])
}

// keyFilter removes the members that cannot be used from the key sets that it fetches. go-oidc
// refuses the whole set if it cannot read one member. It is safe for concurrent use.
type keyFilter struct {
	next http.RoundTripper
	log  *slog.Logger

	mu     sync.Mutex
	warned []unusableKey // each is logged once
}

// maxWarned limits how many keys are remembered as logged.
const maxWarned = 100

// RoundTrip implements http.RoundTripper.
func (u *keyFilter) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := u.next.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	usable, unusable, err := readKeys(body)
	u.warn(unusable)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(usable)), int64(len(usable))
	return answer, nil
}

// warn logs each key once.
func (u *keyFilter) warn(unusable []unusableKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, key := range unusable {
		if len(u.warned) < maxWarned && !slices.Contains(u.warned, key) {
			u.warned = append(u.warned, key)
			u.log.Warn("key of the identity provider not used", "kid", key.id, "reason", key.why)
		}
	}
}
