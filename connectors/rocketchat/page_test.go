package rocketchat

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"regexp"
	"testing"
)

// integrity returns the integrity attribute for a script (www.w3.org/TR/SRI).
func integrity(script []byte) string {
	sum := sha512.Sum384(script)
	return "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestTheIntegrityInTheReadmeIsThatOfTheScript(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`sha384-[A-Za-z0-9+/=]+`).FindAllString(string(readme), -1)
	if len(named) == 0 {
		t.Fatal("no integrity in README.md")
	}
	for _, n := range named {
		if n != integrity(pageScript) {
			t.Errorf("README.md says %s, the script is %s", n, integrity(pageScript))
		}
	}
}

func TestThePageScriptIsSmallAndServed(t *testing.T) {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = w.Write(pageScript)
	_ = w.Close()
	if b.Len() > 3072 {
		t.Errorf("%d bytes, %d compressed", len(pageScript), b.Len())
	}
	if got := newDesk(t).Page; !bytes.Equal(got, pageScript) {
		t.Errorf("the connector has a page script of %d bytes", len(got))
	}
}
