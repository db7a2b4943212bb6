package web

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A deadline alone does not say which service was slow.
func TestOnlyAnErrorOfUpscopeNamesUpscope(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		kind templates.Kind
	}{
		{fmt.Errorf("read: %w", context.DeadlineExceeded), templates.KindInternal},
		{fmt.Errorf("%w: %w", upscope.ErrUpstream, context.DeadlineExceeded), templates.KindUpscopeDown},
		{StoreFault(context.DeadlineExceeded), templates.KindStore},
	} {
		got := respond(c.err)
		if got.kind != c.kind || got.status != http.StatusServiceUnavailable || got.wait == 0 || !IsFault(c.err) {
			t.Errorf("%v: %+v, want %s", c.err, got, c.kind)
		}
	}
}
