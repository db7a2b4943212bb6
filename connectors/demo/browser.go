package demo

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"
)

var shopTemplate = template.Must(template.ParseFS(files, "page/shop.html"))

// handleShop serves the customer's own page, on which the very script runs that
// an operator puts into theirs. The scripts of Upscope and of the chat beside it
// are stand-ins, which report what they are told to browser.
func (d *HelpDesk) handleShop(mux *http.ServeMux) {
	if d.opts.PageScript == nil {
		return
	}
	mux.HandleFunc("GET /shop", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		if err := shopTemplate.Execute(&b, nil); err != nil {
			d.opts.Log.Error("page not rendered", "err", err)
			http.Error(w, "The page could not be made.", http.StatusInternalServerError)
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

// browser takes what the stand-ins were told: by the widget of the chat, the
// key, and that there is a new guest; by Upscope's, who the visitor is, and that
// it is a new one.
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

// ours puts the demo's name where the script says that the chat is Rocket.Chat.
func ours(ids []string) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, strings.Replace(id, "rocketchat:", "demo:", 1))
	}
	return out
}
