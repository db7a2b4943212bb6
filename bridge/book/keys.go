package book

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
	"slices"
	"strings"
	"sync"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/erasing"
)

// A Handle is the secret in the link to a card's door, the co-browse page. Both halves are derived from the card's
// id, so that an edit of the card can show the same link again. The store has only the hash of lookup. Each new
// link of a card (after "new link" or a change of agent) has the next generation and another access, so that older
// links no longer work.
type Handle struct {
	lookup [halfLength]byte // finds the card
	access [halfLength]byte // proves that the link may be used
}

const halfLength = 16

// handleLength is the length of a handle as text, in characters.
const handleLength = 43

var errNoHandle = errors.New("not a handle")

// String returns the handle as it stands in an address.
func (h Handle) String() string {
	return base64.RawURLEncoding.EncodeToString(slices.Concat(h.lookup[:], h.access[:]))
}

// Hash returns the hash by which the store finds the card.
func (h Handle) Hash() [sha256.Size]byte { return sha256.Sum256(h.lookup[:]) }

// ParseHandle reads a handle from an address. It checks the alphabet first: Go's base64 decoder ignores line
// breaks, so otherwise several texts would be the same handle.
func ParseHandle(text string) (Handle, error) {
	var h Handle
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	otherRune := func(c rune) bool { return !strings.ContainsRune(alphabet, c) }
	if len(text) != handleLength || strings.ContainsFunc(text, otherRune) {
		return h, errNoHandle
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 2*halfLength {
		return h, errNoHandle
	}
	copy(h.lookup[:], raw)
	copy(h.access[:], raw[halfLength:])
	return h, nil
}

// DoorKeys derive handles. The first key makes new ones. The others belong to a secret that is
// being replaced; cards that were made with it still work.
type DoorKeys []*doorKey

// A doorKey keeps HMACs of its key in a pool, because creating an HMAC costs more than computing one.
type doorKey struct{ macs sync.Pool }

// NewDoorKeys derives a key from each secret that is not empty.
func NewDoorKeys(secrets ...[]byte) (DoorKeys, error) {
	var keys DoorKeys
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

// derive returns the first half of sum.
func (k *doorKey) derive(use, card string, generation int) (half [halfLength]byte) {
	whole := k.sum(use, card, generation)
	copy(half[:], whole[:])
	return half
}

// sum returns the HMAC of use (a constant), generation (4 bytes) and card. Only card has a variable length.
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

func (k *doorKey) handle(card string, generation int) Handle {
	return Handle{lookup: k.derive("finds", card, 0), access: k.derive("opens", card, generation)}
}

// NewHandle returns the handle of a new card.
func (k DoorKeys) NewHandle(card string) Handle { return k[0].handle(card, 0) }

// CurrentHandle returns the handle in the card's current link. It fails if no configured secret made it.
func (k DoorKeys) CurrentHandle(c store.Card) (Handle, error) {
	for _, key := range k {
		if h := key.handle(c.ID, c.Generation); h.Hash() == c.HandleHash {
			return h, nil
		}
	}
	return Handle{}, fmt.Errorf("card %s: no configured secret made its handle", c.ID)
}

// GenerationOf returns the generation of the card for which h was made; it may be an older one. ok is false if h
// was not made for the card. It compares access only: the store has found the card by lookup.
func (k DoorKeys) GenerationOf(c store.Card, h Handle) (generation int, ok bool) {
	for _, key := range k {
		for g := c.Generation; g >= 0; g-- {
			access := key.derive("opens", c.ID, g)
			if subtle.ConstantTimeCompare(access[:], h.access[:]) == 1 {
				return g, true
			}
		}
	}
	return 0, false
}

// Callback returns the secret in the URL that Upscope calls after a session ends. It contains the card's id and
// an HMAC, so it can be checked without the store.
func (k DoorKeys) Callback(card string) string {
	proof := k[0].sum("ended", card, 0)
	return base64.RawURLEncoding.EncodeToString(proof[:]) + card
}

// CardOfCallback returns the id of the card in a callback's secret. ok is false if no configured key made it.
func (k DoorKeys) CardOfCallback(secret string) (card string, ok bool) {
	return k.verify("ended", secret)
}

// Mark returns the text that the bridge puts into the metadata of a session, to find its card. Users of the
// Upscope dashboard can see it; it grants no access.
func (k DoorKeys) Mark(card string) string {
	proof := k[0].sum("session", card, 0)
	return base64.RawURLEncoding.EncodeToString(proof[:]) + card
}

// CardOfMark returns the id of the card in a session's mark. ok is false if no configured key made it.
func (k DoorKeys) CardOfMark(mark string) (card string, ok bool) { return k.verify("session", mark) }

// proofLength is the length of a proof in base64, in characters.
const proofLength = 43

// verify returns the card id after the proof in text. A card id is shorter than a proof; longer texts are refused.
func (k DoorKeys) verify(use, text string) (card string, ok bool) {
	if len(text) <= proofLength || len(text) > 2*proofLength {
		return "", false
	}
	card = text[proofLength:]
	for _, key := range k {
		proof := key.sum(use, card, 0)
		want := base64.RawURLEncoding.EncodeToString(proof[:])
		if subtle.ConstantTimeCompare([]byte(want), []byte(text[:proofLength])) == 1 {
			return card, true
		}
	}
	return "", false
}

// SubjectKeys make keyed hashes of people's ids. The hashes stay on a closed card, after its clues are deleted, so
// that it can be found when the visitor must be erased. The first key makes new hashes; the others belong to
// earlier secrets.
type SubjectKeys [][]byte

// NewSubjectKeys derives a key from each secret that is not empty.
func NewSubjectKeys(secrets ...[]byte) (keys SubjectKeys, err error) {
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "bridge subject", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive subject key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func personHash(key []byte, kind card.PersonKind, id string) string {
	return base64.RawStdEncoding.EncodeToString(personSum(key, kind, id))
}

func personSum(key []byte, kind card.PersonKind, id string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(string(kind) + "\x00" + id))
	return mac.Sum(nil)[:16]
}

// Add returns a card's hashes together with the hashes of people.
func (k SubjectKeys) Add(hashes []string, people []card.Person) []string {
	for _, p := range people {
		if hash := personHash(k[0], p.Kind, p.ID); !slices.Contains(hashes, hash) {
			hashes = append(slices.Clip(hashes), hash)
		}
	}
	return hashes
}

// Hashes returns the hashes of people under all keys, the oldest key first, as the index for erasures has them.
func (k SubjectKeys) Hashes(people []card.Person) (hashes []int64) {
	for _, key := range slices.Backward(k) {
		for _, p := range people {
			hashes = append(hashes, erasing.Hash(personSum(key, p.Kind, p.ID)))
		}
	}
	return hashes
}

// IndexHashes returns hashes of a card as the index for erasures has them.
func IndexHashes(hashes []string) (indexed []int64, err error) {
	for _, hash := range hashes {
		sum, err := base64.RawStdEncoding.DecodeString(hash)
		if err != nil || len(sum) < 8 {
			return nil, fmt.Errorf("a hash of a person is not one: %w", err)
		}
		indexed = append(indexed, erasing.Hash(sum))
	}
	return indexed, nil
}

// Update adds the hashes of the card's present ids to its Subjects, and makes those of its customer new. A
// closed card has lost all ids but one, so the customer's stay as they were.
func (k SubjectKeys) Update(c *card.Card) {
	people := c.Persons()
	c.About.Subjects = k.Add(c.About.Subjects, people)
	if c.CurrentState() != card.Closed {
		c.About.Customer = k.Add(nil, people)
	}
}

// Contain reports whether a card's hashes include the hash of p under any key.
func (k SubjectKeys) Contain(hashes []string, p card.Person) bool {
	return slices.ContainsFunc(k, func(key []byte) bool { return slices.Contains(hashes, personHash(key, p.Kind, p.ID)) })
}
