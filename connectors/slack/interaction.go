package slack

import (
	"encoding/json"
	"regexp"
	"strings"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// Ids of what people press. A press on a button that is a link comes too, and
// means nothing: the browser is on its way already.
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

// An interaction is as much as we decode of a payload
// (docs.slack.dev/reference/interaction-payloads).
type interaction struct {
	Type string `json:"type"`
	Team struct {
		ID string `json:"id"`
	} `json:"team"` // null where the app is installed in a whole organisation
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

// cardForm is that of a card's id.
var cardForm = regexp.MustCompile(`^[0-9A-Za-z._:-]{1,200}$`)

// interaction takes a press, a shortcut or a dialog.
func (c *connector) interaction(payload []byte) (bridge.Receipt, error) {
	var in interaction
	if err := rest.Decode(payload, &in); err != nil {
		return bridge.Receipt{}, err
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
			return bridge.Receipt{}, nil
		}
		k.Kind, k.Thread, k.query = kindMessage, in.Message.Thread, findQuery(in.Message.Text)
		return k.receipt(k.Channel, in.Message.TS, in.ActionTS, in.Trigger)
	case "shortcut":
		if in.Callback != shortcutGlobal {
			return bridge.Receipt{}, nil
		}
		k.Kind = kindGlobal
		return k.receipt(in.ActionTS, in.Trigger)
	case "view_submission":
		return k.submit(in)
	case "":
		return bridge.Receipt{}, errUnreadable
	}
	return bridge.Receipt{}, nil // closed views, and what Slack will think of
}

func (k kept) press(in interaction) (bridge.Receipt, error) {
	if k.Channel == "" {
		k.Channel = in.Container.Channel
	}
	if k.Thread = in.Container.Thread; k.Thread == "" {
		k.Thread = in.Message.Thread
	}
	if len(in.Actions) != 1 {
		return bridge.Receipt{}, nil
	}
	a := in.Actions[0]
	switch {
	case strings.HasPrefix(a.ID, actionOpen) && cardForm.MatchString(a.Value):
		k.Kind, k.Card, k.Trigger = kindOpen, a.Value, ""
	case a.ID == actionSearch:
		k.Kind = kindSearch
	default:
		return bridge.Receipt{}, nil
	}
	return k.receipt(k.Team, k.Channel, in.Container.Message, a.ID, a.TS)
}

// submit takes the dialog. What cannot be understood is said in it at once;
// otherwise the empty answer closes it.
func (k kept) submit(in interaction) (bridge.Receipt, error) {
	if in.View.Callback != viewSearch {
		return bridge.Receipt{}, nil
	}
	k.Kind, k.query = kindSubmit, parseQuery(in.View.State.Values[blockQuery][inputQuery].Value)
	if !k.names() {
		answer, err := json.Marshal(map[string]any{
			"response_action": "errors",
			"errors":          map[string]string{blockQuery: sayQuery},
		})
		return bridge.Receipt{Answer: answer, AnswerType: "application/json"}, err
	}
	k.Trigger, k.Respond = "", ""
	return k.receipt(in.View.ID, in.View.Hash)
}
