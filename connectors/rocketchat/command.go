package rocketchat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/rest"
)

// A Command configures the outgoing integration with which agents look customers up. The
// zero value switches it off.
type Command struct {
	// Token is the integration's token, which is in each body. It has at least 16 bytes.
	Token *secret.Value
	// Channels are the ids or names of the channels in which the command works. Everyone
	// who can write in one of them can use it.
	Channels []string
}

// maxCommand is the size of the largest command body in bytes. A message of the server's
// default maximum length needs half of it.
const maxCommand = 64 << 10

// An invocation is the decoded part of what an outgoing integration sends for a message
// (Rocket.Chat, app/integrations/server/lib/triggerHandler.js). The user is known by the id
// only, which never changes.
type invocation struct {
	Token       string `json:"token"`
	Bot         any    `json:"bot"` // false, or the integration that wrote the message
	Edited      any    `json:"isEdited"`
	Trigger     string `json:"trigger_word"`
	ChannelID   string `json:"channel_id"`
	ChannelName string `json:"channel_name"`
	MessageID   string `json:"message_id"`
	UserID      string `json:"user_id"`
	Text        string `json:"text"`
}

// A command is what an agent asks for outside a chat, as the bridge stores it.
type command struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Agent   string `json:"agent"`
	Word    string `json:"word"`
	// At most one of the next four is set. None means help.
	Code        string       `json:"code,omitzero"`
	Integration string       `json:"integration,omitzero"`
	Email       string       `json:"email,omitzero"`
	Unclear     chat.Unclear `json:"unclear,omitzero"`
}

// typeCommand is the type of a stored command; stored events have other types.
const typeCommand = "Command"

// acceptCommand answers {} to every request with the right token. Rocket.Chat would post a
// text where the command was written, which may be a livechat room; it treats an empty body
// as a failure, and switches the integration off after a 410.
func (c *connector) acceptCommand(body []byte) (chat.Receipt, error) {
	var in invocation
	if len(body) > maxCommand || rest.Decode(body, &in) != nil {
		return chat.Receipt{}, chat.ErrForged
	}
	if !isOneOf(in.Token, c.commandToken.Accepted()) {
		return chat.Receipt{}, fmt.Errorf("%w: the token is not that of %s", chat.ErrForged, c.env("COMMAND_TOKEN"))
	}
	r := chat.Receipt{Answer: []byte("{}"), AnswerType: "application/json"}
	word, arg, ok := commandText(in.Text, in.Trigger)
	switch {
	case !ok, in.Edited != nil && in.Edited != false:
		return r, nil
	case in.Bot != false, in.UserID == c.posterID, in.UserID == c.readerID:
		r.Note = "command ignored: a bot wrote it"
		return r, nil
	case !c.channels[in.ChannelID] && !c.channels[in.ChannelName]:
		r.Note = fmt.Sprintf("command ignored: channel %.30q with id %.40q is not in %s",
			printable(in.ChannelName), short(in.ChannelID), c.env("COMMAND_CHANNELS"))
		return r, nil
	case !plausible(in.MessageID) || !plausible(in.UserID):
		r.Note = "command ignored: it has no valid ids"
		return r, nil
	}
	keep := command{Type: typeCommand, Message: in.MessageID, Agent: in.UserID, Word: word}
	if !isHelp(arg) {
		var clues chat.Clues
		clues, keep.Unclear = chat.Typed(arg)
		keep.Code, keep.Integration, keep.Email = clues.LookupCode, strings.Join(clues.IntegrationIDs, ""), clues.Email
	}
	var err error
	if r.Body, err = json.Marshal(keep); err != nil {
		return chat.Receipt{}, err
	}
	r.Key = compose(typeCommand, in.MessageID, in.ChannelID, in.UserID)
	return r, nil
}

// maxWord is the length of the longest command word in runes.
const maxWord = 40

// commandText splits a message into the command's word and its argument, which is the text that
// follows. ok is false if the message is not a command.
//
// The word is the integration's trigger word. Rocket.Chat also sends messages that begin with
// a longer word, which are not commands. An integration without a trigger word sends every
// message of its channels; then a command must begin with ! or / and have one word as its
// argument, a clue or help, such as !cobrowse 4821.
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
	arg = strings.TrimSpace(after)
	if trigger == "" {
		clues, _ := chat.Typed(arg)
		if word[0] != '!' && word[0] != '/' || len(strings.Fields(arg)) != 1 || clues.Empty() && !isHelp(arg) {
			return "", "", false
		}
	}
	return word, arg, true
}

func isHelp(arg string) bool {
	arg = strings.TrimSpace(chat.Fold(arg))
	return arg == "" || arg == "?" || strings.EqualFold(arg, "help")
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// readCommand asks the workspace who wrote a command. If the account is closed or not a
// person's, it logs that and returns the zero Ask: there is no agent to answer.
func (c *connector) readCommand(ctx context.Context, d chat.Delivery) (chat.Ask, error) {
	var w command
	if err := json.Unmarshal(d.Body, &w); err != nil || w.Message == "" || w.Agent == "" {
		return chat.Ask{}, chat.Permanent(errors.New("the stored command cannot be read"))
	}
	refuse := func(why string) (chat.Ask, error) {
		c.log.WarnContext(ctx, "command refused", "connector", c.name, "agent", w.Agent, "why", why)
		return chat.Ask{}, nil
	}
	u, err := c.user(ctx, w.Agent)
	if r, se := refused(err); se != nil && r.noUser() {
		return refuse("the user does not exist")
	}
	switch {
	case err != nil:
		return chat.Ask{}, c.classify(err, "READER", "the right to see users")
	case u.ID != w.Agent:
		return chat.Ask{}, errors.New("GET users.info: the answer is not about the user")
	case !u.Active:
		return refuse("the user is not active")
	case u.Type != "user" || u.ID == c.posterID || u.ID == c.readerID:
		return refuse("the user is not a person")
	case !username(u.Username):
		return refuse("the bridge cannot send a direct message to the user's name")
	}
	ask := chat.Ask{
		Verb:    chat.Help,
		Chat:    w.Message,
		Agent:   chat.Agent{ID: u.ID, Name: cmp.Or(u.Name, u.Username), Email: u.email()},
		Place:   chat.Place{Address: u.Username},
		Example: w.Word + " 4821", Unclear: w.Unclear,
	}
	switch {
	case w.Code != "":
		ask.Verb, ask.Clues.LookupCode = chat.LookUp, w.Code
	case w.Integration != "":
		ask.Verb, ask.Clues.IntegrationIDs = chat.LookUp, []string{w.Integration}
	case w.Email != "":
		ask.Verb, ask.Clues.Email = chat.LookUp, w.Email
	}
	return ask, nil
}

func (r refusal) noUser() bool {
	return (r.Status == http.StatusBadRequest || r.Status == http.StatusNotFound && r.Failed) &&
		(r.says("User not found.", "error-invalid-user", "error-user-not-found") || r.Error == "User not found")
}
