package connectortest

import (
	"testing"

	"cobrowse-bridge/bridge/chat"
)

// findings tests that each finding of Check has a code and one text, and a remedy unless it is OK. It
// looks at the findings about the service, and about the service with each mishap in each request.
func (h Harness) findings(t *testing.T) {
	var probe wire
	s := h.New(t, probe.wrap)
	probe.set(nil)
	complete(t, "without a mishap", s.Connector.Check(t.Context()))
	for n := 1; n <= probe.requests(); n++ {
		for mishap, fault := range mishaps {
			var w wire
			s := h.New(t, w.wrap)
			w.at(n, fault)
			complete(t, mishap, s.Connector.Check(t.Context()))
		}
	}
}

func complete(t *testing.T, when string, found []chat.Finding) {
	t.Helper()
	if len(found) == 0 {
		t.Errorf("%s: Check has no finding", when)
	}
	for _, f := range found {
		texts := 0
		for _, text := range []string{f.OK, f.Warning, f.Problem} {
			if text != "" {
				texts++
			}
		}
		if texts != 1 || !chat.IsCode(f.Code) || (f.Remedy == "") != (f.OK != "") {
			t.Errorf("%s: finding %+v", when, f)
		}
	}
}
