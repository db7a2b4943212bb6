package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"
)

// The hashes are computed as deploy/README.md says, without code of this package.
func TestTheHashesOfARecordAreAsTheManualSays(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678900, time.UTC)
	var r Record
	r.chain(Entry{at, "watching", "c:agent", "visitor", "card", "c", "chat", "by short id"}, Head{6, [32]byte{1, 2, 3}})

	field := func(b []byte) []byte { return append(binary.BigEndian.AppendUint64(nil, uint64(len(b))), b...) }
	number := func(n int64) []byte { return field(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	hash := func(parts ...[]byte) [32]byte { return sha256.Sum256(bytes.Join(parts, nil)) }
	texts := func(all ...string) (b []byte) {
		for _, s := range all {
			b = append(b, field([]byte(s))...)
		}
		return b
	}
	commitment := hash(texts("cobrowse-bridge audit person 1"), field(r.Salt[:]), texts("visitor", "chat", "by short id"))
	prev := [32]byte{1, 2, 3}
	sum := hash(texts("cobrowse-bridge audit 1"), field(prev[:]), number(7), number(at.UnixMicro()),
		texts("watching", "c:agent", "card", "c"), field(commitment[:]))
	if r.Commitment != commitment || r.Hash != sum {
		t.Error("the manual's method gives other hashes")
	}
	again := Record{}
	again.chain(r.Entry, Head{6, prev})
	if again.Salt == r.Salt || again.Commitment == r.Commitment {
		t.Error("two records have the same salt")
	}
}
