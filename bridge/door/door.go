// Package door serves the co-browse page behind a card's address, and opens the visitor's screen
// when an agent presses. Read door.go first, then open.go.
package door

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/match"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/bridge/work"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A Door answers requests for the addresses of cards and decides which agents may use them.
type Door struct {
	web     *web.Web
	book    *book.Book
	matcher *match.Matcher
	work    *work.Worker

	origin     *url.URL
	store      *store.Store
	upscope    *upscope.Client
	hosts      upscope.Hosts
	connectors map[string]chat.Connector
	chatHosts  map[string]upscope.Hosts // hosts of conversations, by connector
	policy     *policy.File
	linkEmail  bool
	sites      []string
	metrics    *metrics.Metrics
	budgets    web.Budgets
	limits     web.Limits
	lookUps    *web.Throttle // look-ups of visitors, by agent
	refusals   *web.Throttle // audit entries about the same refusal
	renewals   *web.Throttle // new links, by card
	guesses    *web.Prepaid  // unknown links, by agent or IP address
	log        *slog.Logger

	// afterPage is the address to which Upscope leads after a session.
	afterPage     string
	overPlanUntil atomic.Int64 // no watch links are requested before this Unix time in µs
	repeats       *repeats
}

// Config is what New needs. Every field but LinkEmail and Sites is required. Budgets has the limits;
// Limits counts against them. Maps by connector have the connectors' names as keys.
type Config struct {
	Web     *web.Web
	Book    *book.Book
	Matcher *match.Matcher
	Work    *work.Worker

	// Origin is the public address: scheme and host, no path.
	Origin     *url.URL
	Store      *store.Store
	Upscope    *upscope.Client
	Hosts      upscope.Hosts            // to which watch links may lead
	ChatHosts  map[string]upscope.Hosts // to which links into conversations may lead, by connector
	Connectors map[string]chat.Connector
	Policy     *policy.File
	// LinkEmail connects a chat account to the agent who signs in with the e-mail address that
	// the chat service has confirmed for it.
	LinkEmail bool
	// Sites are the host names of the operator's own pages; see bridge.Config.
	Sites    []string
	Metrics  *metrics.Metrics
	Budgets  web.Budgets
	Limits   web.Limits
	LookUps  *web.Throttle // limits look-ups of visitors, by agent
	Refusals *web.Throttle // limits audit entries about the same refusal
	Log      *slog.Logger
}

// New returns a Door.
func New(c Config) *Door {
	return &Door{
		web: c.Web, book: c.Book, matcher: c.Matcher, work: c.Work,
		origin: c.Origin, store: c.Store, upscope: c.Upscope, hosts: c.Hosts, chatHosts: c.ChatHosts, connectors: c.Connectors,
		policy: c.Policy, linkEmail: c.LinkEmail, sites: c.Sites, metrics: c.Metrics, budgets: c.Budgets, limits: c.Limits,
		lookUps: c.LookUps, refusals: c.Refusals, log: c.Log,
		renewals:  web.NewThrottle(1, time.Minute),
		guesses:   web.NewPrepaid(c.Limits, c.Budgets.UnknownDoors),
		repeats:   newRepeats(),
		afterPage: c.Origin.JoinPath(web.AfterPath).String(),
	}
}

// Routes registers the handlers of the co-browse page on r.
func (door *Door) Routes(r *mux.Router) {
	r.Handle(web.DoorPath+"{handle}", door.web.Page(door.getDoor)).Methods(http.MethodGet, http.MethodHead, http.MethodOptions)
	r.Handle(web.DoorPath+"{handle}", door.web.OnPress(door.renewDoor)).Methods(http.MethodPost).Queries("renew", "1")
	r.Handle(web.DoorPath+"{handle}", door.web.OnPress(door.pressDoor)).Methods(http.MethodPost)
	r.Handle(web.DoorPath+"{handle}/renew", door.web.OnPress(door.renewDoor)).Methods(http.MethodPost) // the same; no page uses it
	r.Handle(web.DoorPath+"{handle}/renew", door.web.Page(backToDoor)).Methods(http.MethodGet, http.MethodHead)
}

// backToDoor answers a browser that goes back to the page after a renewal.
func backToDoor(w http.ResponseWriter, r *http.Request) error {
	web.RedirectWithoutReferrer(w, web.DoorPath+mux.Vars(r)["handle"])
	return nil
}

