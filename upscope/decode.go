package upscope

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
)

// Types that read the fields in which versions of the API differ. Each takes null as its zero value.

// text reads an id: a string, or a number as v1.1 had them.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case string(b) == "null":
	case b[0] == '"':
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		s = string(b)
	default:
		return errors.New("neither string nor number")
	}
	*t = text(s)
	return nil
}

// whole reads a count: a number, or a string of one. Fractions are cut.
type whole int

func (n *whole) UnmarshalJSON(b []byte) error {
	*n = 0
	if string(b) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1<<53 {
		return errors.New("not a number in range")
	}
	*n = whole(f)
	return nil
}

// stamp reads a moment: ISO 8601 as RFC 3339 profiles it, or an empty string for none.
type stamp time.Time

func (s *stamp) UnmarshalJSON(b []byte) error {
	*s = stamp{}
	if string(b) == "null" || string(b) == `""` {
		return nil
	}
	return (*time.Time)(s).UnmarshalJSON(b)
}

// flat reads metadata: string, bool and json.Number are kept as they came, anything else is left out. Part of
// it is written by the visitor's page, so nothing in it may make the whole answer unreadable.
type flat map[string]any

func (f *flat) UnmarshalJSON(b []byte) error {
	*f = nil
	if b[0] != '{' {
		return nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*f = make(flat, len(raw))
	for key, value := range raw {
		switch c := value[0]; {
		case c == '"':
			var s string
			if err := json.Unmarshal(value, &s); err != nil {
				return err
			}
			(*f)[key] = s
		case c == 't', c == 'f':
			(*f)[key] = c == 't'
		case c == '-' || c >= '0' && c <= '9':
			(*f)[key] = json.Number(value)
		}
	}
	return nil
}
