package match

import (
	"context"
	"errors"
	"slices"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// How guesses of lookup codes are limited. There are ten thousand codes: if 50 visitors show one, one
// guess in 200 is correct.
//
// A code from a chat counts against the chat and against all chats. Strangers can begin any number of
// chats, so no delay for each chat limits them together. Therefore codes above the total are not
// looked up; the card asks its agent to type the code. Without an agent, 30 wrong codes reach Upscope
// at once and then 30 an hour, however many chats there are: about one correct guess in seven hours.
//
// A code that an agent types counts against the agent (5 at once, then 30 an hour), and against the
// totals of all agents and of the address. While a total is used up, each agent has only one wrong
// code in five minutes, 12 an hour. So A agents together try at most 12·A + 30 wrong codes an hour,
// and 5·A once. All of them are people with an account, and the audit log has each look-up. An agent
// without a wrong code in the last five minutes is never refused because of others.

// A codeBudget has the limits against which a wrong lookup code counts.
type codeBudget struct {
	own    []limit.Spending
	totals []limit.Spending
	// slow replaces totals while one of them is used up. If it is nil, the code is refused then.
	slow []limit.Spending
}

func (matcher *Matcher) chatBudget(c card.Card) codeBudget {
	return codeBudget{
		own:    []limit.Spending{{Limit: matcher.budgets.ChatCodes, Subject: c.Connector + "\x00" + c.Chat}},
		totals: []limit.Spending{{Limit: matcher.budgets.AllChatCodes}},
	}
}

// agentBudget is for codes that an agent types. agent is the id of one of the agent's accounts, or of
// the agent. from is the IP address of the request, or "".
func (matcher *Matcher) agentBudget(ctx context.Context, agent, from string) codeBudget {
	if account, err := matcher.store.Account(ctx, agent); err == nil {
		agent = account.Agent
	}
	return codeBudget{
		own:    []limit.Spending{{Limit: matcher.budgets.AgentCodes, Subject: agent}},
		totals: append(web.ByAddress(matcher.budgets.AddressCodes, from), limit.Spending{Limit: matcher.budgets.AllAgentCodes}),
		slow:   []limit.Spending{{Limit: matcher.budgets.SlowCodes, Subject: agent}},
	}
}

// use calls spend with the limits that count now, and returns them with its error.
func (b codeBudget) use(spend func(...limit.Spending) error) ([]limit.Spending, error) {
	acts := slices.Concat(b.own, b.totals)
	err := spend(acts...)
	if b.slow != nil && b.exhaustedTotal(err) {
		acts = slices.Concat(b.own, b.slow)
		err = spend(acts...)
	}
	return acts, err
}

// exhaustedTotal reports whether err says that a total is used up.
func (b codeBudget) exhaustedTotal(err error) bool {
	spent, ok := errors.AsType[*limit.SpentError](err)
	return ok && slices.Contains(b.totals, spent.Act)
}

// ErrNoNewClue means that nothing is known but a code by which the card's visitor was found before, or
// one that the agent has replaced. The card stays as it is.
var ErrNoNewClue = errors.New("no new clue")

// Search searches for a card's visitor by clues. It uses a lookup code only the first time that the card gets it,
// because Upscope may give the code to another visitor later. If retry is set, the same delivery is retried, and its
// code is used again. If a limit of wrong codes is used up, Search ignores the code, and the card says why.
func (matcher *Matcher) Search(ctx context.Context, c *card.Card, clues chat.Clues, retry bool) (card.Match, error) {
	codeHash := c.CodeHash(clues.LookupCode)
	if c.About.Replaced && codeHash == c.About.WithheldCode {
		clues.LookupCode, codeHash = "", ""
	}
	newCode := clues.LookupCode != "" && codeHash != c.About.Code
	if newCode {
		budget := matcher.chatBudget(*c)
		if c.Kind != store.KindChat {
			budget = matcher.agentBudget(ctx, c.Agent, "")
		}
		m, err := matcher.tryCode(ctx, budget, clues)
		if err == nil {
			c.About.Code, c.About.Withheld, c.About.Replaced = codeHash, "", false
		}
		if !errors.Is(err, web.ErrThrottled) {
			return m, err
		}
		c.About.Withheld, c.About.WithheldCode, c.About.Replaced = matcher.Withheld(err), codeHash, false
	}
	if newCode || !retry {
		clues.LookupCode = ""
	}
	if clues.Empty() && c.Visitor != "" {
		return card.Match{}, ErrNoNewClue
	}
	return matcher.Finder.Find(ctx, clues) // a code that is left is that of c.About.Code
}

// TryCode searches by clues with a lookup code that an agent typed. It returns web.ErrThrottled if the agent may try
// no code now; see Withheld. agent and from are as for CheckAgent.
func (matcher *Matcher) TryCode(ctx context.Context, agent, from string, clues chat.Clues) (card.Match, error) {
	return matcher.tryCode(ctx, matcher.agentBudget(ctx, agent, from), clues)
}

// tryCode counts the code as wrong before the search, so that requests at the same time cannot get around the limit.
func (matcher *Matcher) tryCode(ctx context.Context, budget codeBudget, clues chat.Clues) (card.Match, error) {
	spent, err := budget.use(func(acts ...limit.Spending) error { return matcher.limits.Spend(ctx, acts...) })
	if err != nil {
		return card.Match{}, err
	}
	m, err := matcher.Finder.Find(ctx, clues)
	if err != nil || len(m.Visitors) > 0 { // Find returns no visitor if several have the code: that counts as wrong
		if err := matcher.limits.GiveBack(context.WithoutCancel(ctx), spent...); err != nil {
			matcher.log.WarnContext(ctx, "lookup code not removed from the limit of wrong codes", "err", err)
		}
	}
	return m, err
}

// CheckAgent returns web.ErrThrottled if TryCode would refuse a code of an agent, and counts nothing. agent is the id
// of one of the agent's accounts, or of the agent. from is the IP address of the request; "" if it is not known.
func (matcher *Matcher) CheckAgent(ctx context.Context, agent, from string) error {
	_, err := matcher.agentBudget(ctx, agent, from).use(func(acts ...limit.Spending) error { return matcher.limits.Check(ctx, acts...) })
	return err
}

// Withheld says for texts which limit an ErrThrottled of TryCode or CheckAgent is about.
func (matcher *Matcher) Withheld(err error) templates.Withheld {
	spent, ok := errors.AsType[*limit.SpentError](err)
	if ok && (spent.Act.Limit == matcher.budgets.AllChatCodes || spent.Act.Limit == matcher.budgets.SlowCodes) {
		return templates.WithheldOthers
	}
	return templates.WithheldOwn
}