// getDoor handles GET, HEAD and OPTIONS. Programs such as link previews and scanners get a neutral
// page. An agent gets the card's page, or goes straight to the screen.
func (door *Door) getDoor(w http.ResponseWriter, r *http.Request) error {
	neutral := templates.Notice{Kind: templates.KindNeutral}
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", "GET, HEAD, POST, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return nil
	case web.Prefetching(r):
		return door.web.Render(w, http.StatusServiceUnavailable, neutral) // so that the browser discards the page
	case r.Method == http.MethodHead, web.Robot(r):
		return door.web.Render(w, http.StatusOK, neutral)
	}
	browser := door.web.Token(r)
	door.web.SetBrowserCookie(w, browser)
	return door.web.AsAgent(w, r, func(who signin.Identity) error {
		return book.Retry(func() error { return door.getOnce(w, r, who, browser) })
	})
}

func (door *Door) getOnce(w http.ResponseWriter, r *http.Request, who signin.Identity, browser string) error {
	c, err := door.cardOfAddress(r, who)
	if err != nil {
		door.Refused(r.Context(), c, err)
		return err
	}
	visitedBefore := r.URL.RawQuery == "" && door.web.SetShownCookie(w, r, c.ID) // the cookie is set only if straight may need it
	c.page = web.PageOf(r.URL.Query())
	knownBrowserOrAgent, err := door.admitAgentOrBrowser(r.Context(), &c, who, browser)
	if errors.Is(err, web.ErrConnect) {
		return door.web.Render(w, http.StatusOK, door.connectPage(c))
	}
	if err != nil {
		door.Refused(r.Context(), c, err)
		return door.withNotice(&c, err)
	}
	if knownBrowserOrAgent && door.straight(r, c, visitedBefore || browser == "") {
		return door.withNotice(&c, door.open(w, r, c, press{visitor: c.Visitor, straight: true, from: door.web.SourceOf(r, c.About.ChatURL), browser: browser}))
	}
	if c.page == web.ChatPage && door.book.HasChatLink(c.Card) {
		if c.chatEnded {
			return door.withNotice(&c, web.ErrClosed)
		}
		d := c.pageWith()
		d.OpeningChat = true
		return door.withNotice(&c, door.web.Render(w, http.StatusOK, d))
	}
	if c.page == web.StopPage && c.Stoppable() {
		d := c.pageWith()
		d.Stopping, d.Runs = true, c.CurrentState() == card.Live
		return door.withNotice(&c, door.web.Render(w, http.StatusOK, d))
	}
	return door.withNotice(&c, door.showPage(w, r, c))
}

// straight reports whether a GET leads straight to the screen, without the page: a person clicked,
// and the card has one certain visitor or the agent's own running session. The policy may require
// the page nevertheless.
//
// A browser that goes back, reloads or restores a tab sends the same headers as after a typed
// address or a click in an app (Sec-Fetch-Site none). Such a request leads straight to the screen
// only if the browser has the bridge's browser cookie and has not been at this address before, and
// if no agent pressed within recentPress. maybeVisited says that one of the first two is not so.
func (door *Door) straight(r *http.Request, c CardRequest, maybeVisited bool) bool {
	if !web.Clicked(r) || r.URL.RawQuery != "" || !c.Certain() && (!c.MayBeWatching(c.actor()) || len(c.VisitorsInSession()) == 0) {
		return false
	}
	if web.MetadataOf(r).Site == "none" && (maybeVisited || time.Since(c.About.Pressed) < recentPress) {
		return false
	}
	switch door.DecideForCard(c, policy.Watch).PageFirst {
	case policy.PageFirstAlways:
		return false
	case policy.PageFirstOtherSites:
		from := door.web.SourceOf(r, c.About.ChatURL)
		return from != web.FromSite && from != web.FromNoReferer
	}
	return true
}

// recentPress is how long after a press a typed address counts as Back or a reload, whatever
// cookies the browser sends.
const recentPress = 10 * time.Minute

// pressDoor answers the buttons of the co-browse page.
func (door *Door) pressDoor(w http.ResponseWriter, r *http.Request) error {
	return door.web.AsAgent(w, r, func(who signin.Identity) error {
		return book.Retry(func() error { return door.pressOnce(w, r, who) })
	})
}

