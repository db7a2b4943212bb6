package upscope

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
)

// The types in this file read fields in which versions of the API differ. All read null as the zero value. Lenient
// types read a value of the wrong type as zero too, and do not fail: a wrong field of a past session must not make
// the visitor unreadable.

// decodeLenient reads an object into v. A field of the wrong type is left zero, and odd reports whether there was
// one. A field whose UnmarshalJSON fails still makes it fail.
func decodeLenient(b []byte, v any) (odd bool, err error) {
	if b[0] != '{' && string(b) != "null" {
		return false, errors.New("not an object")
	}
	err = json.Unmarshal(b, v)
	if _, odd := errors.AsType[*json.UnmarshalTypeError](err); odd {
		return true, nil
	}
	return false, err
}

// lenientList reads a list and leaves out the elements that it cannot read.
type lenientList[T any] []T

func (l *lenientList[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil || raw == nil {
		return nil
	}
	*l = make(lenientList[T], 0, len(raw))
	for _, element := range raw {
		var v T
		if string(element) != "null" && json.Unmarshal(element, &v) == nil {
			*l = append(*l, v)
		}
	}
	return nil
}

// idText reads an id: a string, or a number as in v1.1.
type idText string

func (t *idText) UnmarshalJSON(b []byte) error {
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
	*t = idText(s)
	return nil
}

// lenientInt reads a number, or a string with a number. It cuts fractions off.
type lenientInt int

func (n *lenientInt) UnmarshalJSON(b []byte) error {
	*n = 0
	f, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	if err == nil && math.Abs(f) <= 1<<53 { // false for NaN
		*n = lenientInt(f)
	}
	return nil
}

// lenientFloat reads a number, or a string with a number, and anything else as nil.
type lenientFloat struct{ value *float64 }

func (n *lenientFloat) UnmarshalJSON(b []byte) error {
	n.value = nil
	f, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	if err == nil && math.Abs(f) <= 1<<53 { // false for NaN
		n.value = &f
	}
	return nil
}

// timestamp reads an RFC 3339 time, or an empty string as the zero time.
type timestamp time.Time

func (s *timestamp) UnmarshalJSON(b []byte) error {
	*s = timestamp{}
	if string(b) == "null" || string(b) == `""` {
		return nil
	}
	return (*time.Time)(s).UnmarshalJSON(b)
}

// lenientTime reads a timestamp, and anything else as the zero time.
type lenientTime time.Time

func (w *lenientTime) UnmarshalJSON(b []byte) error {
	var s timestamp
	if s.UnmarshalJSON(b) != nil {
		s = timestamp{}
	}
	*w = lenientTime(s)
	return nil
}

// lenientMap reads metadata. It keeps strings, booleans and numbers (as json.Number) and leaves other values out.
// The visitor's page writes part of it, so no value in it may make the whole answer unreadable.
type lenientMap map[string]any

func (f *lenientMap) UnmarshalJSON(b []byte) error {
	*f = nil
	if b[0] != '{' {
		return nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*f = make(lenientMap, len(raw))
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
