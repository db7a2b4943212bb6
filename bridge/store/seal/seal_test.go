package seal

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

var (
	secretA = bytes.Repeat([]byte{0xa1}, SecretSize)
	secretB = bytes.Repeat([]byte{0xb2}, SecretSize)
)

func sealer(t testing.TB, secret, old []byte) *Sealer {
	t.Helper()
	s, err := New(secret, old)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASealedValueOpensOnlyForItsPurpose(t *testing.T) {
	t.Parallel()
	s := sealer(t, secretA, nil)
	for _, plain := range []string{"", "x", strings.Repeat("long ", 1000)} {
		sealed := s.Seal("purpose", []byte(plain), "connector", "id")
		if got, err := s.Open("purpose", sealed, "connector", "id"); err != nil || string(got) != plain {
			t.Errorf("Open = %q, %v", got, err)
		}
		if bytes.Equal(sealed, s.Seal("purpose", []byte(plain), "connector", "id")) {
			t.Error("two sealed values are equal")
		}
		for name, open := range map[string]func() ([]byte, error){
			"another purpose":   func() ([]byte, error) { return s.Open("other", sealed, "connector", "id") },
			"another connector": func() ([]byte, error) { return s.Open("purpose", sealed, "connector2", "id") },
			"no binding":        func() ([]byte, error) { return s.Open("purpose", sealed) },
			"joined bindings":   func() ([]byte, error) { return s.Open("purpose", sealed, "connectori", "d") },
			"another secret":    func() ([]byte, error) { return sealer(t, secretB, nil).Open("purpose", sealed, "connector", "id") },
		} {
			if _, err := open(); !errors.Is(err, ErrOpen) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestAChangedBitIsRefused(t *testing.T) {
	t.Parallel()
	s := sealer(t, secretA, secretB)
	sealed := s.Seal("purpose", []byte("plain"))
	for i := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := s.Open("purpose", changed); !errors.Is(err, ErrOpen) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := s.Open("purpose", sealed[:n]); !errors.Is(err, ErrOpen) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestAnOldSecretOpensAndTheNewOneSeals(t *testing.T) {
	t.Parallel()
	before, between, after := sealer(t, secretA, nil), sealer(t, secretB, secretA), sealer(t, secretB, nil)
	if got, err := between.Open("p", before.Seal("p", []byte("old"))); err != nil || string(got) != "old" {
		t.Errorf("Open = %q, %v", got, err)
	}
	if got, err := after.Open("p", between.Seal("p", []byte("new"))); err != nil || string(got) != "new" {
		t.Errorf("Open = %q, %v", got, err)
	}
	sumA, _ := before.Sums("p", "a", "b")
	sumB, old := between.Sums("p", "a", "b")
	if !bytes.Equal(old, sumA) || bytes.Equal(sumB, sumA) {
		t.Error("the old hash is not that of the old secret")
	}
	if other, _ := before.Sums("p", "ab", ""); bytes.Equal(other, sumA) {
		t.Error("the hash ignores where parts end")
	}
}

func TestSecretsHave32Bytes(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][2][]byte{{nil, nil}, {secretA[1:], nil}, {nil, secretA}, {secretA, {}}, {secretA, secretB[1:]}} {
		if _, err := New(secrets[0], secrets[1]); err == nil {
			t.Errorf("%d and %d bytes were accepted", len(secrets[0]), len(secrets[1]))
		}
	}
}

// testdata/vectors.txt has values that earlier releases sealed: purpose, bindings, plain text, and
// the sealed value in hex.
func TestValuesOfEarlierReleasesOpen(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := sealer(t, secretA, nil)
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		fields := strings.Split(lines.Text(), "\t")
		sealed, err := hex.DecodeString(fields[3])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Open(fields[0], sealed, strings.Split(fields[1], ",")...); err != nil || string(got) != fields[2] {
			t.Errorf("%s: %q, %v", fields[0], got, err)
		}
	}
	if n < 3 {
		t.Errorf("%d vectors", n)
	}
}

// FuzzOpen checks that only the sealed value, which is one of the vectors, can be opened.
func FuzzOpen(f *testing.F) {
	s := sealer(f, secretA, secretB)
	sealed, err := hex.DecodeString("8311840dbcc89db97749d20eac2dcae3f8b212c4d2ac3d7a4b503c351914fae70796ff")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil))
	f.Add(sealed)
	f.Add(sealed[:8])
	f.Add(append(bytes.Clone(sealed), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := s.Open("card detail", b, "c", "card-1")
		switch {
		case bytes.Equal(b, sealed) != (err == nil):
			t.Errorf("%x opened to %q, %v", b, plain, err)
		case err != nil && (!errors.Is(err, ErrOpen) || plain != nil):
			t.Errorf("%q, %v", plain, err)
		}
	})
}
