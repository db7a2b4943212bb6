// Package seal encrypts what the store keeps about people, so that the database cannot be
// read without the secret.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// SecretSize is the length of a secret in bytes.
const SecretSize = 32

const idSize = 4

// ErrOpen means that a value was sealed with an unknown secret, or for another purpose or
// other bindings, or was changed since.
var ErrOpen = errors.New("stored data cannot be decrypted with BRIDGE_SECRET or BRIDGE_SECRET_OLD")

// A Sealer seals with the newest secret, and opens with the newest and the old one. It is
// safe for concurrent use.
type Sealer struct {
	keys []*key // newest first
}

type key struct {
	id     [idSize]byte
	secret []byte
	aeads  sync.Map // purpose to cipher.AEAD
	macs   sync.Map // purpose to the key of its hashes
}

// New returns a Sealer. Both secrets have SecretSize bytes. old is the previous secret; nil
// means none.
func New(secret, old []byte) (*Sealer, error) {
	s := &Sealer{}
	for _, secret := range [][]byte{secret, old} {
		if secret == nil && len(s.keys) == 1 {
			continue
		}
		if len(secret) != SecretSize {
			return nil, fmt.Errorf("the secret must have %d bytes; it has %d", SecretSize, len(secret))
		}
		k := &key{secret: append([]byte(nil), secret...)}
		copy(k.id[:], k.derive("key id", idSize))
		s.keys = append(s.keys, k)
	}
	return s, nil
}

// Seal encrypts plain. Open needs the same purpose, which has a key of its own, and the same
// bindings. The result is the id of the secret, a random nonce, and the output of AES-256-GCM,
// which also authenticates the id, the purpose and the bindings.
func (s *Sealer) Seal(purpose string, plain []byte, bindings ...string) []byte {
	k := s.keys[0]
	out := append(make([]byte, 0, idSize+len(plain)+28), k.id[:]...)
	return k.aead(purpose).Seal(out, nil, plain, k.associated(purpose, bindings))
}

// Open decrypts a result of Seal. Its only error is ErrOpen.
func (s *Sealer) Open(purpose string, sealed []byte, bindings ...string) ([]byte, error) {
	if len(sealed) < idSize {
		return nil, ErrOpen
	}
	for _, k := range s.keys {
		if [idSize]byte(sealed) != k.id {
			continue
		}
		plain, err := k.aead(purpose).Open(nil, nil, sealed[idSize:], k.associated(purpose, bindings))
		if err == nil {
			return plain, nil
		}
	}
	return nil, ErrOpen
}

// Newest reports whether the result of Seal was made with the newest secret. It does not check
// the rest of the value.
func (s *Sealer) Newest(sealed []byte) bool {
	return len(sealed) >= idSize && [idSize]byte(sealed) == s.keys[0].id
}

// Knows reports whether the result of Seal was made with the newest or the old secret. It does
// not check the rest of the value.
func (s *Sealer) Knows(sealed []byte) bool {
	return len(sealed) >= idSize && slices.ContainsFunc(s.keys, func(k *key) bool { return [idSize]byte(sealed) == k.id })
}

// ID returns the id of the newest secret. Newest and Knows take it like the result of Seal.
func (s *Sealer) ID() []byte { return slices.Clone(s.keys[0].id[:]) }

// Sums returns the keyed hashes of the parts with the newest secret and with the old one.
// Both are equal if there is no old secret.
func (s *Sealer) Sums(purpose string, parts ...string) (sum, old []byte) {
	sum = s.keys[0].sum(purpose, parts)
	if len(s.keys) == 1 {
		return sum, sum
	}
	return sum, s.keys[1].sum(purpose, parts)
}

func (k *key) sum(purpose string, parts []string) []byte {
	derived, ok := k.macs.Load(purpose)
	if !ok {
		derived, _ = k.macs.LoadOrStore(purpose, k.derive("hash "+purpose, sha256.Size))
	}
	mac := hmac.New(sha256.New, derived.([]byte))
	mac.Write(prefixed(nil, parts...))
	return mac.Sum(nil)
}

func (k *key) associated(purpose string, bindings []string) []byte {
	return prefixed(prefixed(append([]byte(nil), k.id[:]...), purpose), bindings...)
}

// prefixed appends each part after its length, so that no two lists of parts have the same
// encoding.
func prefixed(b []byte, parts ...string) []byte {
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
	}
	return b
}

func (k *key) aead(purpose string) cipher.AEAD {
	if a, ok := k.aeads.Load(purpose); ok {
		return a.(cipher.AEAD)
	}
	block, err := aes.NewCipher(k.derive("seal "+purpose, 32))
	if err != nil {
		panic(err) // a key of 32 bytes is always valid
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	k.aeads.Store(purpose, a)
	return a
}

func (k *key) derive(info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, k.secret, nil, "cobrowse-bridge "+info, n)
	if err != nil {
		panic(err) // HKDF fails only if n is too large
	}
	return b
}
