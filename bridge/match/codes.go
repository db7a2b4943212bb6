package match

import (
	"context"
	"errors"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/web"
)

// Search searches for a card's visitor by clues. It uses a lookup code only the first time that the card gets it,
// because Upscope may give the code to another visitor later. If retry is set, the same delivery is retried, and its
// code is used again. Codes are short and can be guessed, so wrong ones are limited; see codeLimits. At the limit
// Search ignores the code.
func (matcher *Matcher) Search(ctx context.Context, c *card.Card, clues chat.Clues, retry bool) (card.Match, error) {
	codeHash := c.CodeHash(clues.LookupCode)
	newCode := clues.LookupCode != "" && codeHash != c.About.Code
	if newCode {
		m, err := matcher.TryCode(ctx, *c, "", clues)
		if err == nil {
			c.About.Code = codeHash
		}
		if !errors.Is(err, web.ErrThrottled) {
			return m, err
		}
	}
	if newCode || !retry {
		clues.LookupCode = ""
	}
	return matcher.Finder.Find(ctx, clues) // a code that is left is that of c.About.Code
}

// TryCode searches by clues with a lookup code, or returns web.ErrThrottled if too many wrong codes were tried. It
// counts the code as wrong before the search, so that requests at the same time cannot get around the limit. from is
// the IP address of the agent's request; empty if unknown, or if the code came from a chat.
func (matcher *Matcher) TryCode(ctx context.Context, c card.Card, from string, clues chat.Clues) (card.Match, error) {
	limits := matcher.codeLimits(ctx, c, from)
	if err := matcher.limits.Spend(ctx, limits...); err != nil {
		return card.Match{}, err
	}
	m, err := matcher.Finder.Find(ctx, clues)
	if err != nil || len(m.Visitors) > 0 { // Find returns no visitor if several have the code: that counts as wrong
		if err := matcher.limits.GiveBack(context.WithoutCancel(ctx), limits...); err != nil {
			matcher.log.WarnContext(ctx, "lookup code not removed from the limit of wrong codes", "connector", c.Connector, "err", err)
		}
	}
	return m, err
}

// codeLimits returns the limits against which a wrong lookup code counts: those of the chat and of all chats, or
// those of the agent, all agents and the address.
func (matcher *Matcher) codeLimits(ctx context.Context, c card.Card, from string) []limit.Spending {
	if c.Kind == store.KindChat {
		return []limit.Spending{{Limit: matcher.budgets.AllChatCodes}, {Limit: matcher.budgets.ChatCodes, Subject: c.Connector + "\x00" + c.Chat}}
	}
	return append(matcher.AgentLimits(ctx, c.Agent), web.ByAddress(matcher.budgets.AddressCodes, from)...)
}

// AgentLimits returns the limits against which a wrong code of an agent counts. agent is the id of one of the
// agent's accounts, or of the agent.
func (matcher *Matcher) AgentLimits(ctx context.Context, agent string) []limit.Spending {
	if account, err := matcher.store.Account(ctx, agent); err == nil {
		agent = account.Agent
	}
	return []limit.Spending{{Limit: matcher.budgets.AllAgentCodes}, {Limit: matcher.budgets.AgentCodes, Subject: agent}}
}
