package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
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

func TestTheOutcomeOfADeliveryDependsOnTheError(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]metrics.DeliveryOutcome{
		chat.ErrForged: metrics.DeliveryForged,
		ErrBusy:        metrics.DeliveryBusy,
		ErrSlow:        metrics.DeliveryBusy,
		ErrTooLarge:    metrics.DeliveryMalformed,
		ErrEncoded:     metrics.DeliveryMalformed,
		ErrBody:        metrics.DeliveryMalformed,
		fmt.Errorf("%w: %w", ErrUnreadable, errors.New("no JSON")): metrics.DeliveryUnreadable,
		fmt.Errorf("%w: %w", ErrStore, os.ErrDeadlineExceeded):     metrics.DeliveryFailed,
	} {
		if got := OutcomeOfError(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
