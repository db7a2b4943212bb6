package slack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"

	slackapi "github.com/slack-go/slack"
)

// eventType is the type of our metadata on a post. Every app in the workspace can read the
// metadata, so it contains only a digest.
const eventType = "cobrowse_card"

// An attempt is what is known of an attempt to post.
type attempt struct {
	ref chat.Ref // empty if it is not known whether the message was posted
	// content is the digest of an ephemeral message, which cannot be edited.
	content string
	// searches is how often the message was searched for and not found.
	searches int
}

// A message can be read only some time after it was posted. So if the answer to a post was
// lost, the message is searched for maxSearches times before it is posted again.
const (
	maxSearches = 3
	searchPause = 3 * time.Second
)

// show posts the card at the place, or edits it.
func (c *connector) show(ctx context.Context, at chat.Place, card chat.Card) (chat.Ref, error) {
	if at.Connector != "" && at.Connector != c.name {
		return "", chat.Permanent(errors.New("the place belongs to another connector"))
	}
	p, err := parsePlace(at.Address)
	if err != nil {
		return "", chat.Permanent(err)
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
		return "", chat.Permanent(err)
	}
	switch p.kind {
	case placeHome:
		return c.publish(ctx, p.user, m)
	case placeReply:
		return c.reply(ctx, p, card.ID, card.Ref, m)
	}
	return c.post(ctx, p, card.ID, card.Ref, m)
}

// publish shows a message on a user's Home tab. It replaces the previous one, so it may be
// repeated.
func (c *connector) publish(ctx context.Context, user string, m message) (chat.Ref, error) {
	_, err := c.api().PublishViewContext(ctx, slackapi.PublishViewContextRequest{
		UserID: user, View: slackapi.HomeTabViewRequest{Type: slackapi.VTHomeTab, Blocks: slackapi.Blocks{BlockSet: m.blocks}},
	})
	if err != nil {
		return "", c.fault("POST views.publish", err)
	}
	return "home", nil
}

// post posts a message, or edits the one that exists. The ref is the channel and the time
// stamp of the message.
func (c *connector) post(ctx context.Context, p place, id string, ref chat.Ref, m message) (chat.Ref, error) {
	done, err := c.turns.wait(ctx, p.channel+p.user)
	if err != nil {
		return "", err
	}
	defer done()
	if ref != "" {
		return ref, c.edit(ctx, ref, m)
	}
	key := digest(c.name, id, p.address())
	before, tried := c.attempts.Peek(key)
	if before.ref != "" {
		return before.ref, c.edit(ctx, before.ref, m)
	}
	channel, searched := p.channel, false
	if p.kind == placeDM {
		if channel, err = c.direct(ctx, p.user); err != nil {
			return "", err
		}
	}
	if p.kind != placeThread {
		if ref, searched, err = c.find(ctx, channel, key); err != nil {
			return "", err
		}
	}
	switch {
	case ref != "":
		c.attempts.Put(key, attempt{ref: ref})
		return ref, c.edit(ctx, ref, m)
	case tried && !searched:
		return "", chat.Permanent(fmt.Errorf("POST chat.postMessage: %w", errPerhaps))
	case tried && before.searches+1 < maxSearches:
		before.searches++
		c.attempts.Put(key, before)
		return "", chat.RetryAfter(fmt.Errorf("POST chat.postMessage: %w", errUnseen), searchPause)
	}
	options := append(m.options(), slackapi.MsgOptionMetadata(slackapi.SlackMetadata{
		EventType: eventType, EventPayload: map[string]any{"card": key},
	}))
	if p.kind == placeThread {
		options = append(options, slackapi.MsgOptionTS(p.thread))
	}
	in, ts, err := c.api().PostMessageContext(ctx, channel, options...)
	if err == nil && (!conversationForm.MatchString(in) || !stamp(ts)) {
		err = errAnswer
	}
	if err != nil {
		return "", c.failed(key, "POST chat.postMessage", searched, err)
	}
	ref = chat.Ref(in + "/" + ts)
	c.attempts.Put(key, attempt{ref: ref})
	return ref, nil
}

