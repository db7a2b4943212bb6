package proof_test

import (
	"bytes"
	"testing"

	"cobrowse-bridge/bridge/proof"
)

func keys(t *testing.T, secrets ...[]byte) proof.Keys {
	t.Helper()
	k, err := proof.NewKeys(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAProofSaysWhatIsTheSame(t *testing.T) {
	t.Parallel()
	ours, old, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)
	n := proof.Nonce{1, 2, 3}
	const host = "bridge.example.org"
	for _, test := range []struct {
		name         string
		secret       []byte
		nonce        proof.Nonce
		host, origin string
		want         proof.Match
	}{
		{"the same bridge", ours, n, host, host, proof.Match{Secret: true, Host: true, Origin: true}},
		{"a bridge that still has the old secret", old, n, host, host, proof.Match{Secret: true, Host: true, Origin: true}},
		{"another secret", other, n, host, host, proof.Match{}},
		{"another nonce", ours, proof.Nonce{9}, host, host, proof.Match{}},
		{"another host", ours, n, "127.0.0.1:8080", host, proof.Match{Secret: true, Origin: true}},
		{"another origin", ours, n, host, "other.example.org", proof.Match{Secret: true, Host: true}},
	} {
		a := keys(t, test.secret).Answer(test.nonce, test.host, test.origin)
		if got := keys(t, ours, old).Match(a, n, host, host); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
	a := keys(t, ours).Answer(n, host, host)
	if a.Host == a.Origin {
		t.Error("the proofs of host and origin are equal for equal names")
	}
	if got := keys(t, ours).Match(proof.Answer{}, n, host, host); got != (proof.Match{}) {
		t.Errorf("no answer proves %+v", got)
	}
}

func TestANonceHasSixteenBytes(t *testing.T) {
	t.Parallel()
	n := proof.Nonce{1, 0xff, 3}
	if back, ok := proof.ParseNonce(n.Encode()); !ok || back != n {
		t.Errorf("%q is read as %v, %v", n.Encode(), back, ok)
	}
	for _, text := range []string{"", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAA\n", "AAAAAAAAAAAAAAAAAAAAAB", "++++++++++++++++++++AA"} {
		if _, ok := proof.ParseNonce(text); ok {
			t.Errorf("%q is accepted", text)
		}
	}
}
