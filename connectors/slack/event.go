package slack

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
)

// An outerEvent is the decoded part of an event (docs.slack.dev/apis/events-api). It has no
// event_id, because Slack may send the same event with two ids.
type outerEvent struct {
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

// mentionLife is for how long a mention is answered. Slack retries events for up to a day
// (docs.slack.dev/apis/events-api).
const mentionLife = 10 * time.Minute

// expired reports whether a mention with this time stamp, in seconds, is older than
// mentionLife. now is the time by Slack's clock.
func expired(ts string, now time.Time) bool {
	seconds, _, _ := strings.Cut(ts, ".")
	at, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && now.Sub(time.Unix(at, 0)) > mentionLife
}

// event reads an event of the Events API. It acknowledges and ignores unknown events, because
// Slack would retry after a refusal.
func (c *connector) event(body []byte) (chat.Receipt, error) {
	var o outerEvent
	if err := rest.Decode(body, &o); err != nil {
		return chat.Receipt{}, err
	}
	switch o.Type {
	case "url_verification":
		if !challengeForm.MatchString(o.Challenge) {
			return chat.Receipt{}, errUnreadable
		}
		return chat.Receipt{Answer: []byte(o.Challenge), AnswerType: "text/plain", Note: "Slack has verified the address"}, nil
	case "event_callback":
	case "app_rate_limited":
		return chat.Receipt{Note: "Slack holds events back because there are too many"}, nil
	case "":
		return chat.Receipt{}, errUnreadable
	default:
		return chat.Receipt{Note: fmt.Sprintf("event ignored: unknown type %.40q", o.Type)}, nil
	}
	e := o.Event
	k := kept{
		Team: o.Team, Enterprise: o.Enterprise,
		User: e.User, Channel: e.Channel, Thread: e.Thread,
	}
	if len(o.Authorizations) > 0 {
		// The event's team is where it happened. We need the authorization's team, which
		// is where the app is installed.
		a := o.Authorizations[0]
		k.Team, k.Enterprise = cmp.Or(a.Team, k.Team), a.Enterprise
	}
	switch {
	case e.Type == "app_mention" && e.Bot == "" && expired(e.TS, c.clock.Now()):
		return chat.Receipt{Note: "mention ignored: it is too old, and another customer may have its code now"}, nil
	case e.Type == "app_mention" && e.Bot == "":
		k.Kind, k.query = kindMention, parseQuery(e.Text)
		return k.receipt(e.Channel, e.TS)
	case e.Type == "app_home_opened" && e.Tab == "home":
		k.Kind, k.Channel = kindHome, ""
		return k.receipt(e.EventTS)
	case e.Type == "app_uninstalled", e.Type == "tokens_revoked":
		return chat.Receipt{Note: "the app was uninstalled or its token revoked: cards can no longer be shown"}, nil
	}
	return chat.Receipt{}, nil
}