// failed returns the error of a post that failed. If the message may have been posted, it is
// retried only if the next attempt can search for it.
func (c *connector) failed(key, op string, searchable bool, err error) error {
	fault := c.fault(op, err)
	if changedNothing(err) {
		return fault
	}
	c.attempts.Put(key, attempt{})
	if !searchable {
		return chat.Permanent(fmt.Errorf("%w (%w)", errPerhaps, fault))
	}
	return fault
}

// options returns the options of every call that posts. Both flags are needed so that Slack
// does not fetch links (docs.slack.dev/messaging/unfurling-links-in-messages).
func (m message) options() []slackapi.MsgOption {
	return append(m.content(), slackapi.MsgOptionDisableLinkUnfurl(), slackapi.MsgOptionDisableMediaUnfurl())
}

// content returns text and blocks, always both: an update with one of them removes the other.
func (m message) content() []slackapi.MsgOption {
	return []slackapi.MsgOption{slackapi.MsgOptionText(m.text, false), slackapi.MsgOptionBlocks(m.blocks...)}
}

// edit changes a message. If Slack refuses that (it was deleted, is too old, or is not ours),
// edit returns an error, and no new message is posted.
func (c *connector) edit(ctx context.Context, ref chat.Ref, m message) error {
	channel, ts, _ := strings.Cut(string(ref), "/")
	if !conversationForm.MatchString(channel) || !stamp(ts) {
		return chat.Permanent(errors.New("the ref is not one of this connector"))
	}
	_, _, _, err := c.api().UpdateMessageContext(ctx, channel, ts, m.content()...)
	return c.fault("POST chat.update", err)
}

// direct returns the channel of the app's direct message with a user, which find needs.
// Without the scope im:write it returns the user's id, which is enough to post.
func (c *connector) direct(ctx context.Context, user string) (string, error) {
	if channel, ok := c.directs.Peek(user); ok {
		return channel, nil
	}
	opened, _, _, err := c.api().OpenConversationContext(ctx, &slackapi.OpenConversationParameters{Users: []string{user}})
	switch {
	case refusedAs(err, "missing_scope"):
		return user, nil
	case err != nil:
		return "", c.fault("POST conversations.open", err)
	case opened == nil || !conversationForm.MatchString(opened.ID):
		return "", fmt.Errorf("POST conversations.open: %w", errAnswer)
	}
	c.directs.Put(user, opened.ID)
	return opened.ID, nil
}

// maxSearched is how many of a channel's latest messages find reads.
const maxSearched = 50

// find searches a channel for our message with a key, in case an earlier attempt posted it
// and its answer was lost. searched is false if Slack does not let the app read the channel.
func (c *connector) find(ctx context.Context, channel, key string) (ref chat.Ref, searched bool, err error) {
	me, err := c.self(ctx)
	if err != nil {
		return "", false, err
	}
	scopes := map[byte][]string{'D': {"im:history"}, 'C': {"channels:history", "groups:history"}, 'G': {"groups:history"}}[channel[0]]
	if !slices.ContainsFunc(scopes, me.may) {
		return "", false, nil
	}
	var answer struct {
		Messages []optional[oldMessage] `json:"messages"`
	}
	_, err = c.call(ctx, "conversations.history", url.Values{
		"channel": {channel}, "limit": {strconv.Itoa(maxSearched)}, "include_all_metadata": {"true"},
	}, &answer)
	switch {
	case refusedAs(err, "missing_scope", "not_in_channel", "channel_not_found"):
		return "", false, nil
	case err != nil:
		return "", false, c.fault("POST conversations.history", err)
	}
	if answer.Messages == nil {
		return "", false, fmt.Errorf("POST conversations.history: %w", errAnswer)
	}
	for _, m := range answer.Messages {
		about := m.value.Metadata.value
		if m.value.Bot == me.bot && about.Type == eventType && about.Payload["card"] == key && stamp(m.value.TS) {
			return chat.Ref(channel + "/" + m.value.TS), true, nil
		}
	}
	return "", true, nil
}

// An oldMessage is the decoded part of a message in a channel's history.
type oldMessage struct {
	TS       string `json:"ts"`
	Bot      string `json:"bot_id"`
	Metadata optional[struct {
		Type    string         `json:"event_type"`
		Payload map[string]any `json:"event_payload"`
	}] `json:"metadata"`
}
