package bridge

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"

	"github.com/gorilla/mux"
)

// script serves a connector's script for the pages of the operator's site. Any origin may read it:
// without that, browsers do not check the tag's integrity attribute (www.w3.org/TR/SRI).
func (b *Bridge) script(w http.ResponseWriter, r *http.Request) error {
	c := b.connectors[mux.Vars(r)["connector"]]
	if c.Page == nil {
		return web.ErrNoPage
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(c.Page)))
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.Page))
	return nil
}

// static serves styles and icons. Their names change with their content, so browsers may keep them.
func (b *Bridge) static(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.StripPrefix("/static/", http.FileServerFS(templates.Static())).ServeHTTP(w, r)
	return nil
}
