package templates

type noteText struct{ Tone, Icon, What, Next string }

var notes = map[Note]noteText{
	NoteNoCustomer: {
		Tone: "warn", Icon: "person",
		What: "No customer online has this code.",
		Next: "Ask the customer to click anywhere on the page and to read out the code again. Then type the code again.",
	},
	NoteSeveral: {
		Tone: "warn", Icon: "person",
		What: "Several customers have this code, so your customer was not found.",
		Next: "Ask the customer to open your website in a private window and to read out the code there. Then type that code.",
	},
	NoteTooMany: {
		Tone: "warn", Icon: "clock",
		What: tooManyOwn,
		Next: "Try again in 2 minutes.",
	},
	NoteTooManyOthers: {
		Tone: "warn", Icon: "clock",
		What: tooManyOthers,
		Next: "Try again in 5 minutes.",
	},
	NoteTooOften: {
		Tone: "warn", Icon: "clock",
		What: "You looked up too many customers in a short time.",
		Next: "Try again in 1 minute.",
	},
	NoteMalformed: {
		Tone: "warn", Icon: "alert",
		What: "What you typed is not one four-digit code.",
		Next: "Ask the customer for the four-digit code that they see on your website.",
	},
	NoteDown: {
		Tone: "warn", Icon: "cloud",
		What: "Upscope (the co-browsing service) does not answer, so the code was not looked up.",
		Next: "Wait a moment, then try again.",
	},
	NoteNoCard: {
		Tone: "warn", Icon: "chat",
		What: "This customer is no longer on your desk.",
		Next: "If another agent has the chat now and it should be yours, ask that agent to transfer it to you.",
	},
	NoteInSession: {
		Tone: "good", Icon: "check",
		What: "The customer is in a co-browse session now.",
		Next: "Press “Go to session” to see the customer’s page.",
	},
	NoteWaiting: {
		Tone: "good", Icon: "check",
		What: "This page shows “Back online” if the customer comes back within an hour.",
		Next: "Keep this page open. The customer does not notice.",
	},
	NoteOnline: {
		Tone: "good", Icon: "check",
		What: "The customer is already online.",
		Next: "Press “Co-browse” next to their name.",
	},
	NoteDisconnected: {
		Tone: "good", Icon: "check",
		What: "The chat account is disconnected. Its customers no longer appear here.",
		Next: "To connect it again, press the first button of a co-browse message that was sent to that account.",
	},
	NoteRetried: {
		Tone: "good", Icon: "check",
		What: "Retry started.",
		Next: "If it fails again, it appears in this list with the new reason.",
	},
	NoteRetryGone: {
		Tone: "calm", Icon: "check",
		What: "Nothing to retry.",
		Next: "It succeeded in the meantime, or it was too old and was deleted.",
	},
	NoteDismissed: {
		Tone: "calm", Icon: "check",
		What: "Dismissed.",
		Next: "It will not be retried. The audit log says who dismissed it.",
	},
	NoteFilter: {
		Tone: "warn", Icon: "alert",
		What: "Part of the filter was not valid and was ignored.",
		Next: "The form shows the filter that was used.",
	},
	NoteNotExported: {
		Tone: "warn", Icon: "alert",
		What: "Nothing was exported, because a date in the filter was not valid.",
		Next: "Check the filter below, and export again.",
	},
}

var groupTitles = [...]string{
	groupReady: "Your customers online", groupTeam: "Your team’s customers online", groupAway: "Offline or not found", groupOver: "Ended",
}

// A cardStatus is how the desk shows a card of one state.
type cardStatus struct {
	status, tone string
	group        int
	// rank orders the cards of a group; the lowest comes first.
	rank int
}

var cardStatuses = map[string]cardStatus{
	StateBack:      {"Back online", "online", groupReady, 0},
	StateReady:     {"Online", "online", groupReady, 0},
	StateChoose:    {"Choose customer", "", groupReady, 1},
	textPossible:   {"Check customer", "", groupReady, 1},
	StateOpened:    {"Waiting for customer", "busy", groupReady, 2},
	StateLive:      {"Session running", "busy", groupReady, 3},
	StateOffline:   {"Offline", "", groupAway, 0},
	StateNoVisitor: {"Customer not found", "", groupAway, 2},
	StateFailed:    {"Cannot be looked up now", "", groupAway, 3},
	StateEnded:     {"Session ended", "", groupOver, 0},
	StateClosed:    {"Chat closed", "", groupOver, 1}, // in status messages only
}

// openedByTexts say which agent started the session of a shared card.
var openedByTexts = map[string]wording{
	StateOpened: {"{agent} started this session."},
	StateLive:   {"{agent} started this session."},
	StateEnded:  {"{agent} started the last session."},
}

var connectedTexts = map[string]string{
	ConnectedBySlack: "Signed in with Slack",
	ConnectedByEmail: "Same e-mail address",
	ConnectedByAgent: "Confirmed by you",
}

// servedTexts say whose customer a shared card is about.
var servedTexts = wording{"Agent of this customer: {agent}", "No agent yet"}

const (
	deskTitle  = "Your desk"
	endSession = "End session"
)

var deskTexts = map[string]wording{
	// Shown by static/desk.js.
	"desk.live":         {"Live updates on"},
	"desk.reconnecting": {"Reconnecting…"},
	"desk.came-online":  {"{name} is online.", "A customer is online."},
	"desk.back-online":  {"{name} is back online.", "A customer is back online."},

	"desk.now": {agoNow},

	"desk.refresh": {"Refresh to see changes"},

	"desk.look-up":        {"Look up customer"},
	"desk.look-up-code":   {"Type the four-digit code that the customer sees on your website."},
	"desk.look-up-button": {"Look up"},

	"desk.empty":         {"No customers yet"},
	"desk.empty-next":    {"Customers appear here when their chat is assigned to you."},
	"desk.empty-connect": {"First connect your chat account. When a customer writes to you, a co-browse message comes in Slack or Rocket.Chat. Press its first button once and confirm your account. Your customers then appear here."},
	"desk.empty-look-up": {"You can also look up a customer by the code that they see on your website."},
	"desk.more":          {"Only the latest customers are shown. You find all of them in the channel where the co-browse messages appear."},
	"desk.leave":         {"A customer disappears from this list when the button of the co-browse message expires. Press that button to get a new one. If you found a customer by a code, look them up again."},
	"desk.expired":       {"The button has expired. To return to the session or to end it, use the tab that shows the customer’s page."},
	"desk.not-allowed":   {"You are not allowed to co-browse with this customer. " + askForIt},

	"desk.waiting": {"You will see it here if the customer comes back within an hour"},
	"desk.tell-me": {"Tell me when the customer is back"},
	"desk.no-name": {"No name"},
	"desk.about":   {"· {name}"}, // for screen readers, after the label of a button

	"desk.sessions":       {"Recent sessions"},
	"desk.sessions-empty": {"Your co-browse sessions appear here."},
	"desk.running":        {"Session running"},
	"desk.rating":         {"Customer’s rating: {n} of 5"},
	"desk.audit":          {"Audit log"},
	"desk.note":           {"“{note}” {agent}", "“{note}”"},

	"desk.accounts":       {"Your chat accounts"},
	"desk.accounts-lead":  {"The customers of these accounts’ chats appear on this page."},
	"desk.accounts-empty": {"No chat account is connected, so the customers of your chats do not appear here. To connect it, press the first button of a co-browse message in Slack or Rocket.Chat and confirm your account."},
	"desk.disconnect":     {"Disconnect"},
}
