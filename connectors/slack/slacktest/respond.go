package slacktest

import (
	"net/http"
	"strings"
	"time"
)

// Limits of a response_url (docs.slack.dev/interactivity/handling-user-interaction).
const (
	responseLife = 30 * time.Minute
	responseUses = 5
)

// A response is the state of a response_url.
type response struct {
	user, channel string
	// original is the message whose button was pressed; empty for a command.
	original string
	born     time.Time
	uses     int
}

func (w *Workspace) newResponse(kind, user, channel, original string) string {
	address := "https://hooks.slack.com/" + kind + "/" + w.Team + "/" + w.id("") + "/tohw4oGhaekoor1O"
	w.responses[address] = &response{user: user, channel: channel, original: original, born: time.Now()}
	return address
}

func (w *Workspace) respond(r *http.Request, args object) answer {
	address := "https://" + r.URL.Host + r.URL.Path
	to := w.responses[address]
	failed := func(why string) answer { return answer{status: http.StatusNotFound, text: why} }
	switch {
	case to == nil || r.Method != http.MethodPost:
		return failed("no_such_url")
	case time.Since(to.born) > responseLife:
		return failed("expired_url")
	case to.uses >= responseUses:
		return failed("used_url")
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return answer{status: http.StatusBadRequest, text: "invalid_payload"}
	}
	to.uses++
	if args["delete_original"] == true {
		w.drop(to)
		return answer{status: http.StatusOK, text: "ok"}
	}
	known := map[string]bool{"response_type": true, "replace_original": true, "text": true, "blocks": true, "unfurl_links": true, "unfurl_media": true, "thread_ts": true, "metadata": true}
	for name := range args {
		if !known[name] {
			w.violate("response_url: unknown field %s", name)
		}
	}
	w.quiet("response_url", args)
	kind := text(args, "response_type")
	if kind != "ephemeral" && kind != "in_channel" {
		w.violate("response_url: response_type is missing")
	}
	p, code := w.body("response_url", args)
	if code != "" {
		return answer{status: http.StatusBadRequest, text: code}
	}
	if args["replace_original"] == true {
		// A command has no original. An earlier reply does not count as one.
		w.drop(to)
	}
	p.Channel, p.TS, p.By = to.channel, w.stamp(), w.BotUser
	if kind != "in_channel" {
		p.For = to.user
	}
	w.posts = append(w.posts, &p)
	return answer{status: http.StatusOK, text: "ok"}
}

func (w *Workspace) drop(to *response) {
	for i, p := range w.posts {
		if to.original != "" && p.TS == to.original && p.Channel == to.channel {
			w.posts = append(w.posts[:i:i], w.posts[i+1:]...)
			return
		}
	}
}
