package templates

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// A Notice is a page that says what happened, what that means for the agent and
// what to do next.
type Notice struct {
	Kind Kind
	// Agent is the name of the agent who is asking, if known.
	Agent string
	Chat  Link
	// Retry is where "Try again" leads, which is "Sign in" where that is the way
	// on; empty leaves it out.
	Retry string
	// Renew is where the form that sends a fresh link is posted, without
	// fields; empty leaves it out.
	Renew string
	// Other is another way to go on.
	Other Link
	// SignOut offers to sign out, by a form that is posted to /signout.
	SignOut bool
	// Wait is how long to wait before trying again; zero means "a moment".
	Wait time.Duration
}

type noticeView struct {
	frame
	Icon  string
	Tone  string
	What  string
	Means string
	Next  string
	Retry Link
	Renew string
	Other Link
	// SignOut is for whoever is signed in as the wrong one.
	SignOut bool
}

func (n Notice) view() (string, any, error) {
	w, ok := kinds[n.Kind]
	if !ok {
		return "", nil, fmt.Errorf("no words for notice %q", n.Kind)
	}
	v := noticeView{
		frame: frame{Title: w.title, Agent: clean(n.Agent, maxName), Chat: cleanLink(n.Chat, "Back to the chat")},
		Icon:  w.icon, Tone: w.tone,
		What: w.what, Means: w.means, Next: w.next,
		Retry: Link{cmp.Or(w.retry, "Try again"), n.Retry}, Renew: n.Renew,
		Other: cleanLink(n.Other, "Open in Upscope"), SignOut: n.SignOut,
	}
	if n.Kind == KindNeutral {
		// A robot learns nothing, whatever the caller filled in.
		return "notice", noticeView{frame: frame{Title: w.title, Bare: true}}, nil
	}
	if w.withRenew != "" && n.Renew != "" {
		v.Next = w.withRenew
	}
	if w.withOther != "" && v.Other.Address != "" {
		v.Next = w.withOther
	}
	v.Next = strings.ReplaceAll(v.Next, "{wait}", span(n.Wait))
	return "notice", v, nil
}
