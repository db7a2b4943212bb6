package templates

import "cobrowse-bridge/templates/clean"

// Connect is the page that asks an agent whether the chat account that a card was
// sent to is theirs. Its form is posted to Path with connect=1; "Sign out" is a
// POST to /signout.
type Connect struct {
	// Path is the door's own address.
	Path  string
	Agent Agent
	// Service is like "Slack"; Account is the name of the chat account there.
	Service, Account string
	Chat             Link
	// CanSignOut is false where a proxy in front signs people in.
	CanSignOut bool
}

type connectView struct {
	Frame            frame
	Path             string
	Who              Agent
	Service, Account string
	CanSignOut       bool
}

func (c Connect) view() (string, any, error) {
	v := connectView{
		Frame: frame{Title: connectTitle, Chat: cleanLink(c.Chat, OpenChatLabel)},
		Path:  c.Path, Who: c.Agent.view(), CanSignOut: c.CanSignOut,
		Service: clean.Text(c.Service, maxName), Account: clean.Text(c.Account, maxName),
	}
	return "connect", v, nil
}
