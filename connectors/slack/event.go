package slack

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// An outer is as much of an event as we decode (docs.slack.dev/apis/events-api).
// Its event_id is not used: the same event may come under two.
type outer struct {
	Type           string `json:"type"`
	Challenge      string `json:"challenge"`
	Team           string `json:"team_id"`
	Enterprise     string `json:"enterprise_id"`
	Authorizations []struct {
		Team       string `json:"team_id"`
		Enterprise string `json:"enterprise_id"`
	} `json:"authorizations"`
	Event struct {
		Type    string `json:"type"`
		User    string `json:"user"`
		Bot     string `json:"bot_id"`
		Text    string `json:"text"`
		TS      string `json:"ts"`
		EventTS string `json:"event_ts"`
		Thread  string `json:"thread_ts"`
		Channel string `json:"channel"`
		Tab     string `json:"tab"`
	} `json:"event"`
}

var challengeForm = regexp.MustCompile(`^[0-9A-Za-z_.=-]{1,200}$`)

// mentionLife is how long a mention is worth an answer. Slack sends events again
// for up to a day (docs.slack.dev/apis/events-api).
const mentionLife = 10 * time.Minute

// old reports whether a message's time stamp, in seconds, is long past.
func old(ts string) bool {
	seconds, _, _ := strings.Cut(ts, ".")
	at, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && time.Since(time.Unix(at, 0)) > mentionLife
}

// event takes what the Events API sends. What nobody subscribed to, or what is
// new, is acknowledged and forgotten: a refusal would be sent again.
func (c *connector) event(body []byte) (bridge.Receipt, error) {
	var o outer
	if err := rest.Decode(body, &o); err != nil {
		return bridge.Receipt{}, err
	}
	switch o.Type {
	case "url_verification":
		if !challengeForm.MatchString(o.Challenge) {
			return bridge.Receipt{}, errUnreadable
		}
		return bridge.Receipt{Answer: []byte(o.Challenge), AnswerType: "text/plain", Note: "Slack has verified the address"}, nil
	case "event_callback":
	case "app_rate_limited":
		return bridge.Receipt{Note: "Slack holds events back: there are too many"}, nil
	case "":
		return bridge.Receipt{}, errUnreadable
	default:
		return bridge.Receipt{Note: fmt.Sprintf("an event of unknown type %.40q was left out", o.Type)}, nil
	}
	e := o.Event
	k := kept{
		Team: o.Team, Enterprise: o.Enterprise,
		User: e.User, Channel: e.Channel, Thread: e.Thread,
	}
	if len(o.Authorizations) > 0 {
		// The event's team is where it happened; the authorization's is where the
		// app is installed, and so is what counts.
		a := o.Authorizations[0]
		k.Team, k.Enterprise = cmp.Or(a.Team, k.Team), a.Enterprise
	}
	switch {
	case e.Type == "app_mention" && e.Bot == "" && old(e.TS):
		return bridge.Receipt{Note: "a mention that comes late was left out: its code may be another customer's by now"}, nil
	case e.Type == "app_mention" && e.Bot == "":
		k.Kind, k.query = kindMention, parseQuery(e.Text)
		return k.receipt(e.Channel, e.TS)
	case e.Type == "app_home_opened" && e.Tab == "home":
		k.Kind, k.Channel = kindHome, ""
		return k.receipt(e.EventTS)
	case e.Type == "app_uninstalled", e.Type == "tokens_revoked":
		return bridge.Receipt{Note: "the app was uninstalled or its token revoked: cards can no longer be shown"}, nil
	}
	return bridge.Receipt{}, nil
}
