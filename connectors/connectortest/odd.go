package connectortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
)

// oddValues are values of all types. Each differs from the value that a service gives a field.
var oddValues = []any{nil, true, 7, "odd", []any{"odd"}, map[string]any{"odd": 7}}

// odd tests that Read needs only the fields that the connector cannot do without. Services
// change the types of the others between versions, and apps write into some of them.
func (h Harness) odd(t *testing.T) {
	t.Run("odd optional fields do not refuse the person", func(t *testing.T) {
		if h.OddFields == nil {
			t.Skip("the answers of this service have no optional fields")
		}
		var plain wire
		want, err := h.New(t, plain.wrap).read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		changed := map[string]bool{}
		for _, value := range oddValues {
			var w wire
			s := h.New(t, w.wrap)
			w.set(func(_ int, req *http.Request, next http.RoundTripper) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if err == nil {
					err = h.spoil(resp, value, changed)
				}
				return resp, err
			})
			got, err := s.read(t.Context())
			if err != nil || got.Verb != want.Verb || got.Refusal != want.Refusal || got.Agent.ID != want.Agent.ID || got.Place != want.Place {
				t.Errorf("with optional fields of the value %v: %+v, error %v; want %+v", value, got, err, want)
			}
		}
		for _, name := range h.OddFields {
			if !changed[name] {
				t.Errorf("no answer has the field %q", name)
			}
		}
	})
}

// spoil replaces the optional fields in a JSON answer. It notes their names in changed.
func (h Harness) spoil(resp *http.Response, value any, changed map[string]bool) error {
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	var body any
	if json.Unmarshal(data, &body) == nil {
		h.replace("", body, value, changed)
		if data, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	resp.Header.Del("Content-Length")
	return nil
}

func (h Harness) replace(parent string, in, value any, changed map[string]bool) {
	switch in := in.(type) {
	case []any:
		for _, e := range in {
			h.replace(parent, e, value, changed)
		}
	case map[string]any:
		for name, e := range in {
			if i := slices.IndexFunc(h.OddFields, func(odd string) bool { return odd == name || odd == parent+"."+name }); i >= 0 {
				in[name], changed[h.OddFields[i]] = value, true
				continue
			}
			h.replace(name, e, value, changed)
		}
	}
}
