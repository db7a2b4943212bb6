package rocketchat

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// A Command is an outgoing integration by which agents look a visitor up. Its
// zero value is none.
type Command struct {
	// Token is what Rocket.Chat puts into each body, of at least 16 bytes.
	Token string
	// Channels are the ids or names of the channels it may be used in. Whoever
	// can write in one of them can ask.
	Channels []string
}

// maxCommand is the longest body in bytes that is looked into for its token. A
// message of the server's default greatest length takes half of it.
const maxCommand = 64 << 10

// An invocation is as much as is decoded of what an outgoing integration sends
// for a message (Rocket.Chat, app/integrations/server/lib/triggerHandler.js).
// The user's name is not: an id cannot be changed.
type invocation struct {
	Token       string `json:"token"`
	Bot         any    `json:"bot"` // false, or what made the message
	Edited      any    `json:"isEdited"`
	Trigger     string `json:"trigger_word"`
	ChannelID   string `json:"channel_id"`
	ChannelName string `json:"channel_name"`
	MessageID   string `json:"message_id"`
	UserID      string `json:"user_id"`
	Text        string `json:"text"`
}

// A wish is what the bridge stores of a command.
type wish struct {
	Type        string `json:"type"`
	Message     string `json:"message"`
	Agent       string `json:"agent"`
	Word        string `json:"word"`
	Code        string `json:"code,omitzero"`
	Integration string `json:"integration,omitzero"`
}

// typeCommand tells a wish from an event.
const typeCommand = "Command"

// acceptCommand answers {} to whatever comes with the right token: a text would
// be posted where the command was typed, which may be a livechat room, an empty
// body counts as a failure, and 410 switches the integration off.
func (c *connector) acceptCommand(body []byte) (bridge.Receipt, error) {
	var in invocation
	if len(body) > maxCommand || rest.Decode(body, &in) != nil {
		return bridge.Receipt{}, bridge.ErrForged
	}
	if got := digest(in.Token); subtle.ConstantTimeCompare(got[:], c.commandToken[:]) != 1 {
		return bridge.Receipt{}, bridge.ErrForged
	}
	r := bridge.Receipt{Answer: []byte("{}"), AnswerType: "application/json"}
	word, arg, ok := commandText(in.Text, in.Trigger)
	switch {
	case !ok, in.Edited != nil && in.Edited != false:
		return r, nil
	case in.Bot != false, in.UserID == c.posterID, in.UserID == c.readerID:
		r.Note = "a command of a bot was left out"
		return r, nil
	case !c.channels[in.ChannelID] && !c.channels[in.ChannelName]:
		r.Note = fmt.Sprintf("a command was left out: channel %.30q with id %.40q is not in %s",
			printable(in.ChannelName), short(in.ChannelID), c.env("COMMAND_CHANNELS"))
		return r, nil
	case !plausible(in.MessageID) || !plausible(in.UserID):
		r.Note = "a command without usable ids was left out"
		return r, nil
	}
	keep := wish{Type: typeCommand, Message: in.MessageID, Agent: in.UserID, Word: word}
	switch {
	case bridge.IsLookupCode(arg):
		keep.Code = arg
	case bridge.IsIntegrationID(arg):
		keep.Integration = arg
	}
	var err error
	if r.Body, err = json.Marshal(keep); err != nil {
		return bridge.Receipt{}, err
	}
	r.Key = compose(typeCommand, in.MessageID, in.ChannelID, in.UserID)
	return r, nil
}

// maxWord is the longest command word in runes.
const maxWord = 40

// commandText takes a message apart into the command's word and what follows it,
// which is empty unless it is a single word. ok is false if the message is no
// command.
//
// The word is the integration's trigger word, which Rocket.Chat finds at the
// beginning of any longer word too. An integration without one gets every
// message of its channels; then only what can be nothing else is a command, as
// is !cobrowse 4821.
func commandText(text, trigger string) (word, arg string, ok bool) {
	text = strings.TrimSpace(text)
	trigger = strings.TrimSpace(trigger)
	if word = trigger; word == "" {
		word = text
		if end := strings.IndexFunc(text, unicode.IsSpace); end > 0 {
			word = text[:end]
		}
	}
	after, found := strings.CutPrefix(text, word)
	next, _ := utf8.DecodeRuneInString(after)
	if !found || word == "" || after != "" && !unicode.IsSpace(next) ||
		utf8.RuneCountInString(word) > maxWord || !utf8.ValidString(word) || strings.ContainsFunc(word, unprintable) {
		return "", "", false
	}
	if args := strings.Fields(after); len(args) == 1 {
		arg = args[0]
	}
	if trigger == "" && (word[0] != '!' && word[0] != '/' || !bridge.IsLookupCode(arg) && !bridge.IsIntegrationID(arg) && arg != "help") {
		return "", "", false
	}
	return word, arg, true
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// readCommand asks who typed a command: the account may be closed by now, or not
// be a person's. Such a wish comes to nothing, and nobody is told: there is no
// agent to tell.
func (c *connector) readCommand(ctx context.Context, d bridge.Delivery) (bridge.Ask, error) {
	var w wish
	if err := json.Unmarshal(d.Body, &w); err != nil || w.Message == "" || w.Agent == "" {
		return bridge.Ask{}, bridge.Permanent(errors.New("the stored command cannot be read"))
	}
	refuse := func(why string) (bridge.Ask, error) {
		c.log.WarnContext(ctx, "a command is refused", "connector", c.name, "agent", w.Agent, "why", why)
		return bridge.Ask{}, nil
	}
	u, err := c.user(ctx, w.Agent)
	if r, se := refused(err); se != nil && r.noUser() {
		return refuse("there is no such user")
	}
	switch {
	case err != nil:
		return bridge.Ask{}, c.classify(err, "READER", "the right to see users")
	case u.ID != w.Agent:
		return bridge.Ask{}, errors.New("GET users.info: the answer is not about the user")
	case !u.Active:
		return refuse("the user is not active")
	case u.Type != "user" || u.ID == c.posterID || u.ID == c.readerID:
		return refuse("the user is no person")
	case !username(u.Username):
		return refuse("the user's name cannot be written to")
	}
	ask := bridge.Ask{
		Verb:  bridge.Help,
		Chat:  w.Message,
		Agent: bridge.Agent{ID: u.ID, Name: cmp.Or(u.Name, u.Username), Email: u.email()},
		Place: bridge.Place{Address: u.Username},
		Usage: w.Word + " 4821",
	}
	switch {
	case w.Code != "":
		ask.Verb, ask.Clues.LookupCode = bridge.LookUp, w.Code
	case w.Integration != "":
		ask.Verb, ask.Clues.IntegrationIDs = bridge.LookUp, []string{w.Integration}
	}
	return ask, nil
}

func (r refusal) noUser() bool {
	return (r.Status == http.StatusBadRequest || r.Status == http.StatusNotFound && r.Failed) &&
		(r.says("User not found.", "error-invalid-user", "error-user-not-found") || r.Error == "User not found")
}
