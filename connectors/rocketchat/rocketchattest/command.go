package rocketchattest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Integration is an outgoing integration for the event Message Sent.
type Integration struct {
	Token string
	// Word is the trigger word; with "" every message triggers the integration.
	Word string
	// Disabled is set after an answer of 410.
	Disabled bool
}

// Typed writes a message into a room as a user, and returns the body that the integration
// would send for it. In a livechat room the visitor reads the message. The body is nil if
// the message does not trigger the integration.
func (w *Workspace) Typed(room, username, text string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &Message{ID: w.id("msg"), Room: room, By: w.named(username).ID, Text: text, Sent: w.now()}
	w.messages = append(w.messages, m)
	if !strings.HasPrefix(text, w.Command.Word) || w.Command.Disabled {
		return nil
	}
	body := object{
		"token": w.Command.Token, "bot": false, "channel_id": room, "message_id": m.ID, "timestamp": stamp(m.Sent),
		"user_id": m.By, "user_name": username, "text": text, "siteUrl": "https://chat.example.org" + w.Prefix,
	}
	if w.Command.Word != "" {
		body["trigger_word"] = w.Command.Word
	}
	if name := w.rooms[room].Name; name != "" {
		body["channel_name"] = name
	}
	data, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return data
}

// retries are the waits between the attempts of an integration with default settings. Each is
// ten times the one before. The longest waits of the real server, of hours, are left out.
var retries = []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second, 100 * time.Second}

// RunCommand writes a message as a user, calls the integration, and handles the answer as
// the server does (app/integrations/server/lib/triggerHandler.js). It posts a text into the
// same room. A 410 disables the integration, a 500 ends the call, and every other failure is
// retried; an empty body is a failure too. RunCommand returns an error if no attempt
// succeeded.
func (w *Workspace) RunCommand(ctx context.Context, client *http.Client, address, room, username, text string) error {
	body := w.Typed(room, username, text)
	if body == nil {
		return errors.New("the message does not trigger the integration")
	}
	for try := 0; ; try++ {
		again, err := w.invoke(ctx, client, address, room, body)
		if err == nil || !again || try == len(retries) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retries[try]):
		}
	}
}

func (w *Workspace) invoke(ctx context.Context, client *http.Client, address, room string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/41.0.2227.0 Safari/537.36")
	resp, err := client.Do(req)
	if err != nil {
		return false, err // the server does not retry after network errors
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return false, err
	}
	if len(content) == 0 || !slices.Contains([]int{200, 201, 202}, resp.StatusCode) {
		gone := len(content) > 0 && resp.StatusCode == http.StatusGone
		if gone {
			w.mu.Lock()
			w.Command.Disabled = true
			w.mu.Unlock()
		}
		return !gone && (len(content) == 0 || resp.StatusCode != http.StatusInternalServerError),
			fmt.Errorf("the integration was answered %d with %d bytes", resp.StatusCode, len(content))
	}
	w.reply(room, resp.Header.Get("Content-Type"), content)
	return false, nil
}

// reply posts the text of an answer into the room of the message.
func (w *Workspace) reply(room, kind string, content []byte) {
	var data struct {
		Text        string `json:"text"`
		Attachments []any  `json:"attachments"`
	}
	kind, _, _ = strings.Cut(kind, ";")
	if kind != "application/json" || json.Unmarshal(content, &data) != nil || data.Text == "" && data.Attachments == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rooms[room].Type == "l" {
		w.violate("the answer of the integration is posted in the livechat room %s", room)
	}
	w.messages = append(w.messages, &Message{ID: w.id("msg"), Room: room, By: "rocket.cat", Text: data.Text, Sent: w.now()})
}
