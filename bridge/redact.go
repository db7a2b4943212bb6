package bridge

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
)

// A Redactor takes secrets out of everything written to a log: as they are and
// as JSON, URLs and base64 would write them, together with the handles of cards'
// addresses. It is the last guard: nothing should write a secret to a log in the
// first place. Each Write is looked at by itself, which fits loggers, since they
// write whole lines.
type Redactor struct {
	w io.Writer

	mu      sync.Mutex
	pairs   []string
	secrets atomic.Pointer[strings.Replacer]
}

// Redact returns a Redactor that writes to w and knows no secrets yet.
func Redact(w io.Writer) *Redactor {
	r := &Redactor{w: w}
	r.Hide()
	return r
}

// Hide makes the secrets known. Empty ones are passed over.
func (r *Redactor) Hide(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range secrets {
		if s == "" {
			continue
		}
		quoted, _ := json.Marshal(s) // a string can always be marshalled
		for _, form := range []string{
			s, strings.Trim(string(quoted), `"`), url.QueryEscape(s), url.PathEscape(s),
			base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
		} {
			r.pairs = append(r.pairs, form, redacted)
		}
	}
	r.secrets.Store(strings.NewReplacer(r.pairs...))
}

const redacted = "[redacted]"

var secretPath = regexp.MustCompile(`(/w/|/upscope/ended/)[A-Za-z0-9_-]{22,}`)

// Write writes p without what it must not hold.
func (r *Redactor) Write(p []byte) (int, error) {
	clean := r.secrets.Load().Replace(string(p))
	if strings.Contains(clean, doorPath) || strings.Contains(clean, "/upscope/ended/") {
		clean = secretPath.ReplaceAllString(clean, "${1}"+redacted)
	}
	if _, err := io.WriteString(r.w, clean); err != nil {
		return 0, err
	}
	return len(p), nil
}
