package templates

// A Kind is what a Notice is about.
type Kind string

// The kinds. With which status each is sent is the sender's affair.
const (
	KindUnknown        Kind = "unknown"         // no such link
	KindExpired        Kind = "expired"         // the link's time is over
	KindReplaced       Kind = "replaced"        // a newer link was sent
	KindClosed         Kind = "closed"          // the chat is over
	KindMoved          Kind = "moved"           // the chat went to another agent
	KindElsewhere      Kind = "elsewhere"       // the link belongs to another browser
	KindOverPlan       Kind = "over-plan"       // beyond the Upscope plan
	KindChatDown       Kind = "chat-down"       // the chat service gives no way in
	KindUpscopeDown    Kind = "upscope-down"    // Upscope cannot be reached
	KindUpscopeRefused Kind = "upscope-refused" // Upscope refused our key
	KindUntrusted      Kind = "untrusted"       // Upscope answered with an address we do not trust
	KindVisitorGone    Kind = "visitor-gone"    // Upscope knows the visitor no longer
	KindThrottled      Kind = "throttled"       // too many attempts
	KindPress          Kind = "press"           // not pressed by a person
	KindCookies        Kind = "cookies"         // the browser keeps no cookies
	KindOldBrowser     Kind = "old-browser"     // the browser does not say how a page was asked for
	KindRenewed        Kind = "renewed"         // a fresh link was sent
	KindTold           Kind = "told"            // the agent will be told
	KindStopped        Kind = "stopped"         // the session was ended
	KindAfter          Kind = "after"           // where a session leads when it is over
	KindStore          Kind = "store"           // the record cannot be written
	KindInternal       Kind = "internal"
	KindNotFound       Kind = "not-found"   // any other page
	KindNeutral        Kind = "neutral"     // for robots and previews; no facts
	KindMisdirected    Kind = "misdirected" // wrong host name
	KindMethod         Kind = "method"
	KindCrossOrigin    Kind = "cross-origin"  // a form of another site
	KindSignIn         Kind = "sign-in"       // a form came after the sign-in had ended
	KindSignedOut      Kind = "signed-out"    // signed out
	KindStaleSignIn    Kind = "stale-sign-in" // a sign-in that is old, used, or another browser's
	KindDenied         Kind = "denied"        // the issuer did not sign the agent in
	KindIssuerDown     Kind = "issuer-down"   // the issuer cannot be reached
	KindToken          Kind = "token"         // what the issuer said cannot be trusted
	KindClock          Kind = "clock"         // the issuer's clock and ours differ
	KindDomain         Kind = "domain"        // an e-mail address of elsewhere
	KindGroup          Kind = "group"         // in none of the groups
	KindNobody         Kind = "nobody"        // the proxy in front did not say who it is
	KindPolicy         Kind = "policy"        // not allowed to this agent
	KindOther          Kind = "other"         // the card is another agent's
	KindLinked         Kind = "linked"        // the chat account is another agent's already
)

// Title is the heading of a notice of this kind; a Kind that is not among the
// constants has that of KindInternal.
func (k Kind) Title() string {
	if w, ok := kinds[k]; ok {
		return w.title
	}
	return kinds[KindInternal].title
}

// words are what a notice says. In next, {wait} stands for Notice.Wait;
// withRenew and withOther replace it where Notice offers that way on. retry is
// the label of Notice.Retry, if not "Try again".
type words struct {
	icon, tone           string
	title                string
	what, means, next    string
	withRenew, withOther string
	retry                string
}

