package rocketchat

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// events are the switches below Omnichannel, Webhooks, Send Request on that the
// bridge lives by, by their setting (Rocket.Chat, server/settings/omnichannel.ts)
// and by what the page calls them.
var events = []struct{ setting, label string }{
	{"Livechat_webhook_on_start", "Chat Start"},
	{"Livechat_webhook_on_close", "Chat Close"},
	{"Livechat_webhook_on_chat_taken", "Chat Taken"},
	{"Livechat_webhook_on_chat_queued", "Chat Queued"},
	{"Livechat_webhook_on_forward", "Forwarding"},
	{"Livechat_webhook_on_visitor_message", "Visitor Messages"},
}

// shortTimeout is the least time that Rocket.Chat should wait for an answer: the
// bridge answers once the event is on the disk.
const shortTimeout = 2 * time.Second

const webhookPage = "Omnichannel, Webhooks"

// webhook compares the settings of the Omnichannel webhook with ours. A reader
// with a narrow role of the site's own may not see them, which is no fault.
func (k *checkup) webhook(ctx context.Context) {
	var answer struct {
		Settings []struct {
			ID    string `json:"_id"`
			Value any    `json:"value"`
		} `json:"settings"`
	}
	err := k.get(ctx, "READER", k.reader, "livechat/integrations.settings", nil, &answer)
	if r, _ := refused(err); r.forbidden() || r.missing() || err == nil && len(answer.Settings) == 0 {
		k.ok("The settings of the webhook are not shown to the reader (view-livechat-manager), so they were not compared.")
		return
	}
	if err != nil {
		k.problem("Run the check again, or compare them in "+webhookPage+".", "The settings of the webhook cannot be read: %v.", err)
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
		if on, known := values[e.setting].(bool); known && !on {
			off = append(off, e.label)
		}
	}
	if off != nil {
		k.problem("Switch it on in "+webhookPage+", Send Request on.", "Rocket.Chat does not send: %s.", strings.Join(off, ", "))
	}
	if ms, known := values["Livechat_http_timeout"].(float64); known && ms < float64(shortTimeout.Milliseconds()) {
		k.problem("Set the webhook's timeout to 5000 milliseconds, which is the default.",
			"Rocket.Chat waits only %.0f ms for an answer, and sends an event again that was taken already.", ms)
	}
	if len(k.found) == before {
		k.ok("The webhook is set up as it should be.")
	}
}

// webhookURL looks at how the address ends: the bridge's public name is not a
// setting of this connector.
func (k *checkup) webhookURL(address string) {
	path := "/hooks/" + k.name
	remedy := fmt.Sprintf("Set the Webhook URL in %s to the bridge's address followed by %s.", webhookPage, path)
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case address == "":
		k.problem(remedy, "The webhook has no URL: no event is sent.")
	case err != nil || !strings.HasSuffix(u.Path, path) || u.RawQuery != "" || u.Fragment != "":
		k.problem(remedy+" If another system has the webhook now, name it in "+k.env("FORWARD_URL")+" and the bridge passes every event on to it.",
			"The webhook's URL does not end with %s: no event gets here.", path)
	}
}

func (k *checkup) webhookSecret(value any) {
	secret, known := value.(string)
	if !known {
		return
	}
	remedy := fmt.Sprintf("Set the Secret Token in %s to the value of %s.", webhookPage, k.env("WEBHOOK_SECRET"))
	got := digest(secret)
	switch {
	case secret == "":
		k.problem(remedy, "The webhook has no secret token: every event is refused.")
	case subtle.ConstantTimeCompare(got[:], k.secrets[0][:]) == 1:
	case k.genuine([]string{secret}):
		k.problem(remedy+" Then remove "+k.env("WEBHOOK_SECRET_OLD")+".", "The webhook still has the old secret token, which works for now.")
	default:
		k.problem(remedy, "The webhook's secret token is another than %s: every event is refused.", k.env("WEBHOOK_SECRET"))
	}
}
