package bridge

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"cobrowse-bridge/bridge/store"
)

// A handle is the secret in a card's address: 128 bits that find the card and
// 128 bits that open its door, both derived from the card's id, so that an edit
// of the card can show the same address again and nothing needs to be stored
// but the hash of the first half. The second half changes with the generation
// of the door: renewing a door or handing the chat over ends all addresses
// given out before.
type handle struct {
	finds [halfHandle]byte
	opens [halfHandle]byte
}

const halfHandle = 16

// handleText is the length of a handle as it stands in an address.
const handleText = 43

var errNoHandle = errors.New("not a handle")

func (h handle) String() string {
	return base64.RawURLEncoding.EncodeToString(append(h.finds[:], h.opens[:]...))
}

// hash is what the store knows a card by.
func (h handle) hash() [sha256.Size]byte { return sha256.Sum256(h.finds[:]) }

// parseHandle reads a handle from an address. The alphabet is checked first:
// Go's base64 skips line ends even when it is strict, so that two texts could
// mean one handle.
func parseHandle(text string) (handle, error) {
	var h handle
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(text) != handleText || strings.Trim(text, alphabet) != "" {
		return h, errNoHandle
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 2*halfHandle {
		return h, errNoHandle
	}
	copy(h.finds[:], raw)
	copy(h.opens[:], raw[halfHandle:])
	return h, nil
}

// doorKeys derive handles. The first key makes new ones; the others are those
// of a secret that is being replaced, whose cards are still about.
type doorKeys [][]byte

func newDoorKeys(secrets ...[]byte) (doorKeys, error) {
	var keys doorKeys
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "bridge door handle", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive door key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func derive(key []byte, use, card string, generation int) [halfHandle]byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(use))
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(generation)))
	mac.Write([]byte(card))
	return [halfHandle]byte(mac.Sum(nil))
}

func doorHandle(key []byte, card string, generation int) handle {
	return handle{derive(key, "finds", card, 0), derive(key, "opens", card, generation)}
}

// first is the handle of a new card.
func (k doorKeys) first(card string) handle { return doorHandle(k[0], card, 0) }

// of is the handle that opens the card's door now, made with the key that the
// card was made with.
func (k doorKeys) of(c store.Card) (handle, error) {
	for _, key := range k {
		if h := doorHandle(key, c.ID, c.Generation); h.hash() == c.Handle {
			return h, nil
		}
	}
	return handle{}, fmt.Errorf("card %s: its secret is no longer configured", c.ID)
}

// generation says which of the card's doors h opens or once opened.
func (k doorKeys) generation(c store.Card, h handle) (int, bool) {
	for _, key := range k {
		for g := c.Generation; g >= 0; g-- {
			opens := derive(key, "opens", c.ID, g)
			if subtle.ConstantTimeCompare(opens[:], h.opens[:]) == 1 {
				return g, true
			}
		}
	}
	return 0, false
}
