package desk

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"cobrowse-bridge/bridge/door"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// signIn starts a sign-in that leads to the desk.
func (desk *Desk) signIn(w http.ResponseWriter, r *http.Request) error {
	if desk.web.OIDC == nil {
		return web.ErrNoPage
	}
	return desk.web.OIDC.Begin(w, r, web.DeskPath)
}

// signedIn handles the redirect from the identity provider, and redirects to the page that the agent
// asked for.
func (desk *Desk) signedIn(w http.ResponseWriter, r *http.Request) error {
	if desk.web.OIDC == nil {
		return web.ErrNoPage
	}
	who, next, err := desk.web.OIDC.Finish(w, r)
	if errors.Is(err, signin.ErrState) && desk.hasSession(r) { // the agent went back to the callback
		web.RedirectWithoutReferrer(w, web.DeskPath)
		return nil
	}
	if err != nil {
		err = desk.signInFailed(r, who, err)
		desk.metrics.SignIn(outcomeOfSignIn(err))
		notice := templates.Notice{Retry: web.SignInPath}
		if errors.Is(err, web.ErrThrottled) {
			notice.Case = templates.CaseSignIn
		}
		return web.WithNotice(err, notice)
	}
	desk.metrics.SignIn(metrics.SignInDone)
	desk.book.Record(r.Context(), audit.Entry{Action: "signed in", Agent: who.ID})
	next = strings.TrimSuffix(next, "?") // a path that ends in web.SamePage ("?")
	if !strings.Contains(next, "?") && (strings.HasPrefix(next, web.DoorPath) || strings.HasPrefix(next, web.CardPath)) {
		next += web.SignedInPage // a redirect from a sign-in must not lead straight to the screen
	}
	web.RedirectWithoutReferrer(w, cmp.Or(next, web.DeskPath))
	return nil
}

// hasSession reports whether the browser of a request is signed in.
func (desk *Desk) hasSession(r *http.Request) bool {
	_, err := desk.web.OIDC.Peek(r)
	return err == nil
}

// signInFailed returns the error for the page of a failed sign-in. It counts the sign-in against
// the limit of its IP address if it may have been a guess, and records one that the configuration
// does not allow to the person who. It does not count other errors, which the user may not have
// caused. A sign-in that succeeds is never refused, because all agents of an office may share one IP
// address.
func (desk *Desk) signInFailed(r *http.Request, who signin.Identity, err error) error {
	ctx, from := r.Context(), desk.web.Address(r)
	switch {
	case errors.Is(err, signin.ErrToken), errors.Is(err, signin.ErrDenied):
		spent := desk.limits.Spend(ctx, web.ByAddress(desk.budgets.SignIns, from)...)
		if errors.Is(spent, web.ErrThrottled) {
			return fmt.Errorf("%w: %w", spent, err)
		}
		if spent != nil {
			desk.log.WarnContext(ctx, "failed sign-in not counted", "err", spent)
		}
	case errors.Is(err, signin.ErrDomain), errors.Is(err, signin.ErrGroup):
		desk.door.Refused(ctx, door.CardRequest{Who: who, From: from}, web.ErrPolicy, "sign in")
	}
	return err
}

// outcomeOfSignIn returns the outcome of a sign-in that failed with err.
func outcomeOfSignIn(err error) metrics.SignInOutcome {
	for _, is := range []struct {
		err     error
		outcome metrics.SignInOutcome
	}{
		{web.ErrThrottled, metrics.SignInThrottled},
		{signin.ErrState, metrics.SignInStale},
		{signin.ErrDenied, metrics.SignInDenied},
		{signin.ErrDomain, metrics.SignInRefused},
		{signin.ErrGroup, metrics.SignInRefused},
		{signin.ErrClock, metrics.SignInInvalid},
		{signin.ErrToken, metrics.SignInInvalid},
	} {
		if errors.Is(err, is.err) {
			return is.outcome
		}
	}
	return metrics.SignInFailed
}

// signOut signs the agent out.
func (desk *Desk) signOut(w http.ResponseWriter, r *http.Request) error {
	if desk.web.OIDC == nil {
		return web.ErrNoPage
	}
	if err := desk.web.ReadPress(w, r); err != nil {
		return err
	}
	if who, err := desk.web.OIDC.Who(r); err == nil {
		desk.book.Record(r.Context(), audit.Entry{Action: "signed out", Agent: who.ID})
	}
	if err := desk.web.OIDC.End(w, r); err != nil {
		return err
	}
	return desk.showSignedOut(w)
}

// signedOut answers a browser that goes back to the page after a sign-out. It signs nobody out or
// in.
func (desk *Desk) signedOut(w http.ResponseWriter, r *http.Request) error {
	switch {
	case desk.web.OIDC == nil:
		return web.ErrNoPage
	case desk.hasSession(r):
		web.SeeOther(w, web.DeskPath)
		return nil
	}
	return desk.showSignedOut(w)
}

func (desk *Desk) showSignedOut(w http.ResponseWriter) error {
	return desk.web.Render(w, http.StatusOK, templates.Notice{Kind: templates.KindSignedOut, Retry: web.SignInPath})
}
