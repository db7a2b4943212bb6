package web

import (
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/store/limit"
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

// TestEveryLimitHasANameInTheMetrics holds because limits whose names are not known are counted as other.
func TestEveryLimitHasANameInTheMetrics(t *testing.T) {
	t.Parallel()
	b := DefaultBudgets()
	names, all := b.Names(), reflect.ValueOf(b)
	for i := range all.NumField() {
		if name := all.Field(i).Interface().(limit.Limit).Name; name == "" || !slices.Contains(names, name) {
			t.Errorf("%s has the name %q, which is not in %q", all.Type().Field(i).Name, name, names)
		}
	}
}
