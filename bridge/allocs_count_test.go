//go:build !race

// The race detector allocates memory itself and empties pools, so these counts are wrong with it.

package bridge

import (
	"fmt"
	"net/http"
	"testing"
)

func TestADeliveryAPageAndAClickAllocateLittle(t *testing.T) {
	c := newCountedBridge(t)
	const runs = 200
	doors, err := c.makeDoors(runs + 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		most    float64
		status  int
		request func(i int) *http.Request
	}{
		{"delivery", 400, http.StatusOK, func(i int) *http.Request { return delivery("", fmt.Sprint("event-", i)) }},
		{"page", 400, http.StatusOK, func(int) *http.Request { return doors[0].look("") }},
		{"unknown link", 140, http.StatusNotFound, func(int) *http.Request { return unknownDoor("") }},
		// Of these, the transaction makes a third (rows and arguments of the driver,
		// statements of database/sql), the two calls to Upscope a quarter and the limits
		// that replicas share a tenth. The reads and the handler make the rest. Without
		// SQL a click would make 400.
		{"click", 720, http.StatusSeeOther, func(i int) *http.Request { return doors[i].press("") }},
	} {
		var requests []*http.Request
		for i := range runs + 1 {
			requests = append(requests, test.request(i))
		}
		next := 0
		got := testing.AllocsPerRun(runs, func() {
			c.serve(t, requests[next], test.status)
			next++
		})
		t.Logf("%s: %v allocations", test.name, got)
		if got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}
