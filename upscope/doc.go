// Package upscope is a client for version 1.3 of the REST API of Upscope, a co-browsing service that is also sold
// as UserView, HelloScreen and Co-Browsing API. Read client.go first.
//
// A caller finds the visitor, asks for a watch link when an agent presses a button, redirects the agent to the
// link, and does not keep it:
//
//	term, err := upscope.IntegrationID("rocketchat:" + visitorID)
//	visitors, err := client.Search(ctx, term, 10)
//	link, err := client.Watch(ctx, visitors[0].ShortID, upscope.WatchRequest{Agent: agent})
//	address, err := link.Location(hosts, time.Now())
//
// What a caller may rely on:
//
//   - A search is one exact token of a documented kind. A [Term] cannot be free text, because the service matches
//     free text fuzzily and may return another person.
//   - Anyone who has a watch link can watch a person's screen. So a [WatchLink] does not print, log or marshal.
//     Only [WatchLink.Location] returns its address, after it has checked the target.
//   - The HTTP status decides about success and failure, because most bodies of failures are not documented.
//     Every error of a call is an [*Error]. errors.Is finds the sentinels of this package and the context's
//     errors in it. It contains no key, id, search text or link.
//   - Each call has its own deadline of a few seconds, besides the caller's. An answer longer than 1 MiB is an
//     error. Redirects are not followed, so only the configured host gets the key.
//   - The client repeats no call. net/http repeats a request if a kept connection turns out to be closed: a GET,
//     or a request of which no byte was written.
//   - [Client] has no methods that erase people. [Eraser] has them.
//
// Comments cite the vendor's pages at cobrowsingapi.com/docs; the other brands publish the same text.
package upscope
