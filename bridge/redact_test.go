package bridge_test

import (
	"bytes"
	"testing"

	"cobrowse-bridge/bridge"
)

func TestASecretThatBeginsWithAnotherIsRedactedWhole(t *testing.T) {
	var out bytes.Buffer
	r := bridge.NewRedactor(&out)
	r.AddSecrets("tok-one")
	r.AddSecrets("tok-one-rotated")
	if _, err := r.Write([]byte("old tok-one, new tok-one-rotated\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "old [redacted], new [redacted]\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}
