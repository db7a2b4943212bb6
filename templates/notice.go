package templates

import (
	"cmp"
	"fmt"
	"html/template"
	"time"

	"cobrowse-bridge/templates/clean"
)

// A Notice is a page that says what happened, what that means for the agent and
// what to do next.
type Notice struct {
	Kind Kind
	// Case says more about the Kind; it may be empty.
	Case Case
	// Service is the name of the chat service that shows the co-browse message, if known.
	Service string
	// Account is the name of the chat account to which the co-browse message was sent, if it may be shown.
	Account string
	// Agent is the name of the agent who is asking, if known.
	Agent string
	Chat  Link
	// Retry is the address of the "Try again" link, which some kinds label
	// otherwise, for example "Sign in"; empty leaves the link out.
	Retry string
	// Renew is where the form that sends a new link is posted, without fields;
	// empty leaves it out.
	Renew string
	// Other is another way to continue.
	Other Link
	// SignOut offers to sign out, by a form that is posted to /signout.
	SignOut bool
	// Wait is how long to wait before trying again; zero means 10 seconds.
	Wait time.Duration
	// Request is the id of the request that failed, for the administrator; empty leaves it out.
	Request string
}

// A Case is a special case of a Kind, in which the notice has other texts.
type Case string

// The cases.
const (
	CaseChannel    Case = "channel"     // the button is that of a message in a channel
	CaseDesk       Case = "desk"        // the customer was looked up on the desk
	CaseClaimed    Case = "claimed"     // this button itself was pressed in another browser
	CaseCode       Case = "code"        // the customer was found by a lookup code
	CaseRenewed    Case = "renewed"     // a new link was sent less than a minute ago
	CaseSignIn     Case = "sign-in"     // sign-ins from the same IP address failed
	CaseOwnCodes   Case = "own-codes"   // the agent typed too many wrong codes
	CaseOtherCodes Case = "other-codes" // other agents typed many wrong codes, and this one a few
	CaseWatch      Case = "watch"       // the agent wants to see a customer's screen
	CaseStop       Case = "stop"        // the agent wants to end a session
	CaseLookUp     Case = "look-up"     // the agent wants to look a customer up
)

const defaultWait = 10 * time.Second

type noticeView struct {
	Frame   frame
	Icon    string
	Tone    string
	Means   string
	Next    template.HTML
	Retry   Link
	Renew   string
	Other   Link
	SignOut bool
	Request string
}

// sameForAll reports whether the notice says nothing but its Kind, and at most links to the desk.
func (n Notice) sameForAll() bool {
	return n == Notice{Kind: n.Kind} || n == Notice{Kind: n.Kind, Chat: Link{GoToDesk, deskPath}}
}

func (n Notice) view() (string, any, error) {
	texts, ok := notices[n.Kind]
	if !ok {
		return "", nil, fmt.Errorf("no texts for notice %q", n.Kind)
	}
	if n.Kind == KindNeutral {
		// Robots learn nothing, whatever the caller filled in.
		return "notice", noticeView{Frame: frame{Title: texts.title, Bare: true}, Means: texts.means}, nil
	}
	special := texts.cases[n.Case]
	texts.title, texts.means = cmp.Or(special.title, texts.title), cmp.Or(special.means, texts.means)
	v := noticeView{
		Frame: frame{Title: texts.title, Agent: clean.Text(n.Agent, maxName), Chat: cleanLink(n.Chat, OpenChatLabel)},
		Icon:  texts.icon, Tone: texts.tone, Means: texts.means,
		Retry: Link{cmp.Or(texts.retry, tryAgain), n.Retry}, Renew: n.Renew,
		Other: cleanLink(n.Other, openInUpscope), SignOut: n.SignOut, Request: clean.Text(n.Request, maxName),
	}
	next := texts.next
	if texts.nextRenew != nil && n.Renew != "" {
		next = texts.nextRenew
	}
	if texts.nextOther != nil && v.Other.Address != "" {
		next = texts.nextOther
	}
	if special.next != nil {
		next = special.next
	}
	v.Next = next.HTML(values{"wait": span(cmp.Or(n.Wait, defaultWait)), "service": clean.Text(n.Service, maxName), "account": clean.Text(n.Account, maxName)})
	return "notice", v, nil
}