func (door *Door) pressOnce(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, err := door.cardOfAddress(r, who)
	if err != nil {
		door.Refused(r.Context(), c, err)
		return err
	}
	c.page = web.PageOf(r.PostForm)
	browser := door.web.Token(r)
	_, err = door.admitAgentOrBrowser(r.Context(), &c, who, browser)
	if errors.Is(err, web.ErrConnect) {
		if r.PostForm.Get("connect") == "" {
			return door.web.Render(w, http.StatusOK, door.connectPage(c))
		}
		if err := door.connect(r.Context(), &c, templates.ConnectedByAgent); errors.Is(err, store.ErrTaken) {
			return door.withNotice(&c, web.ErrTaken)
		} else if err != nil {
			return web.StoreFault(err)
		}
		if _, err = door.admitAgentOrBrowser(r.Context(), &c, who, browser); err == nil {
			return door.withNotice(&c, door.showPage(w, r, c))
		}
	}
	if err != nil {
		door.Refused(r.Context(), c, err)
		return door.withNotice(&c, err)
	}
	if r.PostForm.Has("code") {
		return door.withNotice(&c, door.lookUpTyped(w, r, c))
	}
	if r.PostForm.Get("look") != "" {
		// Without clues there is nothing to search by; showPage reads the visitor by short id.
		if c.Visitor == "" || !c.About.Clues.Empty() {
			if err := door.lookAgain(r.Context(), &c); err != nil {
				return door.withNotice(&c, err)
			}
		}
		return door.withNotice(&c, door.showPage(w, r, c))
	}
	switch {
	case c.page == web.StopPage:
		return door.withNotice(&c, door.stop(w, r, c))
	case c.page == web.ChatPage:
		return door.withNotice(&c, door.openChat(w, r, c, browser))
	case r.PostForm.Get("tell") != "":
		return door.withNotice(&c, door.startWait(w, r, c))
	}
	visitor, shown, chosen := parseChoice(r.PostForm.Get("visitor"))
	return door.withNotice(&c, door.open(w, r, c, press{visitor: visitor, shown: shown, chosen: chosen, anyway: r.PostForm.Get("anyway") != "", from: web.FromOurPage, browser: browser}))
}

// cardOfAddress returns the card of an address that works now. All addresses without a card get the
// same answer, and count against the sender's limit.
func (door *Door) cardOfAddress(r *http.Request, who signin.Identity) (CardRequest, error) {
	c, generation, err := door.cardByAddress(r, who)
	if err != nil {
		return CardRequest{Who: who, From: door.web.Address(r)}, err
	}
	c.Who = who
	switch {
	case c.CurrentState() == card.Closed:
		return c, door.withNotice(&c, web.ErrClosed)
	case generation < c.About.FirstGeneration:
		return c, door.withNotice(&c, web.ErrMoved)
	case generation < c.Generation:
		return c, door.withNotice(&c, web.ErrReplaced)
	case time.Now().After(c.DoorUntil):
		return c, door.withNotice(&c, web.ErrExpired)
	}
	err = door.book.CheckSharedOpen(r.Context(), c.Card)
	if errors.Is(err, web.ErrClosed) && c.Stoppable() {
		c.chatEnded = true
		return c, nil
	}
	return c, door.withNotice(&c, err)
}

// cardByAddress returns the card of an address, which may have expired, and the generation of the
// address: each new link of a card has a higher one.
func (door *Door) cardByAddress(r *http.Request, who signin.Identity) (CardRequest, int, error) {
	unknown := func() error {
		// Colleagues may have the same address. People whose address is not known must not use up each
		// other's limit.
		if subject := cmp.Or(who.ID, door.web.Address(r)); subject != "" {
			if err := door.guesses.Spend(r.Context(), subject); err != nil {
				return err
			}
		}
		return web.ErrUnknown
	}
	h, err := book.ParseHandle(mux.Vars(r)["handle"])
	if err != nil {
		return CardRequest{}, 0, unknown()
	}
	row, holder, err := door.store.CardByHandle(r.Context(), h.Hash())
	if errors.Is(err, store.ErrNotFound) {
		return CardRequest{}, 0, unknown()
	}
	if err != nil {
		return CardRequest{}, 0, web.StoreFault(err)
	}
	generation, ok := door.book.Doors.GenerationOf(row, h)
	if !ok {
		return CardRequest{}, 0, unknown()
	}
	c, err := card.Open(row)
	return CardRequest{Card: c, Holder: holder}, generation, err
}

