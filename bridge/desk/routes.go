package desk

import (
	"log/slog"
	"net/http"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/door"
	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/match"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/bridge/work"
	"cobrowse-bridge/upscope"

	"github.com/gorilla/mux"
)

// A Desk serves the pages for agents and leads who sign in: their cards, operations, the audit log and
// erasure.
type Desk struct {
	web     *web.Web
	book    *book.Book
	matcher *match.Matcher
	work    *work.Worker
	door    *door.Door

	store      *store.Store
	connectors map[string]chat.Connector
	hosts      upscope.Hosts
	policy     *policy.File
	health     *web.Health
	budgets    web.Budgets
	limits     web.Limits
	lookUps    *web.Throttle // look-ups of visitors, by agent
	metrics    *metrics.Metrics
	log        *slog.Logger
	eraser     *erase.Eraser
	streams    *streams
}

// Config is what New needs. Every field is required.
type Config struct {
	Web     *web.Web
	Book    *book.Book
	Matcher *match.Matcher
	Work    *work.Worker
	Door    *door.Door

	Store      *store.Store
	Connectors map[string]chat.Connector
	Hosts      upscope.Hosts // to which links to recordings may lead
	Policy     *policy.File
	Health     *web.Health
	Budgets    web.Budgets // the limits; Limits counts against them
	Limits     web.Limits
	LookUps    *web.Throttle // limits look-ups of visitors, by agent
	Eraser     *erase.Eraser
	Metrics    *metrics.Metrics
	Log        *slog.Logger
}

// New returns a Desk.
func New(c Config) *Desk {
	return &Desk{
		web: c.Web, book: c.Book, matcher: c.Matcher, work: c.Work, door: c.Door,
		store: c.Store, connectors: c.Connectors, hosts: c.Hosts, policy: c.Policy, health: c.Health,
		budgets: c.Budgets, limits: c.Limits, lookUps: c.LookUps, metrics: c.Metrics, log: c.Log, eraser: c.Eraser, streams: newStreams(c.Store, c.Policy, c.Log),
	}
}

// Routes registers the desk's and the sign-in's handlers on r.
func (desk *Desk) Routes(r *mux.Router) {
	// form adds the address of a form. A browser that goes back there gets page.
	form := func(path, page string, h http.Handler) {
		r.Handle(path, h).Methods(http.MethodPost)
		r.Handle(path, desk.atDesk(func(w http.ResponseWriter, _ *http.Request, _ signin.Identity) error {
			web.SeeOther(w, page)
			return nil
		})).Methods(http.MethodGet, http.MethodHead)
	}
	r.Handle(web.DeskPath, desk.atDesk(desk.showDesk)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/desk/events", desk.atDeskLong(desk.sendEvents)).Methods(http.MethodGet)
	r.Handle(web.CardPath+"{id}", desk.atDesk(desk.redirectToCard)).Methods(http.MethodGet, http.MethodHead)
	form("/desk/look-up", web.DeskPath, desk.atDesk(desk.allowed(policy.LookUp, desk.lookUpCode)))
	form("/desk/tell", web.DeskPath, desk.atDesk(desk.tellWhenBack))
	form("/desk/unlink", web.DeskPath, desk.atDesk(desk.disconnectAccount))
	r.Handle(operationsPath, desk.atDesk(desk.allowed(policy.Operate, desk.showOperations))).Methods(http.MethodGet, http.MethodHead)
	form("/desk/retry", operationsPath, desk.atDeskLong(desk.allowed(policy.Operate, desk.retryOrDismiss)))
	r.Handle("/desk/audit", desk.atDesk(desk.allowed(policy.Audit, desk.showAudit))).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/desk/audit/export", desk.atDeskLong(desk.allowed(policy.Audit, desk.exportAudit))).Methods(http.MethodGet)
	r.Handle("/desk/erase", desk.atDeskLong(desk.allowed(policy.Erase, desk.erasePerson))).Methods(http.MethodGet, http.MethodHead, http.MethodPost)
	r.Handle(web.SignInPath, desk.web.Page(desk.signIn)).Methods(http.MethodGet)
	r.Handle("/signin/callback", desk.web.Page(desk.signedIn)).Methods(http.MethodGet)
	r.Handle("/signout", desk.web.Page(desk.signOut)).Methods(http.MethodPost)
	r.Handle("/signout", desk.web.Page(desk.signedOut)).Methods(http.MethodGet, http.MethodHead)
}
