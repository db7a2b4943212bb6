package templates

// A cardText is what the message about a chat says in one state, in this order. Empty
// texts and facts without a value are left out.
type cardText struct {
	title wording
	// counted replaces title where Card.Found is set.
	counted      plural
	shows        fact
	why          string
	first        string // the first step of a help text
	example      string // the label of Card.Usage
	next, note   string
	button, stop string
}

// A fact is one of the lines with which a message shows what is known.
type fact int

const (
	factName     fact = 1 << iota // what the chat calls the customer
	factOpener                    // who started the session
	factPage                      // the page, the place and the device
	factReason                    // how the customer was matched
	factSessions                  // the sessions so far
)

const (
	labelOwner    = "Assigned to"
	labelName     = "Name in the chat"
	labelSiteName = "Name on your website"
	labelSiteID   = "Customer ID of your website"
	labelOpener   = "Agent"
	labelPage     = "Page"
	labelFrom     = "Place and browser"
	labelReason   = "Match"
	labelSession  = "Session"
	labelRating   = "Customer’s rating"
	labelFirst    = "First"
	labelSecond   = "Then type the code, for example"
	labelInThread = "In a thread"
	labelCommands = "More commands"
	labelWhy      = "Why"
	labelNext     = "Next"
	labelNote     = "Agent’s note"
)

const ( // labels of the counts in StateUsage
	UsageOnline        = "Customers online"
	UsageRunning       = "Running sessions"
	UsageToday         = "Sessions today"
	UsageSessionsMonth = "Sessions in the last 30 days"
	UsageAgentsMonth   = "Agents in the last 30 days"
)

// Keys of cardTexts besides the states of a Card.
const (
	textNotFoundCode   = "no-visitor, looked up by a code"
	textWithheldOwn    = "no-visitor, too many wrong codes in this chat"
	textWithheldOthers = "no-visitor, too many wrong codes in other chats"
	textNotFoundID     = "no-visitor, looked up by an ID or an e-mail address"
	textFailedCode     = "failed, looked up by a code"
	textPossible       = "choose, one visitor"
	textNotStarted     = "ended, no session began"
	textClosedRunning  = "closed, a session is running"
	textNoCards        = "status, no cards"
	textNotUnderstood  = "help, not understood"
	textNoneStopped    = "stopped, no session"
)

