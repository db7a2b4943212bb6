package templates

const connectTitle = "Is this your account?"

var connectTexts = map[string]wording{
	"connect.lead": {"You pressed a button in a message for {account} in {service}. Is that your account?", "You pressed a button in a message for an account in {service}. Is that your account?", "You pressed a button in a message for a chat account. Is that your account?"},

	"connect.sent-to": {"Message for"},
	"connect.you":     {"You are"},

	"connect.result":       {"If you confirm:"},
	"connect.result-links": {"You are not asked this again for this account."},
	"connect.result-audit": {"Your name is stored with every session that you start."},
	"connect.result-desk":  {"You can disconnect the account later on this page:"},
	"connect.desk":         {deskTitle},
	"connect.confirm":      {"Yes, this is my account"},
	"connect.sign-out":     {"Sign out"},
	"connect.not-yours":    {"If it is another agent’s account, close this page. The button works only for that agent."},
	"connect.wrong-person": {"If you are signed in as the wrong person, sign out. Then press the first button of the co-browse message again."},
	"connect.account":      {"{account} · {service}", "{service}", "A chat account"},
}
