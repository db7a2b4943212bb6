// Package audit is the audit log: who did what to whom. Each record has the hash of the one
// before it, so that Log.Verify finds records that were changed or removed.
package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Record is an audit entry with its place in the hash chain.
type Record struct {
	// Seq counts from 1 without a gap.
	Seq int64
	Entry
	// Erased says that Visitor, Chat, Detail and Salt were removed. A later
	// record with ActionErased lists this one.
	Erased bool
	// Salt is random. Without it, the removed fields of an erased record could be
	// found by guessing values and comparing their Commitment.
	Salt [16]byte
	// Commitment is the hash of Salt, Visitor, Chat and Detail.
	Commitment [32]byte
	// Prev is the Hash of the previous record; all zero for the first.
	Prev [32]byte
	// Hash covers Prev, Commitment and the fields that Commitment does not cover.
	// It does not change when the record is erased.
	Hash [32]byte
}

// An ExportedRecord is a record in the export format. It has every field that is needed to
// compute the hashes again.
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
	Salt       string    `json:"salt"` // hex, like the fields below; empty if erased
	Commitment string    `json:"commitment"`
	Prev       string    `json:"prev"`
	Hash       string    `json:"hash"`
}

// Export returns the record in the export format.
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

// chain makes r the record of e that follows head.
func (r *Record) chain(e Entry, head Head) {
	r.Entry, r.Seq, r.Prev = e, head.Seq+1, head.Hash
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.At = r.At.Truncate(time.Microsecond)
	_, _ = rand.Read(r.Salt[:]) // never fails
	r.Commitment = r.commitment()
	r.Hash = r.sum()
}

// commitment returns the SHA-256 of the fields that may identify the visitor.
func (r *Record) commitment() [32]byte {
	b := make([]byte, 0, 512)
	b = encoded(b, "cobrowse-bridge audit person 1", string(r.Salt[:]), r.Visitor, r.Chat, r.Detail)
	return sha256.Sum256(b)
}

// sum returns the SHA-256 of all other fields.
func (r *Record) sum() [32]byte {
	b := make([]byte, 0, 512)
	b = encoded(b, "cobrowse-bridge audit 1", string(r.Prev[:]))
	for _, n := range [...]int64{r.Seq, engine.Micros(r.At)} {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, 8), uint64(n))
	}
	b = encoded(b, r.Action, r.Agent, r.Card, r.Connector, string(r.Commitment[:]))
	return sha256.Sum256(b)
}

// encoded appends each field after its length, so that no two lists of fields have the
// same encoding.
func encoded(b []byte, fields ...string) []byte {
	for _, f := range fields {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(f))), f...)
	}
	return b
}