var cardTexts = map[string]cardText{
	StateNoVisitor: {
		title:  wording{"{name} not found", "Customer not found"},
		why:    "This customer was not found on your website.",
		next:   "Ask the customer to reload the page, then press “Check again”.",
		button: "Check again",
	},
	textWithheldOwn: {
		title:  wording{"The code of {name} was not looked up", "The customer’s code was not looked up"},
		why:    withheldOwn,
		next:   withheldNext,
		button: "Type the code",
	},
	textWithheldOthers: {
		title:  wording{"The code of {name} was not looked up", "The customer’s code was not looked up"},
		why:    withheldOthers,
		next:   withheldNext,
		button: "Type the code",
	},
	// No match and several matches read the same here, unlike on the desk.
	textNotFoundCode: {
		title: wording{"Customer not found"},
		why:   "Nobody who is online has this code, or several have it.",
		next:  "Ask the customer to click anywhere on the page. Then type the code again yourself. If this message comes a second time, ask the customer to open your website in a private window and to tell you the code there.",
	},
	textNotFoundID: {
		title:  wording{"Customer not found"},
		why:    "No customer has this ID or e-mail address.",
		next:   "If you typed it wrong, type it again. If it is right, ask the customer to reload the page, then press “Check again”.",
		button: "Check again",
	},
	StateChoose: {
		title:   wording{"Several customers match"},
		counted: plural{"1 customer may match", "{n} customers match"},
		shows:   factName,
		next:    "Choose the customer you are helping.",
		button:  "Choose customer",
	},
	textPossible: {
		title:  wording{"Possible match for {name}", "Possible match"},
		next:   "Check that this is your customer before you start.",
		button: "Check customer",
	},
	StateOffline: {
		title:  wording{"{name} is offline", "The customer is offline"},
		shows:  factPage,
		why:    "The page is closed, or the customer has not used it for some minutes.",
		next:   "Ask the customer to click anywhere on the page, then press “Check again”.",
		button: "Check again",
	},
	StateReady: {
		title:  wording{"Co-browse with {name}", "Co-browse with the customer"},
		shows:  factPage | factReason,
		button: "Co-browse",
	},
	StateOpened: {
		title:  wording{"Waiting for {name}", "Waiting for the customer"},
		shows:  factOpener | factPage | factSessions,
		next:   "If the customer’s page asks for permission, ask the customer to agree.",
		button: "Open again",
		stop:   "End session",
	},
	StateLive: {
		title:  wording{"Session with {name} is running", "Session with the customer is running"},
		shows:  factPage | factSessions,
		button: "Go to session",
		stop:   "End session",
	},
	StateEnded: {
		title:  wording{"Session with {name} has ended", "Session with the customer has ended"},
		shows:  factSessions,
		button: "Co-browse again",
	},
	textNotStarted: {
		title:  wording{"The session with {name} did not start", "The session did not start"},
		shows:  factSessions,
		next:   "Ask the customer whether you may see the page, then co-browse again.",
		button: "Co-browse again",
	},
	StateClosed: {
		title: wording{"Chat closed"},
		shows: factName | factSessions,
		next:  "If the customer needs help again, they have to start a new chat.",
		note:  "The co-browse button of this chat no longer works.",
	},
	textClosedRunning: {
		title: wording{"Chat closed, the session still runs"},
		shows: factName | factSessions,
		next:  "End the session in the tab that shows the customer’s page. If you closed that tab, ask the customer to close the page.",
		note:  "The co-browse button of this chat no longer works.",
	},
	StateFailed: {
		title:  wording{"{name} cannot be looked up now", "The customer cannot be looked up now"},
		why:    "Upscope, the co-browsing service, does not answer.",
		next:   "Continue without co-browsing. The search is repeated automatically. If nothing has changed after 5 minutes, tell your administrator.",
		button: "Check again",
	},
	textFailedCode: {
		title: wording{"The customer cannot be looked up now"},
		why:   "Upscope, the co-browsing service, does not answer.",
		next:  "Continue without co-browsing, or wait. The search is repeated automatically for 2 minutes. After that, ask the customer for the code again and type it.",
	},
	StateMoved: {
		title: wording{"Chat moved to {agent}", "Chat moved to another agent"},
		shows: factName,
		note:  "The agent who has the chat now has a new co-browse button. If that is you, use the new button. Otherwise, you do not have to do anything.",
	},
	StateBack: {
		title:  wording{"{name} is back online", "The customer is back online"},
		shows:  factPage,
		button: "Co-browse",
	},
	StateHelp: {
		title:   wording{"Co-browse with a customer"},
		first:   "Ask the customer for the four-digit code that they see on your website.",
		example: labelSecond,
		note:    "Type the command only in a channel for agents, as before. In a chat with a customer, the customer would see it.",
	},
	textNotUnderstood: { // why is in unclearTexts
		title:   wording{"The command was not understood"},
		why:     "After the command, type one code or one ID. Names are not searched.",
		first:   "Ask the customer for the four-digit code that they see on your website.",
		example: labelSecond,
		note:    "Type the command only in a channel for agents, as before. In a chat with a customer, the customer would see it.",
	},
	StateStatus: {
		title: wording{"Your latest customers"},
	},
	textNoCards: {
		title:   wording{"You have no co-browse messages yet"},
		example: "To see how to get one, type",
	},
	StateUsage: {
		title: wording{"Co-browse usage"},
	},
	StateNoUsage: {
		title: wording{"Co-browse usage cannot be read now"},
		why:   "Upscope, the co-browsing service, does not answer.",
		next:  "Type the command again in a minute. If it fails again, tell your administrator.",
	},
	StateStopped: {
		title:   wording{"Sessions ended"},
		counted: plural{"Ended 1 session", "Ended {n} sessions"},
	},
	textNoneStopped: {
		title: wording{"No session was ended"},
		why:   "No session was found that can be ended here.",
		next:  "If you still see a customer’s page, end the session in that tab.",
	},
	StateStop: {
		title: wording{"Which session do you want to end?"},
	},
	StateNotStopped: {
		title: wording{"Not all sessions were ended"},
		why:   "Upscope, the co-browsing service, does not answer. One or more sessions may still be running.",
		next:  "Type the command again in a minute, or end each session in the tab that shows the customer’s page.",
	},
	StateRefused: { // title, why and next are in refusalTexts
		title: wording{"You are not allowed to co-browse"},
	},
	StateTooLate: {
		title: wording{"Code expired"},
		why:   "It was not looked up in time, and may belong to another customer by now.",
		next:  "Ask the customer to read out the code again, then type the code again.",
	},
	StateTooMany: {
		title: wording{tooManyCodes},
		why:   tooManyOwn,
		next:  "Wait 2 minutes. Then ask the customer to read out the code again, and type it.",
	},
	StateTooManyOthers: {
		title: wording{tooManyCodes},
		why:   tooManyOthers,
		next:  "Wait 5 minutes. Then ask the customer to read out the code again, and type it.",
	},
	StateTooOften: {
		title: wording{"Too many look-ups"},
		why:   "You looked up too many customers in a short time.",
		next:  "Wait 1 minute, then try again.",
	},
}

