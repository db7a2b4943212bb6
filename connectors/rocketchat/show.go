package rocketchat

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cobrowse-bridge/bridge"
)

// What is posted, field for field as the vendor's request schemas have it
// (@rocket.chat/rest-typings, v1/chat and v1/dm/DmCreateProps).
type (
	imCreate struct {
		Username string `json:"username"`
	}
	sendMessage struct {
		Message message `json:"message"`
		// PreviewURLs are the links to make previews of: always none, never absent.
		PreviewURLs []string `json:"previewUrls"`
	}
	message struct {
		ID  string `json:"_id"`
		RID string `json:"rid"`
		Msg string `json:"msg"`
		// ParseURLs false keeps servers before 6.3, which have no previewUrls,
		// from opening links (app/lib/server/functions/parseUrlsInMessage.ts).
		ParseURLs bool `json:"parseUrls"`
	}
	update struct {
		RoomID      string   `json:"roomId"`
		MsgID       string   `json:"msgId"`
		Text        string   `json:"text"`
		PreviewURLs []string `json:"previewUrls"`
	}
)

// A posted message, as chat.sendMessage, chat.update and chat.getMessage answer.
type posted struct {
	Message struct {
		ID  string `json:"_id"`
		RID string `json:"rid"`
		By  user   `json:"u"`
	} `json:"message"`
}

// elsewhere reports whether the answer names another room than rid.
func (p posted) elsewhere(rid string) bool {
	return p.Message.RID != "" && p.Message.RID != rid
}

// show posts the card to the agent or in the channel, or edits it. A message's id is derived from
// the card and the place, and the server does not insert an id twice, so
// showing a card again after a doubtful failure finds the earlier post.
func (c *connector) show(ctx context.Context, p bridge.Place, card bridge.Card) (bridge.Ref, error) {
	if p.Connector != "" && p.Connector != c.name {
		return "", bridge.Permanent(errors.New("the place belongs to another connector"))
	}
	body, err := layout(card)
	if err != nil {
		return "", bridge.Permanent(err)
	}
	rid, err := c.target(ctx, p.Address, card)
	if err != nil {
		return "", err
	}
	if card.Ref != "" {
		in, id, _ := strings.Cut(string(card.Ref), "/")
		// A message elsewhere is not ours to edit: the place is another room now.
		if in == rid && id != "" {
			err := c.edit(ctx, rid, id, body)
			if !denied(err) {
				return card.Ref, c.classifyPost(err)
			}
			c.log.InfoContext(ctx, "the message cannot be edited, posting a new one",
				"connector", c.name, "card", card.ID, "err", err)
		}
	}
	id := messageID(c.name, card.ID, p.Address, string(card.Ref))
	if err := c.send(ctx, rid, id, body); err != nil {
		return "", err
	}
	return bridge.Ref(rid + "/" + id), nil
}

// messageID is the id of a card's message: the same for the same card, place
// and message before it, and unknown to anybody who does not know the card's id.
func messageID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (c *connector) send(ctx context.Context, rid, id, body string) error {
	var answer posted
	_, err := c.poster.Post(ctx, api+"chat.sendMessage", sendMessage{
		Message:     message{ID: id, RID: rid, Msg: body},
		PreviewURLs: []string{},
	}, &answer)
	switch r, se := refused(err); {
	case err == nil && answer.elsewhere(rid):
		return bridge.Permanent(errors.New("POST chat.sendMessage: the server posted in another room"))
	case err == nil && answer.Message.ID == id:
		return nil
	case err != nil && (se == nil || r.tooMany() || r.Status == http.StatusUnauthorized):
		// Nobody knows whether it was posted, or it certainly was not. The next
		// call sends the same id.
		return c.classifyPost(err)
	}
	// The server refuses an id that is there already, with a text of no meaning
	// or an answer without a message: look whether the post is there.
	there, lookErr := c.join(ctx, rid, id, body)
	switch {
	case there:
		return nil
	case lookErr != nil:
		return lookErr
	}
	return c.classifyPost(cmp.Or(err, errors.New("POST chat.sendMessage: the message is not there")))
}

// join brings a message that an earlier call may have posted up to date, and
// reports whether it is there.
func (c *connector) join(ctx context.Context, rid, id, body string) (bool, error) {
	err := c.edit(ctx, rid, id, body)
	if err == nil {
		return true, nil
	}
	if !denied(err) {
		return false, c.classifyPost(err)
	}
	// Editing may be switched off: then the message stays as it is.
	var answer posted
	_, err = c.poster.Get(ctx, api+"chat.getMessage", url.Values{"msgId": {id}}, &answer)
	if denied(err) {
		return false, nil
	}
	if err != nil {
		return false, c.classifyPost(err)
	}
	m := answer.Message
	return m.ID == id && m.RID == rid && m.By.ID == c.posterID, nil
}

// edit changes the text of a message: attachments cannot be changed, so all of a
// card is in its text.
func (c *connector) edit(ctx context.Context, rid, id, body string) error {
	var answer posted
	_, err := c.poster.Post(ctx, api+"chat.update", update{
		RoomID: rid, MsgID: id, Text: body, PreviewURLs: []string{},
	}, &answer)
	if err == nil && answer.elsewhere(rid) {
		return bridge.Permanent(errors.New("POST chat.update: the server edited in another room"))
	}
	return err
}

// denied means that the server will not let the poster change or see this
// message: it is gone, too old, or Message_AllowEditing is off.
func denied(err error) bool {
	r, se := refused(err)
	return se != nil && !r.tooMany() &&
		(r.Status == http.StatusBadRequest || r.Status == http.StatusForbidden || r.absent())
}

func (c *connector) classifyPost(err error) error {
	if err == nil {
		return nil
	}
	return c.classify(err, "POSTER", "the right to post there (the role bot, and in a channel to be a member)")
}
