package templates

// frameTexts stand on every page.
var frameTexts = map[string]wording{
	"frame.agent":      {"You are {agent}."},
	"frame.agent-seen": {"The customer may see this name."},
	"frame.audit-id":   {"Your ID in the audit log: {id}"},
	"frame.your-id":    {"Your ID, if your administrator asks for it: {id}"},
	"frame.skip":       {"Skip to content"},
	"frame.pages":      {"Pages"},
	"frame.signed-in":  {"Signed in as"}, // for screen readers, before the name
	"frame.sign-out":   {"Sign out"},
	"frame.next":       {"Next:"},
}

const (
	navDesk       = "Desk"
	navOperations = "Operations"
	navAudit      = "Audit log"
	navErase      = "Delete data"
)

const (
	OpenChatLabel = "Open the customer’s chat" // cards have it too
	GoToDesk      = "Go to your desk"
)

var (
	agoNow          = "just now"
	agoMinutes      = plural{"1 minute ago", "{n} minutes ago"}
	agoHours        = plural{"1 hour ago", "{n} hours ago"}
	agoDays         = plural{"1 day ago", "{n} days ago"}
	agoOnDay        = wording{"on {day}"}
	forMinutes      = plural{"1 minute", "{n} minutes"}
	forHours        = plural{"1 hour", "{n} hours"}
	forDays         = plural{"1 day", "{n} days"}
	lessThanAMinute = "less than a minute"
	forSeconds      = plural{"1 second", "{n} seconds"}
)
