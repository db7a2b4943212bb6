package rocketchat

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// events are the events that the bridge needs: the setting that switches each on
// (Rocket.Chat, server/settings/omnichannel.ts), and its label under Omnichannel, Webhooks,
// Send Request on.
var events = []struct{ setting, label string }{
	{"Livechat_webhook_on_start", "Chat Start"},
	{"Livechat_webhook_on_close", "Chat Close"},
	{"Livechat_webhook_on_chat_taken", "Chat Taken"},
	{"Livechat_webhook_on_chat_queued", "Chat Queued"},
	{"Livechat_webhook_on_forward", "Forwarding"},
	{"Livechat_webhook_on_visitor_message", "Visitor Messages"},
}

// minTimeout is the shortest time that Rocket.Chat should wait for an answer: the bridge
// answers after it has stored the event.
const minTimeout = 2 * time.Second

const webhookPage = "Omnichannel, Webhooks"

// webhook compares the settings of the Omnichannel webhook with ours. A reader with a custom
// role may not see them; that is not a problem.
func (k *checkup) webhook(ctx context.Context) {
	var answer struct {
		Settings []struct {
			ID    string `json:"_id"`
			Value any    `json:"value"`
		} `json:"settings"`
	}
	err := k.get(ctx, "READER", k.reader, "livechat/integrations.settings", nil, &answer)
	if r, _ := refused(err); r.forbidden() || err == nil && len(answer.Settings) == 0 {
		k.ok("rocketchat.webhook", "The webhook's settings were not checked: the reader lacks the permission view-livechat-manager.")
		return
	}
	if err != nil {
		k.problem("rocketchat.unchecked", "Run the check again, or compare the settings in "+webhookPage+".", "The webhook's settings cannot be read: %v.", err)
		return
	}
	values := make(map[string]any)
	for _, s := range answer.Settings {
		values[s.ID] = s.Value
	}
	before := len(k.found)
	k.webhookURL(asString(values["Livechat_webhookUrl"]))
	k.webhookSecret(values["Livechat_secret_token"])
	var off []string
	for _, e := range events {
		if on, ok := values[e.setting].(bool); ok && !on {
			off = append(off, e.label)
		}
	}
	if off != nil {
		k.problem("rocketchat.webhook-events", "Switch them on in "+webhookPage+", Send Request on.", "These events are switched off: %s.", strings.Join(off, ", "))
	}
	if ms, ok := values["Livechat_http_timeout"].(float64); ok && ms < float64(minTimeout.Milliseconds()) {
		k.warning("rocketchat.webhook-timeout", "Set the webhook's timeout to 5000 milliseconds, which is the default.",
			"Rocket.Chat waits only %.0f ms for an answer, so it may send an event again that the bridge has received.", ms)
	}
	if len(k.found) == before {
		k.ok("rocketchat.webhook", "The webhook is set up correctly.")
	}
}

// webhookURL checks the end of the webhook's address. This connector does not know the
// bridge's public name, so it cannot check the beginning.
func (k *checkup) webhookURL(address string) {
	path := "/hooks/" + k.name
	remedy := fmt.Sprintf("Set the Webhook URL in %s to the bridge's address followed by %s.", webhookPage, path)
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case address == "":
		k.problem("rocketchat.webhook-address", remedy, "The webhook has no URL: Rocket.Chat sends no events.")
	case err != nil || !strings.HasSuffix(u.Path, path) || u.RawQuery != "" || u.Fragment != "":
		k.problem("rocketchat.webhook-address", remedy+" If another system uses the webhook now, set "+k.env("FORWARD_URL")+" to its address, and the bridge forwards every event to it.",
			"The webhook's URL does not end with %s: the bridge receives no events.", path)
	}
}

func (k *checkup) webhookSecret(value any) {
	token, ok := value.(string)
	if !ok {
		return
	}
	remedy := fmt.Sprintf("Set the Secret Token in %s to the value of %s.", webhookPage, k.env("WEBHOOK_SECRET"))
	switch {
	case token == "":
		k.problem("rocketchat.webhook-secret", remedy, "The webhook has no secret token: the bridge refuses every event.")
	case isOneOf(token, []string{k.secrets[0].Current()}):
	case k.genuine([]string{token}):
		k.problem("rocketchat.webhook-secret", remedy+" Then remove "+k.env("WEBHOOK_SECRET_OLD")+".", "The webhook still uses the old secret token.")
	default:
		k.problem("rocketchat.webhook-secret", remedy, "The webhook's secret token differs from %s: the bridge refuses every event.", k.env("WEBHOOK_SECRET"))
	}
}
