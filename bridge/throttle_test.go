package bridge

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAnActThatDidNotCountIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newThrottle(1, 10*time.Second)
		if !limit.allow("bob") {
			t.Fatal("the first is refused")
		}
		time.Sleep(time.Second)
		if limit.allow("bob") {
			t.Error("one too many is allowed")
		}
		limit.forget("bob")
		if !limit.allow("bob") {
			t.Error("the one before counts, though it was forgotten")
		}
		if limit.allow("bob") {
			t.Error("after that nothing counts any more")
		}
		time.Sleep(10 * time.Second)
		if !limit.allow("bob") {
			t.Error("it never ends")
		}
	})
}
