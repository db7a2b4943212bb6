package demo

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"
)

var shopTemplate = template.Must(template.ParseFS(files, "page/shop.html"))

// handleShop serves a page of the shop for the customer. It runs the same script that an
// operator puts into their pages. Its scripts of Upscope and of the chat are stand-ins, which
// report the calls of that script to d.browser.
func (d *HelpDesk) handleShop(mux *http.ServeMux) {
	if d.opts.PageScript == nil {
		return
	}
	mux.HandleFunc("GET /shop", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		if err := shopTemplate.Execute(&b, nil); err != nil {
			d.opts.Log.Error("page not rendered", "err", err)
			http.Error(w, "The page could not be rendered.", http.StatusInternalServerError)
			return
		}
		sendPage(w, &b)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(d.opts.PageScript)
	})
	mux.Handle("POST /browser", http.NewCrossOriginProtection().Handler(http.HandlerFunc(d.browser)))
}

// browser handles the reports of the stand-ins: from the chat's widget a key or a new guest,
// from Upscope's script the visitor's identities or a reset.
func (d *HelpDesk) browser(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form could not be read.", http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, v := &d.shop, d.opts.Visitors
	key := r.PostForm.Get("key")
	switch r.PostForm.Get("do") {
	case "identify":
		ids := ours(r.PostForm["id"])
		if len(ids) > 0 {
			s.browser.IntegrationID = ids[0]
		}
		v.Identify(s.visitor, ids, ours(r.PostForm["identity"]))
	case "reset":
		s.browser.IntegrationID = ""
		s.visitor = v.Reset(s.visitor, s.browser)
	case "register":
		s.key, s.chat = key, nil
	case "key":
		s.key = key
		if s.chatting() && s.chat.key != key {
			s.chat.key = key
			d.tell("chat.message", s.chat)
		}
	}
	d.touch()
	w.WriteHeader(http.StatusNoContent)
}

// ours replaces the script's product name, rocketchat, with demo.
func ours(ids []string) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, strings.Replace(id, "rocketchat:", "demo:", 1))
	}
	return out
}
