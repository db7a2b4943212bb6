package templates

// A Kind is what a Notice is about.
type Kind string

// The kinds. The caller chooses the HTTP status.
const (
	KindUnknown        Kind = "unknown"         // no such link
	KindExpired        Kind = "expired"         // the link has expired
	KindReplaced       Kind = "replaced"        // a newer link was sent
	KindClosed         Kind = "closed"          // the chat is over
	KindMoved          Kind = "moved"           // the chat went to another agent
	KindElsewhere      Kind = "elsewhere"       // the link belongs to another browser
	KindOverPlan       Kind = "over-plan"       // beyond the Upscope plan
	KindChatDown       Kind = "chat-down"       // the chat service gave no address of the conversation
	KindUpscopeDown    Kind = "upscope-down"    // Upscope cannot be reached
	KindUpscopeRefused Kind = "upscope-refused" // Upscope refused our key
	KindUntrusted      Kind = "untrusted"       // Upscope answered with an address we do not trust
	KindVisitorGone    Kind = "visitor-gone"    // no visitor matches the card any more
	KindThrottled      Kind = "throttled"       // too many attempts
	KindPress          Kind = "press"           // not pressed by a person
	KindCookies        Kind = "cookies"         // the browser keeps no cookies
	KindOldBrowser     Kind = "old-browser"     // the browser sends no fetch metadata
	KindRenewed        Kind = "renewed"         // a fresh link was sent
	KindWaiting        Kind = "waiting"         // the agent will be told when the visitor is back
	KindStopped        Kind = "stopped"         // the session was ended
	KindAfter          Kind = "after"           // where the browser goes when a session is over
	KindAgain          Kind = "again"           // another request changed the card at the same time
	KindStore          Kind = "store"           // the store, with the audit log, cannot be written
	KindInternal       Kind = "internal"
	KindNotFound       Kind = "not-found"   // any other page
	KindNeutral        Kind = "neutral"     // for robots and previews; without facts
	KindMisdirected    Kind = "misdirected" // wrong host name
	KindMethod         Kind = "method"
	KindCrossOrigin    Kind = "cross-origin"    // a form of another site
	KindSignIn         Kind = "sign-in"         // a form came after the sign-in had ended
	KindSignedOut      Kind = "signed-out"      // signed out
	KindStaleSignIn    Kind = "stale-sign-in"   // a sign-in that is old, used, or another browser's
	KindDenied         Kind = "denied"          // the issuer did not sign the agent in
	KindIssuerDown     Kind = "issuer-down"     // the issuer cannot be reached
	KindSignInSetup    Kind = "sign-in-setup"   // the issuer refuses how the bridge is configured
	KindToken          Kind = "token"           // the answer of the issuer could not be verified
	KindClock          Kind = "clock"           // the issuer's clock and ours differ
	KindDomain         Kind = "domain"          // an e-mail address of another organisation
	KindGroup          Kind = "group"           // not in an allowed group
	KindGroupsLeftOut  Kind = "groups-left-out" // the issuer left out the agent's groups
	KindNobody         Kind = "nobody"          // the proxy in front did not say who asks
	KindPolicy         Kind = "policy"          // not allowed to this agent
	KindOther          Kind = "other"           // the card belongs to another agent
	KindLinked         Kind = "linked"          // the chat account belongs to another agent
)

// Title is the heading of a notice of this kind; a Kind that is not among the
// constants has that of KindInternal.
func (k Kind) Title() string {
	if texts, ok := notices[k]; ok {
		return texts.title
	}
	return notices[KindInternal].title
}
