package bridge

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"cobrowse-bridge/bridge/web"
)

// A Redactor replaces secrets in everything that is written to a log: the secrets given to AddSecrets, also in their
// JSON, URL and base64 forms, and the tokens in the paths /w/ and /upscope/ended/. This is a second line of defence: no
// code should log a secret. A secret that is split over two Writes is not found. Loggers write whole lines.
type Redactor struct {
	w io.Writer

	mu      sync.Mutex
	forms   []string // of the secrets, the longest first
	secrets atomic.Pointer[strings.Replacer]
}

// NewRedactor returns a Redactor that writes to w and knows no secrets yet.
func NewRedactor(w io.Writer) *Redactor {
	r := &Redactor{w: w}
	r.secrets.Store(strings.NewReplacer())
	return r
}

// AddSecrets adds secrets to replace. It ignores empty ones.
func (r *Redactor) AddSecrets(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range secrets {
		if s == "" {
			continue
		}
		quoted, _ := json.Marshal(s) // for a string there is no error
		r.forms = append(r.forms, s, string(quoted[1:len(quoted)-1]), url.QueryEscape(s), url.PathEscape(s),
			base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)))
	}
	// One secret may begin with another, and the Replacer takes the first that fits.
	slices.SortStableFunc(r.forms, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, form := range r.forms {
		pairs = append(pairs, form, redacted)
	}
	r.secrets.Store(strings.NewReplacer(pairs...))
}

const (
	redacted  = "[redacted]"
	endedPath = "/upscope/ended/"
)

var secretPath = regexp.MustCompile(`(` + web.DoorPath + `|` + endedPath + `)[A-Za-z0-9_-]{22,}`) // 22 characters are 128 bits

// Write writes p with the secrets replaced. It returns len(p), as io.Writer requires, whatever it writes.
func (r *Redactor) Write(p []byte) (int, error) {
	clean := r.secrets.Load().Replace(string(p))
	if strings.Contains(clean, web.DoorPath) || strings.Contains(clean, endedPath) {
		clean = secretPath.ReplaceAllString(clean, "${1}"+redacted)
	}
	if _, err := io.WriteString(r.w, clean); err != nil {
		return 0, err
	}
	return len(p), nil
}
