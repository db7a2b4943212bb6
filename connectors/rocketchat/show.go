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

	"cobrowse-bridge/bridge/chat"
)

// The bodies of requests that post, with the fields of the vendor's request schemas
// (@rocket.chat/rest-typings, v1/chat and v1/dm/DmCreateProps).
type (
	imCreate struct {
		Username string `json:"username"`
	}
	sendMessage struct {
		Message message `json:"message"`
		// PreviewURLs are the links for which the server makes previews. The list is always
		// present and empty.
		PreviewURLs []string `json:"previewUrls"`
	}
	message struct {
		ID  string `json:"_id"`
		RID string `json:"rid"`
		Msg string `json:"msg"`
		// ParseURLs is false, so that servers before 6.3, which do not know previewUrls, do
		// not open links (app/lib/server/functions/parseUrlsInMessage.ts).
		ParseURLs bool `json:"parseUrls"`
	}
	update struct {
		RoomID      string   `json:"roomId"`
		MsgID       string   `json:"msgId"`
		Text        string   `json:"text"`
		PreviewURLs []string `json:"previewUrls"`
	}
)

// A posted message, as chat.sendMessage, chat.update and chat.getMessage return it.
type posted struct {
	Message struct {
		ID  string `json:"_id"`
		RID string `json:"rid"`
		By  user   `json:"u"`
	} `json:"message"`
}

// inOtherRoom reports whether the message is in another room than rid. It is false if the
// answer has no room.
func (p posted) inOtherRoom(rid string) bool {
	return p.Message.RID != "" && p.Message.RID != rid
}

// show posts the card to the agent or in the channel, or edits it. The message's id is
// derived from the card and the place, and the server does not insert an id twice. So if the
// answer to a post was lost, showing the card again finds that post.
func (c *connector) show(ctx context.Context, p chat.Place, card chat.Card) (chat.Ref, error) {
	if p.Connector != "" && p.Connector != c.name {
		return "", chat.Permanent(errors.New("the place belongs to another connector"))
	}
	body, err := layout(card)
	if err != nil {
		return "", chat.Permanent(err)
	}
	rid, err := c.target(ctx, p.Address, card)
	if err != nil {
		return "", err
	}
	if card.Ref != "" {
		in, id, _ := strings.Cut(string(card.Ref), "/")
		// If the place is another room now, the old message stays and a new one is posted.
		if in == rid && id != "" {
			err := c.edit(ctx, rid, id, body)
			if !uneditable(err) {
				return card.Ref, c.classifyPost(err)
			}
			c.log.InfoContext(ctx, "message not edited, posting a new one",
				"connector", c.name, "card", card.ID, "err", err)
		}
	}
	id := messageID(c.name, card.ID, p.Address, string(card.Ref))
	if err := c.send(ctx, rid, id, body); err != nil {
		return "", err
	}
	return chat.Ref(rid + "/" + id), nil
}

// messageID hashes parts into the id of a message. The same card, place and previous message
// give the same id, which cannot be guessed without the card's id.
func messageID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// send posts a message, or updates it if the server has a message with this id already.
func (c *connector) send(ctx context.Context, rid, id, body string) error {
	var answer posted
	_, err := c.poster.Post(ctx, api+"chat.sendMessage", sendMessage{
		Message:     message{ID: id, RID: rid, Msg: body},
		PreviewURLs: []string{},
	}, &answer)
	switch r, se := refused(err); {
	case err == nil && answer.inOtherRoom(rid):
		return chat.Permanent(errors.New("POST chat.sendMessage: the server posted in another room"))
	case err == nil && answer.Message.ID == id:
		return nil
	case err != nil && (se == nil || r.tooMany() || r.badToken() || r.readOnly() || r.secondFactor()):
		// The message was not posted, or it is not known whether it was. The next call
		// sends the same id.
		return c.classifyPost(err)
	}
	// The server answers an id that exists already with a vague error, or without a
	// message. So check whether the message exists.
	exists, lookErr := c.updateExisting(ctx, rid, id, body)
	switch {
	case exists:
		return nil
	case lookErr != nil:
		return lookErr
	}
	return c.classifyPost(cmp.Or(err, errors.New("POST chat.sendMessage: the message does not exist")))
}

// updateExisting updates a message that an earlier call may have posted, and reports whether
// it exists.
func (c *connector) updateExisting(ctx context.Context, rid, id, body string) (bool, error) {
	err := c.edit(ctx, rid, id, body)
	if err == nil {
		return true, nil
	}
	if !uneditable(err) {
		return false, c.classifyPost(err)
	}
	// If editing is switched off, the message stays unchanged.
	var answer posted
	_, err = c.poster.Get(ctx, api+"chat.getMessage", url.Values{"msgId": {id}}, &answer)
	if unseen(err) {
		return false, nil
	}
	if err != nil {
		return false, c.classifyPost(err)
	}
	m := answer.Message
	return m.ID == id && m.RID == rid && m.By.ID == c.posterID, nil
}

// edit changes the text of a message. The whole card is in the text, since the server cannot
// change attachments.
func (c *connector) edit(ctx context.Context, rid, id, body string) error {
	var answer posted
	_, err := c.poster.Post(ctx, api+"chat.update", update{
		RoomID: rid, MsgID: id, Text: body, PreviewURLs: []string{},
	}, &answer)
	if err == nil && answer.inOtherRoom(rid) {
		return chat.Permanent(errors.New("POST chat.update: the server edited in another room"))
	}
	return err
}

// uneditable reports whether the server refuses for good to change this message: it was
// deleted, is in another room or too old, or Message_AllowEditing is off (app/lib/server/methods/
// updateMessage.ts, app/api/server/v1/chat.ts). After any other refusal the message is still
// there, and a new post would be a second one.
func uneditable(err error) bool {
	r, _ := refused(err)
	switch {
	case r.absent():
		return true
	case r.says("error-action-not-allowed", "error-message-editing-blocked", "error-message-not-found"):
		return r.Status == http.StatusBadRequest || r.Status == http.StatusForbidden
	}
	return r.Status == http.StatusBadRequest && r.Failed &&
		(strings.HasPrefix(r.Error, "No message found with the id of") || strings.HasPrefix(r.Error, "The room id provided does not match"))
}

// unseen reports whether chat.getMessage finds no such message. It then gives no reason.
func unseen(err error) bool {
	r, _ := refused(err)
	return r.absent("error-message-not-found") || r.Status == http.StatusBadRequest && r.Failed && r.Error == "" && r.Type == ""
}

func (c *connector) classifyPost(err error) error {
	if err == nil {
		return nil
	}
	return c.classify(err, "POSTER", "the right to post there (the role bot, and in a channel to be a member)")
}
