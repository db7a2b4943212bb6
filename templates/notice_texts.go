package templates

// A noticeText is what a notice says: what happened, what it means, and what to
// do next. nextRenew and nextOther replace next where Notice.Renew or Notice.Other
// is offered, and cases what they name in a Notice.Case. {wait} stands for Notice.Wait,
// {service} for Notice.Service, {account} for Notice.Account. retry is the label of the Notice.Retry link, if not
// "Try again".
type noticeText struct {
	icon, tone           string
	title, means         string
	next                 wording
	nextRenew, nextOther wording
	retry                string
	cases                map[Case]caseText
}

// A caseText replaces those texts of a notice that it has.
type caseText struct {
	title, means string
	next         wording
}

var (
	pressMessage = wording{"Go to {service}. There, press the first button of the co-browse message.", "Press the first button of the co-browse message again."}
	pressAgain   = wording{"Press the first button of the co-browse message again."}
	pressChannel = wording{"Press the button in the channel again."}
	askAdmin     = wording{askForIt}
)

var notices = map[Kind]noticeText{
	// Links.

	KindUnknown: {
		icon: "link", tone: "calm",
		title: "This button does not work",
		means: "The button is too old, or the address of this page is incomplete or wrong.",
		next:  pressMessage,
	},
	KindExpired: {
		icon: "clock", tone: "calm",
		title:     "This button has expired",
		means:     "Co-browse buttons work only for a short time.",
		next:      pressMessage,
		nextRenew: wording{"Press “Get a new link” here. Then press the button in {service} again.", "Press “Get a new link” here. Then press the button of the co-browse message again."},
		cases: map[Case]caseText{
			CaseChannel: {next: pressChannel},
			CaseDesk:    {next: wording{"Look the customer up again on your desk."}},
		},
	},
	KindReplaced: {
		icon: "clock", tone: "calm",
		title: "This button was replaced",
		means: "There is a newer co-browse button for this customer.",
		next:  pressMessage,
	},
	KindClosed: {
		icon: "chat", tone: "calm",
		title: "This chat is closed",
		means: "The co-browse button of this chat no longer works.",
		next:  wording{"If the customer still needs help, they have to start a new chat."},
	},
	KindMoved: {
		icon: "swap", tone: "calm",
		title: "This chat has another agent now",
		means: "That agent has a new co-browse button, and yours no longer works.",
		next:  wording{"If this is your customer now, ask that agent to transfer the chat to you."},
	},
	KindElsewhere: {
		icon: "lock", tone: "warn",
		title:     "This button works only in another browser",
		means:     "You already used co-browse in another browser or on another device. For security, your buttons work only there for 12 hours.",
		next:      wording{"Use that browser."},
		nextRenew: wording{"Use that browser, or press “Get a new link” to continue in this browser."},
		cases: map[Case]caseText{
			CaseClaimed: {
				means: "This button was pressed before, in another browser or on another device.",
				next:  wording{"Use that browser, or press “Get a new link” to continue in this browser. If it was not you who pressed it, tell your administrator."},
			},
		},
	},
	KindRenewed: {
		icon: "check", tone: "good",
		title: "New link sent",
		means: "The co-browse message has a new button. Older ones no longer work.",
		next:  pressMessage,
	},

	// The customer, the session and the chat account.

	KindVisitorGone: {
		icon: "person", tone: "calm",
		title: "Customer not found",
		means: "No customer matches now. The customer may have signed out, left your website or deleted their cookies.",
		next:  wording{"Ask the customer to open your website again, then try again."},
		cases: map[Case]caseText{
			CaseCode: {
				means: "The customer left your website or has another code now.",
				next:  wording{"Ask the customer for the code again. Then type it where you typed the first one."},
			},
		},
	},
	KindWaiting: {
		icon: "check", tone: "good",
		title: "Waiting for the customer to come back",
		means: "You get a co-browse message if the customer comes back within an hour. The customer does not notice.",
		next:  wording{"You can close this page."},
	},
	KindStopped: {
		icon: "check", tone: "good",
		title: "The session has ended",
		means: "It has ended for all agents.",
		next:  wording{"You can close this page."},
	},
	KindAfter: {
		icon: "check", tone: "calm",
		title: "There is no session now",
		means: "The session has ended or did not start.",
		next:  wording{"You can close this page. If you are an agent and want to co-browse again, press the first button of the co-browse message."},
	},
	KindOther: {
		icon: "person", tone: "warn",
		title: "This button belongs to another agent",
		means: "The co-browse message was sent to that agent.",
		next:  wording{"If this is your customer now, ask that agent to transfer the chat to you. You then get your own button."},
	},
	KindLinked: {
		icon: "swap", tone: "warn",
		title: "This chat account belongs to another agent",
		means: "Another agent confirmed that the account is theirs.",
		next:  wording{"The message was sent to {account} in {service}. If that is your account, tell your administrator. If not, press the buttons in your own messages.", "If the account is yours, tell your administrator. If not, press the buttons in your own messages."},
	},
	KindPolicy: {
		icon: "lock", tone: "warn",
		title: "You are not allowed to open this page",
		means: "Your organisation’s co-browse rules do not allow it for your account.",
		next:  askAdmin,
		cases: map[Case]caseText{
			CaseWatch:  {title: "You are not allowed to co-browse with this customer"},
			CaseStop:   {title: "You are not allowed to end this session", next: wording{"End the session in the tab that shows the customer’s page. " + askForIt}},
			CaseLookUp: {title: "You are not allowed to look up customers"},
		},
	},

	// The press of the button.

	KindPress: {
		icon: "lock", tone: "warn",
		title: "The press was not counted",
		means: "Your browser did not confirm that a person pressed the button. Nothing was opened.",
		next:  wording{"Press the first button of the co-browse message again. If this page comes back, use another browser or tell your administrator."},
	},
	KindCookies: {
		icon: "lock", tone: "warn",
		title: "Your browser blocks cookies",
		means: "This page needs one cookie to recognise your browser. Nothing was opened.",
		next:  wording{"Allow cookies for this page, or copy its address into a normal window that is not private. Then press the button again."},
		retry: "Open the page again",
	},
	KindOldBrowser: {
		icon: "alert", tone: "warn",
		title: "The button does not work in this browser",
		means: "Your browser is too old, or your company’s network changes what your browser sends. Nothing was opened.",
		next:  wording{"Use the latest version of Chrome, Edge, Firefox or Safari. If that does not help, send this to your administrator: “The Sec-Fetch headers are missing. Let them through, or set up sign-in.”"},
	},
	KindCrossOrigin: {
		icon: "lock", tone: "warn",
		title: "Another website tried to press a button as you",
		means: "Co-browse bridge blocked it. Nothing was opened or changed.",
		next:  wording{"If another website sent you here, close it. Then press the first button of the co-browse message yourself."},
	},
	KindThrottled: {
		icon: "clock", tone: "warn",
		title: "Too many attempts",
		means: "You pressed buttons or opened pages too often in a short time.",
		next:  wording{"Try again in {wait}."},
		cases: map[Case]caseText{
			CaseOwnCodes: {
				title: tooManyCodes,
				means: tooManyOwn,
				next:  wording{"Wait {wait}. Then ask the customer to read out the code again, and type it."},
			},
			CaseOtherCodes: {
				title: tooManyCodes,
				means: tooManyOthers,
				next:  wording{"Wait {wait}. Then ask the customer to read out the code again, and type it."},
			},
			CaseSignIn: {
				title: "Too many failed sign-ins",
				means: "This sign-in failed, and so did many others from your IP address, which other people may share.",
				next:  wording{"Sign in again in {wait}. If it fails again, tell your administrator."},
			},
			CaseRenewed: {
				title: "A new link was sent a moment ago",
				means: "You asked again within a minute, so no second link was sent.",
				next:  pressMessage,
			},
		},
	},
	KindAgain: {
		icon: "swap", tone: "calm",
		title: "Please try again",
		means: "Two changes arrived at the same moment, for example after a double click. Nothing was opened.",
		next:  wording{"Wait {wait}, then try again."},
	},

	// Upscope, the chat service and this service.

	KindOverPlan: {
		icon: "alert", tone: "warn",
		title:     "Your company’s sessions are used up",
		means:     "Upscope (the co-browsing service) does not let your company start another session now.",
		next:      wording{"Try again when another session has ended, and tell your administrator."},
		nextOther: wording{"Try again when another session has ended, and tell your administrator. If you have your own Upscope login, you can open the customer’s page there now."},
	},
	KindUpscopeDown: {
		icon: "cloud", tone: "warn",
		title: "You cannot co-browse now",
		means: "Upscope (the co-browsing service) does not answer at the moment.",
		next:  wording{"Continue without co-browsing, or try again in {wait}."},
		cases: map[Case]caseText{CaseStop: notEnded},
	},
	KindUpscopeRefused: {
		icon: "alert", tone: "warn",
		title: "You cannot co-browse now",
		means: "Upscope (the co-browsing service) rejected the key of Co-browse bridge. No agent can co-browse until this is fixed.",
		next:  wording{"Continue without co-browsing, and tell your administrator."},
		cases: map[Case]caseText{CaseStop: notEnded},
	},
	KindUntrusted: {
		icon: "lock", tone: "warn",
		title: "Stopped for security",
		means: "Upscope (the co-browsing service) answered with an address that is not on the list of trusted addresses. The customer’s page was not opened.",
		next:  wording{"Continue without co-browsing, and tell your administrator."},
	},
	KindChatDown: {
		icon: "cloud", tone: "warn",
		title: "The chat could not be opened",
		means: "The chat program did not answer with the address of the chat.",
		next:  wording{"Open the chat in your chat program as you usually do. If this happens again, tell your administrator."},
	},
	KindStore: {
		icon: "alert", tone: "warn",
		title: "You cannot co-browse now",
		means: "Co-browse bridge cannot read or save its data now. Nothing was opened or changed.",
		next:  wording{"Continue without co-browsing, or try again in {wait}. If it fails again, tell your administrator."},
		cases: map[Case]caseText{CaseStop: notEnded},
	},
	KindInternal: {
		icon: "alert", tone: "warn",
		title: "Something went wrong",
		means: "An error happened in Co-browse bridge, and your request was not completed.",
		next:  wording{"Try again in {wait}. If it fails again, tell your administrator."},
		cases: map[Case]caseText{CaseStop: notEnded},
	},

	// Addresses.

	KindNeutral: {title: Product, means: "Open this link in a browser."},
	KindNotFound: {
		icon: "link", tone: "calm",
		title: "Page not found",
		means: "There is no page at this address.",
		next:  pressMessage,
	},
	KindMisdirected: {
		icon: "link", tone: "calm",
		title: "Wrong address",
		means: "The address in your browser is not an address of Co-browse bridge.",
		next:  wording{"Press the first button of the co-browse message again. If this page comes back, send your administrator the address in your browser’s address bar."},
	},
	KindMethod: {
		icon: "link", tone: "calm",
		title: "This page cannot be opened like this",
		means: "Your browser asked for it in a way that does not work. Nothing was changed.",
		next:  pressAgain,
	},

	// Signing in.

	KindSignIn: {
		icon: "lock", tone: "calm",
		title: "Sign in to continue",
		means: "Your sign-in ended before you pressed the button. Nothing was opened or changed.",
		next:  wording{"Sign in, then press the first button of the co-browse message again."},
		retry: "Sign in",
	},
	KindSignedOut: {
		icon: "check", tone: "good",
		title: "You are signed out",
		means: "If a session is still running, end it in its tab. On a shared computer, sign out of your organisation’s sign-in page too.",
		next:  wording{"You can close this page. To continue as another person, sign in, then press the first button of the co-browse message again."},
		retry: "Sign in",
	},
	KindStaleSignIn: {
		icon: "clock", tone: "calm",
		title: "This sign-in has expired",
		means: "It took too long, was already used, or was started in another browser.",
		next:  wording{"Start again, and finish in the same browser. Then press the first button of the co-browse message again."},
		retry: "Start again",
	},
	KindDenied: {
		icon: "lock", tone: "warn",
		title: "Sign-in refused",
		means: "Your organisation’s sign-in page refused you, or the sign-in was cancelled.",
		next:  wording{"Try again, then press the first button of the co-browse message again. If you are refused again, ask your administrator for access to Co-browse bridge."},
	},
	KindIssuerDown: {
		icon: "cloud", tone: "warn",
		title: "Your organisation’s sign-in page is not available",
		means: "You cannot sign in at the moment.",
		next:  wording{"Continue without co-browsing, or try again in {wait}."},
	},
	KindSignInSetup: {
		icon: "alert", tone: "warn",
		title: "Sign-in is not set up correctly",
		means: "Your organisation’s sign-in page refuses the settings of Co-browse bridge, so nobody can sign in.",
		next:  wording{"Continue without co-browsing. Send this to your administrator: “Sign-in is not set up correctly. See the log of Co-browse bridge.”"},
	},
	KindToken: {
		icon: "alert", tone: "warn",
		title: "Sign-in failed",
		means: "Co-browse bridge did not accept the answer of your organisation’s sign-in page.",
		next:  wording{"Try again, then press the first button of the co-browse message again. If it fails again, tell your administrator to look in the log of Co-browse bridge."},
	},
	KindClock: {
		icon: "clock", tone: "warn",
		title: "Sign-in failed: two servers have different times",
		means: "The clocks of your organisation’s sign-in page and of Co-browse bridge differ. The clock of your computer does not matter.",
		next:  wording{"Try again, then press the first button of the co-browse message again. If it fails again, ask your administrator to check the clock of Co-browse bridge."},
	},
	KindDomain: {
		icon: "lock", tone: "warn",
		title: "Wrong account",
		means: "The e-mail address of this account does not belong to your organisation, or your organisation has not confirmed it.",
		next:  wording{"Sign in with your work account, then press the first button of the co-browse message again. If you used your work account, tell your administrator."},
		retry: "Use another account",
	},
	KindGroup: {
		icon: "lock", tone: "warn",
		title: "You do not have access yet",
		means: "You are signed in, but you are not in a group that may use Co-browse bridge.",
		next:  wording{"Ask your administrator to add you to the right group. Then sign in again, and press the first button of the co-browse message again."},
		retry: "Sign in again",
	},
	KindGroupsLeftOut: {
		icon: "lock", tone: "warn",
		title: "Your groups are not known",
		means: "You are signed in, but you are in so many groups that your organisation’s sign-in page left them out. Co-browse bridge cannot see whether you have access.",
		next:  wording{"Send this to your administrator: “The sign-in leaves out my groups. See the log of Co-browse bridge.” When it is corrected, sign in again, and press the first button of the co-browse message again."},
		retry: "Sign in again",
	},
	KindNobody: {
		icon: "lock", tone: "warn",
		title: "Your sign-in was not recognised",
		means: "Your organisation’s sign-in did not tell Co-browse bridge who you are. Nothing was opened.",
		next:  wording{"Press the first button of the co-browse message again. If this page comes back, tell your administrator."},
	},
}

// notEnded says that a session was not ended, whatever the cause.
var notEnded = caseText{
	title: "The session was not ended",
	means: "An error happened. The session may still be running.",
	next:  wording{"Try again in {wait}, or end the session in the tab that shows the customer’s page. If it fails again, tell your administrator."},
}

var noticeTexts = map[string]wording{
	"notice.renew":    {"Get a new link"},
	"notice.request":  {"For your administrator: request {request}"},
	"notice.sign-out": {"You are signed in as {agent}. If that is not you, sign out, then press the first button of the co-browse message again.", "If you are signed in as another person, sign out, then press the first button of the co-browse message again."},
}

const (
	tryAgain      = "Try again"
	openInUpscope = "Open in Upscope"
)
