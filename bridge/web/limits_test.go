package web

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestForgetRemovesTheActsOfASubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := NewThrottle(1, 10*time.Second)
		if !limit.Allow("bob") {
			t.Fatal("the first act is refused")
		}
		time.Sleep(time.Second)
		if limit.Allow("bob") {
			t.Error("a second act is allowed")
		}
		limit.Forget("bob")
		if !limit.Allow("bob") {
			t.Error("the first act still counts after Forget")
		}
		if limit.Allow("bob") {
			t.Error("acts no longer count after Forget")
		}
		time.Sleep(10 * time.Second)
		if !limit.Allow("bob") {
			t.Error("an act is refused after the period")
		}
	})
}
