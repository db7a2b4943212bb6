package audit

import (
	"encoding/hex"
	"encoding/json"
	"time"
)

// Actions are the actions of audit entries, in the order in which filters list them.
var Actions = []string{
	"asked", "renewed", "watching", "not opened", "live", "ended", "stopping", "not stopped", "entering chat", "chat not entered",
	"moved", "closed", "refused", "connected", "disconnected", "signed in", "signed out", "delivery shown", "retried", "dismissed",
	"audit exported", "exported", "restored", ActionErased, ActionTrimmed,
}

// Actions of records that only the store adds. Log.Verify relies on them.
const (
	// ActionErased marks a record whose Detail is an Erasure in JSON.
	ActionErased = "erased"
	// ActionTrimmed marks a record whose Detail is a Trim in JSON.
	ActionTrimmed = "trimmed"
)

// An Erasure is the Detail of a record with ActionErased. It does not say who was erased.
type Erasure struct {
	Receipt string `json:"receipt"`
	// Records are the Seqs of the erased records.
	Records []int64 `json:"records"`
}

// Erasures returns the audit entries that list the erased records, at most 500 in each.
func Erasures(receipt, agent string, records []int64) (entries []Entry) {
	for {
		part := records[:min(len(records), 500)]
		records = records[len(part):]
		detail, _ := json.Marshal(Erasure{receipt, append([]int64{}, part...)}) // numbers and an id
		entries = append(entries, Entry{Action: ActionErased, Agent: agent, Detail: string(detail)})
		if len(records) == 0 {
			return entries
		}
	}
}

// A Trim is the Detail of a record with ActionTrimmed: the oldest records were removed.
type Trim struct {
	// Through and Hash identify the last removed record, as a Head does. Hash is in hex.
	Through int64  `json:"through"`
	Hash    string `json:"hash"`
	Records int64  `json:"records"`
}

// Trimmed returns the entry that says that the oldest n records were removed, up to last.
func Trimmed(last Record, n int) Entry {
	detail, _ := json.Marshal(Trim{last.Seq, hex.EncodeToString(last.Hash[:]), int64(n)}) // numbers and a hash
	return Entry{Action: ActionTrimmed, Agent: "bridge", Detail: string(detail)}
}

// A Filter selects records. An empty field selects all.
type Filter struct {
	// A record must have the same values.
	Agent, Visitor, Card, Action string
	// A record's time must not be before Since, and must be before Until.
	Since, Until time.Time
}

// Fits reports whether the filter selects a record.
func (f Filter) Fits(r Record) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return same(f.Agent, r.Agent) && same(f.Visitor, r.Visitor) && same(f.Card, r.Card) && same(f.Action, r.Action) &&
		!r.At.Before(f.Since) && (f.Until.IsZero() || r.At.Before(f.Until))
}

// outOfOrder is how much older a record may be than one before it: requests that run at the
// same time are written in any order.
const outOfOrder = time.Hour

// NoneBefore reports whether no record before r can fit.
func (f Filter) NoneBefore(r Record) bool {
	return !f.Since.IsZero() && r.At.Before(f.Since.Add(-outOfOrder))
}
