package desk

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store"
)

// Transactions take their numbers in order and commit in any order, or never.
func TestAChangeThatCommitsLateIsReadOnce(t *testing.T) {
	const changes = 3000
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		commits := map[int64]int{} // when each change is visible, in seconds
		for seq := int64(1); seq <= changes; seq++ {
			switch at := int(seq / 10); random.IntN(20) {
			case 0: // rolled back
			case 1, 2:
				commits[seq] = at + random.IntN(int(lateCommit/time.Second))
			default:
				commits[seq] = at
			}
		}
		start := time.Now()
		var r changeReader
		read := map[int64]int{}
		for second := range changes/10 + 2*int(lateCommit/time.Second) {
			var rows []store.DeskChange
			for seq, at := range commits {
				if at <= second && seq > r.after {
					rows = append(rows, store.DeskChange{Seq: seq})
				}
			}
			slices.SortFunc(rows, func(a, b store.DeskChange) int { return int(a.Seq - b.Seq) })
			for _, c := range r.sort(rows, start.Add(time.Duration(second)*time.Second)) {
				read[c.Seq]++
			}
		}
		for seq := range commits {
			if read[seq] != 1 {
				t.Fatalf("seed %d: change %d was read %d times", seed, seq, read[seq])
			}
		}
		if len(r.seen) != 0 {
			t.Errorf("seed %d: %d changes are remembered at the end", seed, len(r.seen))
		}
	}
}

func TestWithoutAGapNoChangeIsReadAgain(t *testing.T) {
	r := changeReader{after: 41}
	if got := r.sort([]store.DeskChange{{Seq: 42}, {Seq: 43}}, time.Now()); len(got) != 2 || r.after != 43 || len(r.seen) != 0 {
		t.Errorf("%d are new, after %d, %d remembered", len(got), r.after, len(r.seen))
	}
	many := make([]store.DeskChange, store.MaxDeskChanges)
	for i := range many {
		many[i].Seq = int64(100 + i) // 44 is missing
	}
	if got := r.sort(many, time.Now()); len(got) != len(many) || r.after != many[len(many)-1].Seq || len(r.seen) != 0 {
		t.Errorf("too many: %d are new, after %d, %d remembered", len(got), r.after, len(r.seen))
	}
}
