package upscope

import (
	"errors"
	"fmt"
	"log/slog"
)

// secret is a text that does not print, log or marshal. The text is in a closure, so that reflection (fmt on a
// struct around it, a debugger, a test's diff) does not find it.
type secret struct {
	label  string
	reveal func() string
}

func seal(label, text string) secret { return secret{label, func() string { return text }} }

// open returns the text, empty for the zero value.
func (s secret) open() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String returns a placeholder.
func (s secret) String() string {
	if s.label == "" {
		return "[empty]"
	}
	return "[" + s.label + "]"
}

// GoString returns a placeholder.
func (s secret) GoString() string { return s.String() }

// Format writes a placeholder, for every verb.
func (s secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue returns a placeholder.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

var errSealed = errors.New("upscope: a secret cannot be marshalled")

// MarshalJSON fails, so that a program which tries to store a secret notices.
func (s secret) MarshalJSON() ([]byte, error) { return nil, errSealed }

// MarshalText fails like MarshalJSON.
func (s secret) MarshalText() ([]byte, error) { return nil, errSealed }

// MarshalBinary fails like MarshalJSON.
func (s secret) MarshalBinary() ([]byte, error) { return nil, errSealed }
