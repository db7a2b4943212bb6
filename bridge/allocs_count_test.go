//go:build !race

// The race detector allocates too, and lets pools forget what is in them.

package bridge

import (
	"fmt"
	"net/http"
	"testing"
)

func TestNothingAllocatesWithoutReason(t *testing.T) {
	c := newCrowdedTest(t)
	const runs = 200
	doors, err := c.doorways(runs + 1)
	if err != nil {
		t.Fatal(err)
	}
	row, err := c.store.Card(t.Context(), "0199a5b0-0000-7000-8000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
	address, err := c.doors.of(row)
	if err != nil {
		t.Fatal(err)
	}
	text := address.String()
	var requests []*http.Request
	for i := range runs + 1 {
		requests = append(requests, delivery("", fmt.Sprint("event-", i)), doors[i].press(""))
	}
	answered := func(kind, status int) func() {
		next := kind
		return func() {
			c.serve(t, requests[next], status)
			next += 2
		}
	}
	for _, test := range []struct {
		name string
		most float64
		do   func()
	}{
		{"check of a handle", 4, func() {
			h, err := parseHandle(text)
			if _, ok := c.doors.generation(row, h); err != nil || !ok || h.hash() != row.Handle {
				t.Fatal("the handle does not open its door")
			}
		}},
		{"delivery", 400, answered(0, http.StatusOK)},
		// A third of a click is its transaction, with the driver's rows and arguments
		// and database/sql's statements, a quarter Upscope's two calls, a tenth the
		// limits that replicas share, and the rest the reads and the handler. 400 would
		// be a click without SQL.
		{"click", 700, answered(1, http.StatusSeeOther)},
	} {
		got := testing.AllocsPerRun(runs, test.do)
		t.Logf("%s: %v allocations", test.name, got)
		if got > test.most {
			t.Errorf("%s: %v allocations, and %v are enough", test.name, got, test.most)
		}
	}
}
