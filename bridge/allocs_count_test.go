//go:build !race

// The race detector allocates memory itself and empties pools, so these counts are wrong with it.

package bridge

import (
	"fmt"
	"net/http"
	"testing"
)

func TestADeliveryAndAClickAllocateLittle(t *testing.T) {
	c := newCountedBridge(t)
	const runs = 200
	doors, err := c.makeDoors(runs + 1)
	if err != nil {
		t.Fatal(err)
	}
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
		{"delivery", 400, answered(0, http.StatusOK)},
		// Of these, the transaction makes a third (rows and arguments of the driver,
		// statements of database/sql), the two calls to Upscope a quarter and the limits
		// that replicas share a tenth. The reads and the handler make the rest. Without
		// SQL a click would make 400.
		{"click", 720, answered(1, http.StatusSeeOther)},
	} {
		got := testing.AllocsPerRun(runs, test.do)
		t.Logf("%s: %v allocations", test.name, got)
		if got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}
