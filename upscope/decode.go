package upscope

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
)

// Types that read the fields in which versions of the API differ. Each takes null as its zero value. Those that
// only inform take anything else they cannot read for zero as well, and never fail: one odd field of a past
// session must not hide a visitor.

// informing reads an object of which no field matters on its own: one of another type than v's is left zero.
// Types of v's fields that fail in UnmarshalJSON still do.
func informing(b []byte, v any) error {
	if b[0] != '{' && string(b) != "null" {
		return errors.New("not an object")
	}
	err := json.Unmarshal(b, v)
	if _, odd := errors.AsType[*json.UnmarshalTypeError](err); odd {
		return nil
	}
	return err
}

// list reads what can be read of a list that only informs.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil || raw == nil {
		return nil
	}
	*l = make(list[T], 0, len(raw))
	for _, element := range raw {
		var v T
		if string(element) != "null" && json.Unmarshal(element, &v) == nil {
			*l = append(*l, v)
		}
	}
	return nil
}

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

// whole reads a count that only informs: a number, or a string of one. Fractions are cut.
type whole int

func (n *whole) UnmarshalJSON(b []byte) error {
	*n = 0
	f, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	if err == nil && math.Abs(f) <= 1<<53 { // which NaN is not
		*n = whole(f)
	}
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

// when reads a moment that only informs.
type when time.Time

func (w *when) UnmarshalJSON(b []byte) error {
	var s stamp
	if s.UnmarshalJSON(b) != nil {
		s = stamp{}
	}
	*w = when(s)
	return nil
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
