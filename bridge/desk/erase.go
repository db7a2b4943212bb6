package desk

import (
	"errors"
	"net/http"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// erasePerson shows how much data the store has about a person, and erases it when the agent confirms.
func (desk *Desk) erasePerson(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page := templates.Erase{SignedIn: desk.signedInAgent(who)}
	if id := r.Form.Get("receipt"); id != "" && r.Method == http.MethodGet {
		receipt, err := desk.store.Receipt(r.Context(), id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return web.StoreFault(err)
		}
		if err == nil {
			page.Receipt = &templates.EraseReceipt{
				ID: receipt.ID, State: receipt.State, Removed: eraseCounts(receipt.Removed), Visitors: receipt.Removed.Visitors, Note: receipt.Note, Retryable: receipt.Retryable(),
			}
		}
	}
	if r.Method != http.MethodPost {
		return desk.web.Render(w, http.StatusOK, page)
	}
	person := card.Person{Kind: card.PersonKind(r.PostForm.Get("kind")), ID: r.PostForm.Get("id")}
	page.Kind, page.ID, page.Upscope = templates.EraseKind(person.Kind), person.ID, r.PostForm.Get("upscope") != ""
	if person.Check() != nil {
		page.Invalid = true
		return desk.web.Render(w, http.StatusBadRequest, page)
	}
	if r.PostForm.Get("confirm") == "" {
		found, err := desk.eraser.Count(r.Context(), person)
		if err != nil {
			return web.StoreFault(err)
		}
		page.Found = new(templates.EraseCounts)
		*page.Found = eraseCounts(found)
		return desk.web.Render(w, http.StatusOK, page)
	}
	receipt, err := desk.eraser.Erase(r.Context(), person, who.ID, page.Upscope)
	if err != nil {
		return web.StoreFault(err)
	}
	web.SeeOther(w, "/desk/erase?receipt="+receipt.ID)
	return nil
}

func eraseCounts(n store.Removed) templates.EraseCounts {
	return templates.EraseCounts{Cards: n.Cards, Deliveries: n.Deliveries, Jobs: n.Jobs, Records: n.Records}
}
