package slack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
)

// eventType names our metadata on a post. Every app of the workspace can read it,
// so all that it says is a print.
const eventType = "cobrowse_card"

// An attempt is what is known of a post that was tried.
type attempt struct {
	ref bridge.Ref
	// words is a print of what was said, for what cannot be edited.
	words string
	// looks is how often a post that is perhaps there was looked for in vain.
	looks int
}

// A message can be read a little later than it was posted. So one whose answer was
// lost is looked for this often, with pauses, before it is posted again.
const (
	maxLooks  = 3
	lookAgain = 3 * time.Second
)

// show posts the card at the place, or edits it.
func (c *connector) show(ctx context.Context, at bridge.Place, card bridge.Card) (bridge.Ref, error) {
	if at.Connector != "" && at.Connector != c.name {
		return "", bridge.Permanent(errors.New("the place belongs to another connector"))
	}
	p, err := parsePlace(at.Address)
	if err != nil {
		return "", bridge.Permanent(err)
	}
	who := oneAgent
	if p.shared() {
		who = several
		outside, err := c.outsiders(ctx, p.channel)
		if err != nil {
			return "", err
		}
		if outside {
			who = outsiders
		}
	}
	m, err := layout(card, who)
	if err != nil {
		return "", bridge.Permanent(err)
	}
	switch p.kind {
	case placeHome:
		return c.publish(ctx, p.user, m)
	case placeReply:
		return c.reply(ctx, p, card.ID, card.Ref, m)
	}
	return c.post(ctx, p, card.ID, card.Ref, m)
}

// publish puts a message on somebody's Home tab. It replaces what was there, so
// it may be repeated.
func (c *connector) publish(ctx context.Context, user string, m message) (bridge.Ref, error) {
	_, err := c.api.PublishViewContext(ctx, slackapi.PublishViewContextRequest{
		UserID: user, View: slackapi.HomeTabViewRequest{Type: slackapi.VTHomeTab, Blocks: slackapi.Blocks{BlockSet: m.blocks}},
	})
	if err != nil {
		return "", c.fault("POST views.publish", err)
	}
	return "home", nil
}

// post posts a message or edits the one there is. The ref is the channel and the
// time stamp that Slack answered.
func (c *connector) post(ctx context.Context, p place, id string, ref bridge.Ref, m message) (bridge.Ref, error) {
	done, err := c.turns.take(ctx, p.channel+p.user)
	if err != nil {
		return "", err
	}
	defer done()
	if ref != "" {
		return ref, c.edit(ctx, ref, m)
	}
	mark := digest(c.name, id, p.address())
	before, tried := c.attempts.get(mark)
	if before.ref != "" {
		return before.ref, c.edit(ctx, before.ref, m)
	}
	channel, looked := p.channel, false
	if p.kind == placeDM {
		if channel, err = c.direct(ctx, p.user); err != nil {
			return "", err
		}
	}
	if p.kind != placeThread {
		if ref, looked, err = c.find(ctx, channel, mark); err != nil {
			return "", err
		}
	}
	switch {
	case ref != "":
		c.attempts.put(mark, attempt{ref: ref})
		return ref, c.edit(ctx, ref, m)
	case tried && !looked:
		return "", bridge.Permanent(fmt.Errorf("POST chat.postMessage: %w", errPerhaps))
	case tried && before.looks+1 < maxLooks:
		before.looks++
		c.attempts.put(mark, before)
		return "", bridge.RetryAfter(fmt.Errorf("POST chat.postMessage: %w", errUnseen), lookAgain)
	}
	options := append(m.options(), slackapi.MsgOptionMetadata(slackapi.SlackMetadata{
		EventType: eventType, EventPayload: map[string]any{"card": mark},
	}))
	if p.kind == placeThread {
		options = append(options, slackapi.MsgOptionTS(p.thread))
	}
	in, ts, err := c.api.PostMessageContext(ctx, channel, options...)
	if err == nil && (!anywhere.MatchString(in) || !stamp(ts)) {
		err = errAnswer
	}
	if err != nil {
		return "", c.failed(mark, "POST chat.postMessage", !looked, err)
	}
	ref = bridge.Ref(in + "/" + ts)
	c.attempts.put(mark, attempt{ref: ref})
	return ref, nil
}

