// Package upscope is a client for version 1.3 of Upscope's REST API, the co-browsing service also sold as
// UserView, HelloScreen and Co-Browsing API.
//
// The usual way through is short: find the visitor, ask for a watch link at the moment an agent presses a
// button, redirect the agent there, forget the link.
//
//	term, err := upscope.IntegrationID("rocketchat:" + visitorID)
//	visitors, err := client.Search(ctx, term, 10)
//	link, err := client.Watch(ctx, visitors[0].ShortID, upscope.WatchRequest{Agent: agent})
//	address, err := link.Location(hosts, time.Now())
//
// What a caller may rely on:
//
//   - A search is one exact token of a documented kind. Free text, which the service matches fuzzily and may
//     answer with somebody else, cannot be written down as a [Term].
//   - A [WatchLink] lets whoever holds it watch a person's screen. It does not print, log or marshal, and its
//     address comes out of [WatchLink.Location] alone, after the target has been checked.
//   - Success and failure are decided by the HTTP status, because the bodies of most failures are documented
//     nowhere. Every error of a call is an [*Error] that answers to the sentinels of this package and to the
//     context's errors, and holds neither the key nor an id, a search text or a link.
//   - Each call has its own deadline of a few seconds besides the caller's; no answer is read beyond 1 MiB; no
//     redirect is followed, so the key goes to the configured host and no other.
//   - Nothing is repeated, except what net/http itself sends again because a kept connection turned out to be
//     closed: a GET, or a request of which not a byte had been written.
//   - Erasing people is not among the methods of [Client]. It takes an [Eraser].
//
// The vendor's pages cited in the comments are those of cobrowsingapi.com/docs; the other brands publish the
// same text.
package upscope
