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
	"hash"
	"strings"
	"sync"

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
type doorKeys []*doorKey

// A doorKey keeps HMACs of its key at hand: to make one costs several times what
// it costs to use it.
type doorKey struct{ macs sync.Pool }

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
		keys = append(keys, &doorKey{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}})
	}
	return keys, nil
}

func (k *doorKey) derive(use, card string, generation int) (half [halfHandle]byte) {
	whole := k.sum(use, card, generation)
	copy(half[:], whole[:])
	return half
}

func (k *doorKey) sum(use, card string, generation int) (sum [sha256.Size]byte) {
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	mac.Reset()
	b := append(make([]byte, 0, 64), use...)
	b = binary.BigEndian.AppendUint32(b, uint32(generation))
	b = append(b, card...)
	mac.Write(b)
	mac.Sum(sum[:0])
	return sum
}

func (k *doorKey) handle(card string, generation int) handle {
	return handle{k.derive("finds", card, 0), k.derive("opens", card, generation)}
}

// first is the handle of a new card.
func (k doorKeys) first(card string) handle { return k[0].handle(card, 0) }

// of is the handle that opens the card's door now, made with the key that the
// card was made with.
func (k doorKeys) of(c store.Card) (handle, error) {
	for _, key := range k {
		if h := key.handle(c.ID, c.Generation); h.hash() == c.Handle {
			return h, nil
		}
	}
	return handle{}, fmt.Errorf("card %s: its secret is no longer configured", c.ID)
}

// generation says which of the card's doors h opens or once opened.
func (k doorKeys) generation(c store.Card, h handle) (int, bool) {
	for _, key := range k {
		for g := c.Generation; g >= 0; g-- {
			opens := key.derive("opens", c.ID, g)
			if subtle.ConstantTimeCompare(opens[:], h.opens[:]) == 1 {
				return g, true
			}
		}
	}
	return 0, false
}

// callback is the secret in the address that Upscope calls when a session of the
// card is over: the card's id and a proof that we wrote it. Nothing has to be
// stored or looked up to tell it from a forged one.
func (k doorKeys) callback(card string) string {
	proof := k[0].sum("ended", card, 0)
	return base64.RawURLEncoding.EncodeToString(proof[:]) + card
}

// called is the card that a callback's secret is of.
func (k doorKeys) called(secret string) (card string, ok bool) { return k.proven("ended", secret) }

// mark is what a session carries, so that it can be told whose it is. Upscope
// shows it to its own users, who can do nothing with it.
func (k doorKeys) mark(card string) string {
	proof := k[0].sum("session", card, 0)
	return base64.RawURLEncoding.EncodeToString(proof[:]) + card
}

// marked is the card whose mark a session carries.
func (k doorKeys) marked(mark string) (card string, ok bool) { return k.proven("session", mark) }

// proofText is the length of a proof in base64.
const proofText = 43

func (k doorKeys) proven(use, text string) (card string, ok bool) {
	if len(text) <= proofText || len(text) > 2*proofText {
		return "", false
	}
	card = text[proofText:]
	for _, key := range k {
		proof := key.sum(use, card, 0)
		want := base64.RawURLEncoding.EncodeToString(proof[:])
		if subtle.ConstantTimeCompare([]byte(want), []byte(text[:proofText])) == 1 {
			return card, true
		}
	}
	return "", false
}
