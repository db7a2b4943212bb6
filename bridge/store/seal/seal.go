// Package seal encrypts what the store keeps about people, so that the bytes of
// the database tell nothing without the secret.
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
	"sync"
)

// SecretSize is the length of a secret in bytes.
const SecretSize = 32

const idSize = 4

// ErrOpen means that a sealed value was not sealed with a secret at hand, for
// this purpose and these bindings, or was changed since.
var ErrOpen = errors.New("sealed value does not open")

// A Sealer seals with the newest secret and opens with either. It can be used by
// many goroutines at once.
type Sealer struct {
	keys []*key // newest first
}

type key struct {
	id     [idSize]byte
	secret []byte
	aeads  sync.Map // purpose to cipher.AEAD
	macs   sync.Map // purpose to the key of its hashes
}

// New returns a Sealer. The old secret is the one used before the secret was
// changed; nil means none.
func New(secret, old []byte) (*Sealer, error) {
	s := &Sealer{}
	for _, secret := range [][]byte{secret, old} {
		if secret == nil && len(s.keys) == 1 {
			continue
		}
		if len(secret) != SecretSize {
			return nil, fmt.Errorf("a secret has %d bytes, not %d", SecretSize, len(secret))
		}
		k := &key{secret: append([]byte(nil), secret...)}
		copy(k.id[:], k.derive("key id", idSize))
		s.keys = append(s.keys, k)
	}
	return s, nil
}

// Seal encrypts plain. It opens again only for the same purpose, which also has
// its own key, and the same bindings. The result is the id of the secret, a
// random nonce, and AES-256-GCM's output; id, purpose and bindings are
// authenticated with it.
func (s *Sealer) Seal(purpose string, plain []byte, bindings ...string) []byte {
	k := s.keys[0]
	out := append(make([]byte, 0, idSize+len(plain)+28), k.id[:]...)
	return k.aead(purpose).Seal(out, nil, plain, k.associated(purpose, bindings))
}

// Open decrypts what Seal returned. Its only error is ErrOpen.
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

// Sums returns the keyed hash of the parts under the newest secret and under
// the old one, which is the same hash where there is no old one.
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

// prefixed appends parts so that no two lists of parts look the same.
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
		panic(err) // a key of 32 bytes is always right
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
		panic(err) // only a length beyond HKDF's limit fails
	}
	return b
}
