package templates

import (
	"maps"
	"slices"
	"testing"

	"cobrowse-bridge/bridge/store/audit"
)

func TestEachActionHasAText(t *testing.T) {
	t.Parallel()
	want := slices.Sorted(slices.Values(audit.Actions))
	if got := slices.Sorted(maps.Keys(actionTexts)); !slices.Equal(got, want) {
		t.Errorf("there are texts for %q, want texts for %q", got, want)
	}
}
