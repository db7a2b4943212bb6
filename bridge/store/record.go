package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// A Record is an entry in its place in the chain.
type Record struct {
	// Seq counts from 1 without a gap.
	Seq int64
	Entry
	// Erased says that Visitor, Chat, Detail and Salt were removed. A later
	// record says so too; see ActionErased.
	Erased bool
	// Salt is random, so that nobody can find out by guessing what an erased
	// record said.
	Salt [16]byte
	// Commitment is the hash of Salt, Visitor, Chat and Detail.
	Commitment [32]byte
	// Prev is the hash of the record before; all zero for the first.
	Prev [32]byte
	// Hash covers Prev, Commitment and every other field. Erasing leaves it as
	// it is.
	Hash [32]byte
}

// An ExportedRecord is a record as it is handed on, with all that it takes to
// compute its hashes again.
type ExportedRecord struct {
	Seq        int64     `json:"seq"`
	At         time.Time `json:"at"`
	AtMicros   int64     `json:"at_us"`
	Action     string    `json:"action"`
	Agent      string    `json:"agent"`
	Visitor    string    `json:"visitor"`
	Card       string    `json:"card"`
	Connector  string    `json:"connector"`
	Chat       string    `json:"chat"`
	Detail     string    `json:"detail"`
	Erased     bool      `json:"erased"`
	Salt       string    `json:"salt"` // hex, as all below; empty once erased
	Commitment string    `json:"commitment"`
	Prev       string    `json:"prev"`
	Hash       string    `json:"hash"`
}

// Export returns the record as it is handed on.
func (r Record) Export() ExportedRecord {
	e := ExportedRecord{
		Seq: r.Seq, At: r.At, AtMicros: r.At.UnixMicro(), Action: r.Action, Agent: r.Agent, Visitor: r.Visitor, Card: r.Card,
		Connector: r.Connector, Chat: r.Chat, Detail: r.Detail, Erased: r.Erased,
		Commitment: hex.EncodeToString(r.Commitment[:]), Prev: hex.EncodeToString(r.Prev[:]), Hash: hex.EncodeToString(r.Hash[:]),
	}
	if !r.Erased {
		e.Salt = hex.EncodeToString(r.Salt[:])
	}
	return e
}

// Actions of records that the store itself adds, and believes when it verifies.
const (
	// ActionErased is that of a record whose Detail is an Erasure in JSON.
	ActionErased = "erased"
	// ActionTrimmed is that of a record whose Detail is a Trim in JSON.
	ActionTrimmed = "trimmed"
)

// chain makes r the record of e behind head.
func (r *Record) chain(e Entry, head AuditHead) {
	r.Entry, r.Seq, r.Prev = e, head.Seq+1, head.Hash
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.At = r.At.Truncate(time.Microsecond)
	_, _ = rand.Read(r.Salt[:]) // never fails
	r.Commitment = r.commitment()
	r.Hash = r.sum()
}

// commitment is the SHA-256 of what may lead to a person.
func (r *Record) commitment() [32]byte {
	b := make([]byte, 0, 512)
	b = encoded(b, "cobrowse-bridge audit person 1", string(r.Salt[:]), r.Visitor, r.Chat, r.Detail)
	return sha256.Sum256(b)
}

// sum is the SHA-256 of everything else. Each field has its length before it, so
// that no two records have the same encoding.
func (r *Record) sum() [32]byte {
	b := make([]byte, 0, 512)
	b = encoded(b, "cobrowse-bridge audit 1", string(r.Prev[:]))
	for _, n := range [...]int64{r.Seq, micros(r.At)} {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, 8), uint64(n))
	}
	b = encoded(b, r.Action, r.Agent, r.Card, r.Connector, string(r.Commitment[:]))
	return sha256.Sum256(b)
}

func encoded(b []byte, fields ...string) []byte {
	for _, f := range fields {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(f))), f...)
	}
	return b
}