const (
	tooManyCodes  = "Too many wrong codes"
	tooManyOwn    = "You typed too many wrong codes."
	tooManyOthers = "Other agents typed many wrong codes. Until that ends, you can type one wrong code in 5 minutes."

	withheldOwn    = "Too many wrong codes were typed in this chat, so codes from it are not looked up automatically now."
	withheldOthers = "Too many wrong codes were typed in other chats, so codes from chats are not looked up automatically now."
	withheldNext   = "Ask the customer for the four-digit code that they see on your website. Then press “Type the code”."
)

// ownNote is the note of a card that was made for one agent, while its button works.
const ownNote = "This button works for 2 minutes. After that, press the button in the channel again."

// Labels of the buttons of messages with several customers.
var (
	joinLabel = wording{"Go to session with {name}", "Go to session"}
	stopLabel = wording{"End session with {name}", "End session"}
	someone   = "Customer"

	recordingLabel = wording{"Open recording {n}", "Open recording"}
)

var unclearTexts = map[string]string{
	UnclearText:    "It has no code or customer ID that can be read, or it has other numbers too.",
	UnclearSeveral: "It names more than one customer.",
	UnclearLetters: "E-mail addresses with letters like ö cannot be looked up.",
}

// A refusalText says what an agent may not do, why, and what to do next.
type refusalText struct{ title, why, next string }

const (
	notAllowed = "You are not allowed to co-browse"
	askForIt   = "If you need this for your work, ask your administrator for access."
)

var refusalTexts = map[string]refusalText{
	RefusedExternal: {
		title: notAllowed,
		why:   "You belong to another organisation. Only people of this organisation may see customers’ pages.",
		next:  askForIt,
	},
	RefusedGuest: {
		title: notAllowed,
		why:   "You are a guest here. Guests may see customers’ pages only if your administrator allows it.",
		next:  askForIt,
	},
	RefusedInactive: {
		title: notAllowed,
		why:   "Your chat account is switched off, or Co-browse bridge cannot read it.",
		next:  askForIt,
	},
	RefusedBot: {
		title: "A program cannot co-browse",
		why:   "A program sent this request. Only people can co-browse.",
		next:  "Press the button or type the command yourself.",
	},
	RefusedPolicy: {
		title: "You are not allowed to look up customers",
		why:   "Your organisation’s co-browse rules do not allow it for your account.",
		next:  askForIt,
	},
	RefusedStop: {
		title: "You are not allowed to end sessions",
		why:   "Your organisation’s co-browse rules do not allow it for your account.",
		next:  "End the session in the tab that shows the customer’s page. " + askForIt,
	},
	RefusedEmail: {
		title: "You cannot search by e-mail address",
		why:   "A customer can enter someone else’s e-mail address, so the search by e-mail address is switched off.",
		next:  "Ask the customer for the four-digit code that they see on your website, then type the command with that code.",
	},
}

var (
	sessionTexts = map[Outcome]string{
		Waiting:  "Waiting for the customer",
		Running:  "Running",
		Over:     "Ended", // where the length is not known
		Declined: "Ended before the customer agreed",
		NotBegun: "Ended before an agent saw the page",
		Unknown:  "Ended, details unknown",
	}
	sessionNumber = wording{"Session {n}"}
	sessionRating = wording{"{n} of 5"}
	sessionNote   = wording{"{note} ({agent})", "{note}"}
	underAMinute  = "Under a minute"
	lengthMinutes = plural{"1 min", "{n} min"}
	lengthInHours = wording{"{hours} h {minutes} min", "{hours} h"}
)

// reasonTexts say how a customer was found.
var reasonTexts = map[Reason]string{
	ReasonShortID:     "Found automatically. The page is connected to this chat.",
	ReasonIntegration: "Found automatically. The page is connected to this chat.",
	ReasonCode:        "Found by the four-digit code.",
	ReasonUnique:      "Found by the customer ID of your website.",
	ReasonEmail:       "Found only by an e-mail address, which may be someone else’s. Before you start, ask the customer for something that only they know.",
	ReasonChosen:      "Chosen by an agent from several customers.",
}

// typedIDText replaces the text of ReasonIntegration where an agent typed the id.
const typedIDText = "Found by the ID that an agent typed."

// secondMatchTexts say that another customer is matched by the same clue now.
var secondMatchTexts = map[Reason]string{
	"":                "Another customer who matches is online now. It may be another person.",
	ReasonIntegration: "A second browser is now connected to this chat. It may be another person.",
	ReasonUnique:      "A second browser with the same customer ID is online now. It may be the same person.",
}