// failed says what becomes of a post that failed. What may have arrived is not
// posted again, unless the next try can look for it.
func (c *connector) failed(mark, op string, blind bool, err error) error {
	fault := c.fault(op, err)
	if undone(err) {
		return fault
	}
	c.attempts.put(mark, attempt{})
	if blind {
		return bridge.Permanent(fmt.Errorf("%w (%w)", errPerhaps, fault))
	}
	return fault
}

// options are the same for every call that posts. Both flags are needed to keep
// Slack from fetching the links (docs.slack.dev/messaging/unfurling-links-in-messages).
func (m message) options() []slackapi.MsgOption {
	return append(m.content(), slackapi.MsgOptionDisableLinkUnfurl(), slackapi.MsgOptionDisableMediaUnfurl())
}

// content is text and blocks: an update with one of them removes the other.
func (m message) content() []slackapi.MsgOption {
	return []slackapi.MsgOption{slackapi.MsgOptionText(m.text, false), slackapi.MsgOptionBlocks(m.blocks...)}
}

// edit changes a post. One that cannot be changed (deleted, too old, not ours)
// stays as it is, and no new one is made.
func (c *connector) edit(ctx context.Context, ref bridge.Ref, m message) error {
	channel, ts, _ := strings.Cut(string(ref), "/")
	if !anywhere.MatchString(channel) || !stamp(ts) {
		return bridge.Permanent(errors.New("the post is not named as this connector names posts"))
	}
	_, _, _, err := c.api.UpdateMessageContext(ctx, channel, ts, m.content()...)
	return c.fault("POST chat.update", err)
}

// direct gives the channel of our direct message with somebody, which reading it
// needs. Without the scope for that their id does for posting.
func (c *connector) direct(ctx context.Context, user string) (string, error) {
	if channel, ok := c.directs.get(user); ok {
		return channel, nil
	}
	opened, _, _, err := c.api.OpenConversationContext(ctx, &slackapi.OpenConversationParameters{Users: []string{user}})
	switch {
	case refusedAs(err, "missing_scope"):
		return user, nil
	case err != nil:
		return "", c.fault("POST conversations.open", err)
	case opened == nil || !anywhere.MatchString(opened.ID):
		return "", fmt.Errorf("POST conversations.open: %w", errAnswer)
	}
	c.directs.put(user, opened.ID)
	return opened.ID, nil
}

// recent is how many of a channel's last messages are looked through for a post
// of ours.
const recent = 50

// find looks for an earlier post of ours, made by a process that did not live to
// tell. looked is false where Slack does not let us read.
func (c *connector) find(ctx context.Context, channel, mark string) (ref bridge.Ref, looked bool, err error) {
	me, err := c.self(ctx)
	if err != nil {
		return "", false, err
	}
	scopes := map[byte][]string{'D': {"im:history"}, 'C': {"channels:history", "groups:history"}, 'G': {"groups:history"}}[channel[0]]
	if !slices.ContainsFunc(scopes, me.may) {
		return "", false, nil
	}
	answer, err := c.api.GetConversationHistoryContext(ctx, &slackapi.GetConversationHistoryParameters{
		ChannelID: channel, Limit: recent, IncludeAllMetadata: true,
	})
	switch {
	case refusedAs(err, "missing_scope", "not_in_channel", "channel_not_found"):
		return "", false, nil
	case err != nil:
		return "", false, c.fault("POST conversations.history", err)
	}
	for _, m := range answer.Messages {
		if m.BotID == me.bot && m.Metadata.EventType == eventType && m.Metadata.EventPayload["card"] == mark && stamp(m.Timestamp) {
			return bridge.Ref(channel + "/" + m.Timestamp), true, nil
		}
	}
	return "", true, nil
}
