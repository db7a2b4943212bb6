package slack

import (
	"encoding/json"
	"regexp"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
)

// Ids of buttons, shortcuts and views. Slack also reports a press on a link button, which the
// connector ignores: the browser opens the link by itself.
const (
	actionOpen   = "cobrowse_open"
	actionSearch = "cobrowse_search"
	actionLink   = "cobrowse_link"

	shortcutMessage = "cobrowse_message"
	shortcutGlobal  = "cobrowse_global"

	viewSearch = "cobrowse_search"
	blockQuery = "cobrowse_query"
	inputQuery = "cobrowse_text"
)

// An interaction is the decoded part of a payload
// (docs.slack.dev/reference/interaction-payloads).
type interaction struct {
	Type string `json:"type"`
	Team struct {
		ID string `json:"id"`
	} `json:"team"` // null if the app is installed in an organisation
	Enterprise struct {
		ID string `json:"id"`
	} `json:"enterprise"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Channel struct {
		ID string `json:"id"`
	} `json:"channel"`
	Container struct {
		Channel string `json:"channel_id"`
		Message string `json:"message_ts"`
		Thread  string `json:"thread_ts"`
	} `json:"container"`
	Message struct {
		TS     string `json:"ts"`
		Thread string `json:"thread_ts"`
		Text   string `json:"text"`
	} `json:"message"`
	Respond  string `json:"response_url"`
	Trigger  string `json:"trigger_id"`
	ActionTS string `json:"action_ts"`
	Callback string `json:"callback_id"`
	Actions  []struct {
		ID    string `json:"action_id"`
		Value string `json:"value"`
		TS    string `json:"action_ts"`
	} `json:"actions"`
	View struct {
		ID       string `json:"id"`
		Hash     string `json:"hash"`
		Callback string `json:"callback_id"`
		State    struct {
			Values map[string]map[string]struct {
				Value string `json:"value"`
			} `json:"values"`
		} `json:"state"`
	} `json:"view"`
}

// cardForm is the form of a card's id.
var cardForm = regexp.MustCompile(`^[0-9A-Za-z._:-]{1,200}$`)

// interaction reads a press, a shortcut or a submitted dialog.
func (c *connector) interaction(payload []byte) (chat.Receipt, error) {
	var in interaction
	if err := rest.Decode(payload, &in); err != nil {
		return chat.Receipt{}, err
	}
	k := kept{
		Team: in.Team.ID, Enterprise: in.Enterprise.ID,
		User: in.User.ID, Channel: in.Channel.ID,
		Respond: in.Respond, Trigger: in.Trigger,
	}
	switch in.Type {
	case "block_actions":
		return k.press(in)
	case "message_action":
		if in.Callback != shortcutMessage {
			return chat.Receipt{}, nil
		}
		k.Kind, k.Thread, k.query = kindMessage, in.Message.Thread, findQuery(in.Message.Text)
		return k.receipt(k.Channel, in.Message.TS, in.ActionTS, in.Trigger)
	case "shortcut":
		if in.Callback != shortcutGlobal {
			return chat.Receipt{}, nil
		}
		k.Kind = kindGlobal
		return k.receipt(in.ActionTS, in.Trigger)
	case "view_submission":
		return c.submit(k, in)
	case "":
		return chat.Receipt{}, errUnreadable
	}
	return chat.Receipt{}, nil // a closed view, or an unknown type
}

// press reads a press on one of our buttons.
func (k kept) press(in interaction) (chat.Receipt, error) {
	if k.Channel == "" {
		k.Channel = in.Container.Channel
	}
	if k.Thread = in.Container.Thread; k.Thread == "" {
		k.Thread = in.Message.Thread
	}
	if len(in.Actions) != 1 {
		return chat.Receipt{}, nil
	}
	a := in.Actions[0]
	switch {
	case strings.HasPrefix(a.ID, actionOpen) && cardForm.MatchString(a.Value):
		k.Kind, k.Card, k.Trigger = kindOpen, a.Value, ""
	case a.ID == actionSearch:
		k.Kind = kindSearch
	default:
		return chat.Receipt{}, nil
	}
	return k.receipt(k.Team, k.Channel, in.Container.Message, a.ID, a.TS)
}

// submit reads a submitted dialog. If its text contains no clue, the answer shows an error in
// the dialog. Otherwise the empty answer closes the dialog.
func (c *connector) submit(k kept, in interaction) (chat.Receipt, error) {
	if in.View.Callback != viewSearch {
		return chat.Receipt{}, nil
	}
	k.Kind, k.query = kindSubmit, parseQuery(in.View.State.Values[blockQuery][inputQuery].Value)
	if !k.hasClue() {
		answer, err := json.Marshal(map[string]any{
			"response_action": "errors",
			"errors":          map[string]string{blockQuery: queryError(k.Unclear, c.emails)},
		})
		return chat.Receipt{Answer: answer, AnswerType: "application/json"}, err
	}
	k.Trigger, k.Respond = "", ""
	return k.receipt(in.View.ID, in.View.Hash)
}
