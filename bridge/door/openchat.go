package door

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// openChat redirects the agent to the conversation, with a link that it requests from the chat service. The link
// signs the agent in, so it is never stored; repeats keeps it briefly in memory for a double click. As for a watch
// link, the browser must be the agent's, the conversation open, and the limit not reached, and the audit entry is
// written first.
func (door *Door) openChat(w http.ResponseWriter, r *http.Request, c CardRequest, browser string) error {
	if !door.book.HasChatLink(c.Card) { // the button is not offered any more
		return door.showPage(w, r, c)
	}
	if c.chatEnded {
		return web.ErrClosed
	}
	key := repeatKey{kind: "chat", card: c.ID, agent: c.actor(), browser: browser}
	answer, _, err := door.repeats.deduplicate(r.Context(), key, "", func(ctx context.Context) (outcome, error) {
		address, err := door.openChatNow(ctx, c, browser)
		return outcome{address: address}, err
	})
	if err != nil {
		return err
	}
	web.RedirectWithoutReferrer(w, answer.address)
	return nil
}

// openChatNow checks that the agent still serves the chat, writes the audit entry, gets the link, and checks its host.
func (door *Door) openChatNow(ctx context.Context, c CardRequest, browser string) (address string, err error) {
	conversation, err := door.book.ConversationCard(ctx, c.Card)
	if err != nil {
		return "", err
	}
	if err := door.mayOpenChat(ctx, c, conversation, browser); err != nil {
		door.Refused(ctx, c, err)
		return "", err
	}
	who := c.About.Agent
	if c.Who.ID != "" {
		who = chat.Agent{ID: c.Who.ID, Name: c.actorName(), Email: c.Who.Email}
	}
	address, err = door.connectors[conversation.Connector].OpenChat(ctx, conversation.Chat, who)
	if err == nil && !door.chatHosts[conversation.Connector].Allow(address) {
		err = errors.New("the chat service returned a link to a host that is not allowed")
	}
	if err != nil {
		door.book.Record(ctx, door.auditEntry(c, "chat not entered", ""))
		return "", fmt.Errorf("%w: %w", web.ErrNoChat, err)
	}
	return address, nil
}

// mayOpenChat checks that the agent still serves the conversation, and records that they open it.
func (door *Door) mayOpenChat(ctx context.Context, c CardRequest, conversation card.Card, browser string) error {
	confirmed, err := door.confirmServing(ctx, c.Card, conversation)
	if err != nil {
		return err
	}
	if !confirmed {
		if err := door.checkPendingChanges(ctx, c.Card, conversation); err != nil {
			return err
		}
	}
	return door.recordChatOpening(ctx, c, conversation, browser)
}

// recordChatOpening writes the audit entry about an agent who opens a conversation. In the same transaction it
// counts against the limit and, where agents do not sign in, remembers the browser for the agent.
func (door *Door) recordChatOpening(ctx context.Context, c CardRequest, conversation card.Card, browser string) error {
	change := store.Change{
		Spend: []limit.Spending{{Limit: door.budgets.ChatOpenings, Subject: c.actor()}},
		Audit: []audit.Entry{door.auditEntry(c, "entering chat", conversation.Chat)},
	}
	if err := door.limits.CheckCached(change.Spend); err != nil {
		return err
	}
	if !door.web.SignsIn() {
		change.Claim = c.claim(browser)
	}
	return door.commitPress(ctx, change)
}

// startWait stores a notification for the agent for when the visitor is online again, and shows a confirmation.
func (door *Door) startWait(w http.ResponseWriter, r *http.Request, c CardRequest) error {
	if !door.book.CanNotifyAgent(c.Card) || !c.CanWaitForVisitor() {
		return door.showPage(w, r, c)
	}
	if err := door.work.StartWait(r.Context(), c.Card); err != nil {
		return err
	}
	return door.web.Render(w, http.StatusOK, templates.Notice{Kind: templates.KindWaiting, Agent: c.actorName(), Chat: c.ChatLink()})
}