var kinds = map[Kind]words{
	KindUnknown: {
		icon: "link", tone: "calm",
		title: "This link doesn’t work",
		what:  "It may have been cut off, or mistyped.",
		means: "Nothing was opened, and the visitor has not noticed anything.",
		next:  "Go back to your chat and press the button on the co-browse message.",
	},
	KindExpired: {
		icon: "clock", tone: "calm",
		title:     "This link has expired",
		what:      "Co-browse links work for a short time only, so that an old one can’t be misused.",
		means:     "Nothing was opened. Your chat goes on as before.",
		next:      "Press the button on the co-browse message in your chat.",
		withRenew: "Get a fresh link. The button in your chat then works again.",
	},
	KindReplaced: {
		icon: "clock", tone: "calm",
		title:     "There is a newer link",
		what:      "The co-browse message of this chat has a fresh link, so this one has stopped working.",
		means:     "Nothing was opened. The newer link does the same.",
		next:      "Press the button on the co-browse message in your chat.",
		withRenew: "Press the button on the co-browse message in your chat. If you can’t find it, get another link.",
	},
	KindClosed: {
		icon: "chat", tone: "calm",
		title: "This chat is over",
		what:  "The chat was closed, and its co-browse link with it.",
		means: "The visitor’s screen can no longer be opened from here.",
		next:  "If they still need help, start a new chat. It gets a co-browse message of its own.",
	},
	KindMoved: {
		icon: "swap", tone: "calm",
		title: "This chat has another agent now",
		what:  "It was handed over, and the co-browse link went with it.",
		means: "This link no longer opens the visitor’s screen for you.",
		next:  "If you should be helping, have the chat assigned to you again.",
	},
	KindElsewhere: {
		icon: "lock", tone: "warn",
		title:     "This link belongs to another browser",
		what:      "It was first opened in a different browser or on a different device, and works only there.",
		means:     "Nothing was opened here. This keeps copied links from being used by others.",
		next:      "Go back to the browser where you opened it. If that wasn’t you, tell your administrator.",
		withRenew: "Go back to that browser, or get a fresh link: the button in your chat then opens here. If you never opened this one, tell your administrator.",
	},
	KindOverPlan: {
		icon: "alert", tone: "warn",
		title:     "Your Upscope plan is used up",
		what:      "Upscope says that one more session would be beyond your plan.",
		means:     "The session was not started, and trying again won’t help yet.",
		next:      "Carry on in the chat, and tell your administrator.",
		withOther: "Tell your administrator. If you have an Upscope login of your own, you can use that now.",
	},
	KindChatDown: {
		icon: "cloud", tone: "warn",
		title: "The chat service isn’t answering",
		what:  "It was asked for a way into the conversation, and gave none.",
		means: "Nothing was opened. Co-browsing is not affected.",
		next:  "Open the chat the way you usually do, or wait {wait}, then try again. Your administrators find the cause in the log.",
	},
	KindUpscopeDown: {
		icon: "cloud", tone: "warn",
		title: "Upscope isn’t answering",
		what:  "The co-browsing service could not be reached just now.",
		means: "Nothing was started. Your chat is not affected.",
		next:  "Carry on in the chat, wait {wait}, then try again.",
	},
	KindUpscopeRefused: {
		icon: "alert", tone: "warn",
		title: "Co-browsing needs your administrator",
		what:  "Upscope no longer accepts the key that this service uses.",
		means: "Nobody can start a session until that is put right. It is nothing you did.",
		next:  "Carry on in the chat. The problem is in the log for your administrators; tell them if a customer is waiting.",
	},
	KindUntrusted: {
		icon: "lock", tone: "warn",
		title: "Stopped for your safety",
		what:  "Upscope answered with an address that is not on the list of trusted ones.",
		means: "You were not sent there, and the visitor’s screen was not opened.",
		next:  "Carry on in the chat, and tell your administrator.",
	},
	KindVisitorGone: {
		icon: "person", tone: "calm",
		title: "The visitor is no longer there",
		what:  "We looked again, and nobody matches this card now. They may have signed out, left your site or cleared their browser.",
		means: "There is no screen to open at the moment.",
		next:  "Ask them in the chat to open your site again, then try again.",
	},
	KindThrottled: {
		icon: "clock", tone: "warn",
		title: "Too many attempts",
		what:  "More was tried in a short time than one person needs.",
		means: "You can’t open anything for now. Your chat is not affected.",
		next:  "Wait {wait}, then try again.",
	},
	KindPress: {
		icon: "lock", tone: "warn",
		title: "Please press the button yourself",
		what:  "This request did not come from a person pressing the button.",
		means: "Nothing was opened. Programs that test links can’t open a visitor’s screen.",
		next:  "Open the link from your chat once more and press the button. If this page comes back, use another browser or tell your administrator.",
	},
	KindCookies: {
		icon: "lock", tone: "warn",
		title: "Your browser doesn’t keep cookies",
		what:  "This page needs one cookie to tell your browser from others, and your browser did not send it back.",
		means: "Nothing was opened.",
		next:  "Allow cookies for this site. If this is a private window, or a page inside another program, open the link in an ordinary browser window. Then press the button again.",
		retry: "Open the page again",
	},
	KindOldBrowser: {
		icon: "alert", tone: "warn",
		title: "We can’t tell who pressed the button",
		what:  "Your browser did not say whether you pressed it or a program did. Old browsers don’t, and some company networks remove it.",
		means: "Nothing was opened.",
		next:  "Open the link in Safari 16.4 or later, or in a current Chrome, Edge or Firefox. If your browser is up to date, tell your administrator: Sec-Fetch headers are missing, or sign-in is to be set up.",
	},
	KindRenewed: {
		icon: "check", tone: "good",
		title: "The button in your chat works again",
		what:  "The co-browse message there has a fresh link now.",
		means: "The old link has stopped working.",
		next:  "Go back to your chat and press the button on the co-browse message. You can close this page.",
	},
	KindTold: {
		icon: "check", tone: "good",
		title: "We’ll tell you when they are back",
		what:  "You get a message in your chat as soon as they are online, once, within the next hour.",
		means: "Only you are told. The customer notices nothing.",
		next:  "You can close this page.",
	},
	KindStopped: {
		icon: "check", tone: "good",
		title: "The session is ended",
		what:  "Upscope was asked to end it, for everybody who was watching.",
		means: "Nobody sees the visitor’s screen any more. Your chat goes on.",
		next:  "The message in your chat becomes the record of the session. You can close this page.",
	},
	KindAfter: {
		icon: "check", tone: "calm",
		title: "The session is over",
		what:  "It has ended, or could not start.",
		means: "Nobody’s screen is shown here.",
		next:  "To co-browse again, go back to the chat and press the button there. You can close this page.",
	},
	KindStore: {
		icon: "alert", tone: "warn",
		title: "Co-browsing is paused",
		what:  "This service can’t write its record at the moment.",
		means: "It opens no screen without noting who opened it. Your chat is not affected.",
		next:  "Carry on in the chat, wait {wait}, then try again. If it stays like this, tell your administrator.",
	},
	KindInternal: {
		icon: "alert", tone: "warn",
		title: "Something went wrong here",
		what:  "This service made a mistake. It is nothing you did.",
		means: "The visitor’s screen was not opened. Your chat is not affected.",
		next:  "Wait {wait}, then try again. If it happens again, tell your administrator.",
	},
	KindNotFound: {
		icon: "link", tone: "calm",
		title: "There is nothing here",
		what:  "This address has no page.",
		means: "Nothing was opened, and nothing is broken.",
		next:  "To co-browse, press the button on the co-browse message in your chat.",
	},
	KindNeutral: {title: Product},
	KindMisdirected: {
		icon: "link", tone: "calm",
		title: "Wrong address",
		what:  "This service is not reached by the address in your browser.",
		means: "Nothing was opened.",
		next:  "Open the link from your chat again. If this page comes back, tell your administrator which address you see above.",
	},
	KindMethod: {
		icon: "link", tone: "calm",
		title: "That doesn’t work here",
		what:  "Your browser asked for something that this page can’t do.",
		means: "Nothing was opened, and nothing was changed.",
		next:  "Go back to your chat and open the link again.",
	},
	KindCrossOrigin: {
		icon: "lock", tone: "warn",
		title: "This came from another site",
		what:  "A page that is not ours tried to press a button here in your name.",
		means: "Nothing was opened, and nothing was changed.",
		next:  "Close the page you came from. To go on, open the link in your chat or the desk yourself.",
	},

	// Who is asking, and what they may do.

	KindSignIn: {
		icon: "lock", tone: "calm",
		title: "Sign in to go on",
		what:  "Your sign-in ended before you pressed the button.",
		means: "Nothing was opened, and nothing was changed.",
		next:  "Sign in, then press the button once more.",
		retry: "Sign in",
	},
	KindSignedOut: {
		icon: "check", tone: "good",
		title: "You are signed out",
		what:  "This browser can no longer open anybody’s screen in your name.",
		means: "A session that is still running goes on until it is ended. You may still be signed in at your organisation’s sign-in page.",
		next:  "Close this page, or sign in again, as yourself or as somebody else.",
		retry: "Sign in",
	},
	KindStaleSignIn: {
		icon: "clock", tone: "calm",
		title: "Please start the sign-in again",
		what:  "It took too long, was used already, or was begun in another browser.",
		means: "You are not signed in by it. This keeps a copied sign-in from being used by others.",
		next:  "Begin once more, and finish in the same browser.",
		retry: "Start again",
	},
	KindDenied: {
		icon: "lock", tone: "warn",
		title: "The sign-in was refused",
		what:  "Your organisation’s sign-in page did not let you in, or it was cancelled.",
		means: "You are not signed in, and nothing was opened.",
		next:  "Try again. If it is refused once more, ask your administrator for access to this service.",
	},
	KindIssuerDown: {
		icon: "cloud", tone: "warn",
		title: "The sign-in page isn’t answering",
		what:  "Your organisation’s sign-in service could not be reached just now.",
		means: "Nobody new can sign in for the moment. Your chat is not affected.",
		next:  "Carry on in the chat, wait {wait}, then try again.",
	},
	KindToken: {
		icon: "alert", tone: "warn",
		title: "The sign-in didn’t work",
		what:  "What your organisation’s sign-in service said of you could not be trusted.",
		means: "You are not signed in, and nothing was opened.",
		next:  "Try again. If it happens once more, tell your administrator; the reason is in this service’s log.",
	},
	KindClock: {
		icon: "clock", tone: "warn",
		title: "Two clocks disagree",
		what:  "By this service’s clock your sign-in is not valid yet, or no longer.",
		means: "You are not signed in. It is nothing you did.",
		next:  "Try again. If it happens once more, ask your administrator to check this service’s clock.",
	},
	KindDomain: {
		icon: "lock", tone: "warn",
		title: "This account is from elsewhere",
		what:  "You signed in with an e-mail address that is not one of your organisation’s, or that nobody has verified.",
		means: "Customers’ screens are shown to your organisation’s own people only.",
		next:  "Sign in with your work account. If this was it, tell your administrator.",
		retry: "Use another account",
	},
	KindGroup: {
		icon: "lock", tone: "warn",
		title: "You don’t have access yet",
		what:  "You are signed in, but in none of the groups that may use this service.",
		means: "Nothing was opened.",
		next:  "Ask your administrator to add you to the right group, then sign in again.",
		retry: "Sign in again",
	},
	KindNobody: {
		icon: "lock", tone: "warn",
		title: "We don’t know who you are",
		what:  "The sign-in in front of this service did not say who is asking.",
		means: "Nothing was opened. No screen is shown without noting who sees it.",
		next:  "Open this page by its usual address. If you did, tell your administrator.",
	},
	KindPolicy: {
		icon: "lock", tone: "warn",
		title: "You are not allowed to do this",
		what:  "Your organisation’s rules for co-browsing don’t include it for your account.",
		means: "Nothing was opened, and nothing was changed.",
		next:  "If you should be able to, ask your administrator to change the rules.",
	},
	KindOther: {
		icon: "person", tone: "warn",
		title: "This card is somebody else’s",
		what:  "It was made for another agent’s chat.",
		means: "You may not open their visitor’s screen with it.",
		next:  "If you should be helping, have the chat assigned to you: you get a card of your own.",
	},
	KindLinked: {
		icon: "swap", tone: "warn",
		title: "That chat account is taken",
		what:  "Somebody else has said that the account this card was sent to is theirs.",
		means: "Nothing was opened. One chat account belongs to one person.",
		next:  "If the account is yours, tell your administrator at once. If not, use the cards that were sent to you.",
	},
}
