package rest

import (
	"encoding/json"
	"errors"
)

// MaxDepth is how deeply the JSON that Decode reads may be nested.
const MaxDepth = 64

// ErrTooDeep means that JSON is nested deeper than MaxDepth.
var ErrTooDeep = errors.New("JSON nested too deep")

// ErrNotJSON means that a text is not JSON. It does not repeat the text.
var ErrNotJSON = errors.New("not JSON")

// Decode reads JSON loosely. It skips unknown fields, and a field of an unexpected type
// stays zero, since services change types between versions. The caller checks the fields
// that it needs.
func Decode(data []byte, out any) error {
	if tooDeep(data) {
		return ErrTooDeep
	}
	err := json.Unmarshal(data, out)
	// Unmarshal fills everything else before it reports a mismatch.
	if _, mismatch := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !mismatch {
		return ErrNotJSON
	}
	return nil
}

func tooDeep(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
