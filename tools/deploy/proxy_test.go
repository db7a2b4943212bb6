package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes a certificate for nginx to read.
func writeCertificate(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"bridge.example.org"}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "bridge.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	write(t, filepath.Join(folder, "bridge.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// Tests of cmd/bridge run nginx and Caddy with these files. Here only the paths of certificates are
// changed, and the port, which nginx opens and which only root may open.
func TestNginxAcceptsItsFiles(t *testing.T) {
	path := tool(t, "nginx", "apt-get install nginx-light")
	for _, name := range []string{"nginx.conf", "nginx-oauth2-proxy.conf"} {
		at := t.TempDir()
		writeCertificate(t, at)
		write(t, filepath.Join(at, "bridge.conf"), strings.NewReplacer("/etc/ssl/", at+"/", "listen 443 ", "listen 127.0.0.1:8443 ").Replace(read(t, filepath.Join(folder, name))))
		write(t, filepath.Join(at, "nginx.conf"), fmt.Sprintf("pid %[1]s/pid;\nevents {}\nhttp {\n  access_log off;\n  include %[1]s/bridge.conf;\n}\n", at))
		out := run(t, exec.Command(path, "-t", "-p", at, "-c", filepath.Join(at, "nginx.conf"), "-e", "stderr"))
		if strings.Contains(out, "[warn]") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestCaddyAcceptsItsFile(t *testing.T) {
	path := tool(t, "caddy", "go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9")
	if version := run(t, exec.Command(path, "version")); oldCaddy(version) {
		t.Skipf("Caddy is %s, and deploy/Caddyfile needs 2.11", strings.TrimSpace(version))
	}
	for _, upstreams := range []string{"", "UPSTREAMS=bridge:8080", "UPSTREAMS=bridge-1:8080 bridge-2:8080"} {
		cmd := exec.Command(path, "validate", "--adapter", "caddyfile", "--config", filepath.Join(folder, "Caddyfile"))
		cmd.Env = []string{"HOME=" + t.TempDir(), upstreams}
		if out := run(t, cmd); strings.Contains(out, `"level":"warn"`) {
			t.Errorf("Caddy warns: %s", out)
		}
	}
}

// oldCaddy reports whether a version, such as "2.6.2" or "v2.11.9 h1:…", is older than 2.11. One
// that was built without this information prints "unknown" and counts as new.
func oldCaddy(version string) bool {
	var minor int
	n, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "2.%d.", &minor)
	return n == 1 && minor < 11
}