// withNotice adds to err the links and the agent's name that the error page may show. A person who
// only has the address does not learn the agent's name. The first case that matches decides.
func (door *Door) withNotice(c *CardRequest, err error) error {
	if err == nil {
		return nil
	}
	n := templates.Notice{Chat: c.ChatLink(), Service: door.book.Title(c.About.Place.Connector)}
	switch {
	case errors.Is(err, web.ErrPolicy):
		n.Case = templates.CaseWatch
	case isGone(err) && c.About.Clues.Empty():
		n.Case = templates.CaseCode
	}
	if c.page == web.StopPage {
		n.Case = templates.CaseStop
	}
	switch {
	case errors.Is(err, web.ErrClosed), errors.Is(err, web.ErrMoved), errors.Is(err, web.ErrReplaced): // only the chat helps
	case c.About.SharedCard != "": // the agent presses the shared card again
		if errors.Is(err, web.ErrExpired) {
			n.Case = templates.CaseChannel
		}
	case errors.Is(err, web.ErrExpired) && c.Connector == book.DeskName:
		n.Case = templates.CaseDesk
	case errors.Is(err, web.ErrExpired):
		n.Renew = web.RenewPage
	case errors.Is(err, web.ErrOtherBrowser): // the sender may not be the agent, and gets no chat link
		n.Chat, n.Renew = templates.Link{}, web.RenewPage
		if c.Claimed {
			n.Case = templates.CaseClaimed
		}
	case errors.Is(err, web.ErrOtherAgent), errors.Is(err, web.ErrTaken), errors.Is(err, web.ErrPolicy):
		n.Agent, n.SignOut = c.actorName(), strings.HasPrefix(c.Who.ID, "oidc:")
		if errors.Is(err, web.ErrTaken) {
			n.Account = c.accountName()
		}
	case n.Case == templates.CaseCode: // nothing is left to search by
		n.Agent = c.actorName()
	default:
		n.Agent, n.Retry = c.actorName(), cmp.Or(c.page, web.SamePage)
	}
	return web.WithNotice(err, n)
}

// isGone reports whether err means that a visitor was not found.
func isGone(err error) bool {
	return errors.Is(err, web.ErrGone) || errors.Is(err, upscope.ErrNotFound)
}

// stop ends the sessions of the card's visitor, for all agents who watch.
func (door *Door) stop(w http.ResponseWriter, r *http.Request, c CardRequest) error {
	if !c.Stoppable() {
		return door.showPage(w, r, c)
	}
	if !door.DecideForCard(c, policy.Stop).Allowed {
		door.Refused(r.Context(), c, web.ErrPolicy)
		return web.ErrPolicy
	}
	if _, err := door.work.StopSession(r.Context(), c.Card, c.actor()); err != nil {
		return err
	}
	return door.web.Render(w, http.StatusOK, templates.Notice{Kind: templates.KindStopped, Agent: c.actorName(), Chat: c.ChatLink()})
}

// renewDoor sends a new link to the place where the card is shown. The answer contains no link. If
// the sender's link still works, it makes no new one and shows the page.
func (door *Door) renewDoor(w http.ResponseWriter, r *http.Request) error {
	return door.web.AsAgent(w, r, func(who signin.Identity) error {
		return book.Retry(func() error { return door.renewOnce(w, r, who) })
	})
}

func (door *Door) renewOnce(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, generation, err := door.cardByAddress(r, who)
	if err != nil {
		return err
	}
	switch {
	case c.CurrentState() == card.Closed:
		return door.withNotice(&c, web.ErrClosed)
	case generation < c.About.FirstGeneration:
		return door.withNotice(&c, web.ErrMoved)
	case c.About.SharedCard != "":
		return door.withNotice(&c, web.ErrExpired)
	}
	_, err = door.admitAgentOrBrowser(r.Context(), &c, who, door.web.Token(r))
	if door.web.SignsIn() && err != nil && !errors.Is(err, web.ErrConnect) {
		door.Refused(r.Context(), c, err)
		return door.withNotice(&c, err) // an agent cannot renew another agent's link
	}
	if err == nil && generation == c.Generation && time.Now().Before(c.DoorUntil) {
		return door.withNotice(&c, door.showPage(w, r, c))
	}
	if c.Connector == book.DeskName {
		return door.withNotice(&c, web.ErrExpired) // there is no chat to send a link to
	}
	if !door.renewals.Allow(c.ID) {
		n := templates.Notice{Case: templates.CaseRenewed, Chat: c.ChatLink(), Service: door.book.Title(c.About.Place.Connector)}
		return web.WithNotice(web.ErrThrottled, n)
	}
	before := c.Card
	c.Generation++
	change := store.Change{Audit: []audit.Entry{door.auditEntry(c, "renewed", "")}}
	door.book.ScheduleEffects(&c.Card, before, &change)
	if err := door.book.CommitForRequest(r.Context(), &c.Card, change); err != nil {
		door.renewals.Forget(c.ID) // nothing was sent
		return door.withNotice(&c, err)
	}
	return door.web.Render(w, http.StatusOK, templates.Notice{Kind: templates.KindRenewed, Chat: c.ChatLink(), Service: door.book.Title(c.About.Place.Connector)})
}
