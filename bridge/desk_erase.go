package bridge

import (
	"errors"
	"net/http"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

// erasePage removes a person: what there is of them first, and only then, when it
// is confirmed, that.
func (b *Bridge) erasePage(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page := templates.Erase{Seat: b.seat(who)}
	if id := r.Form.Get("receipt"); id != "" && r.Method == http.MethodGet {
		receipt, err := b.store.Receipt(r.Context(), id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return storeFault(err)
		}
		if err == nil {
			page.Receipt = &templates.EraseReceipt{
				ID: receipt.ID, State: receipt.State, Removed: counted(receipt.Removed), Visitors: receipt.Removed.Visitors, Note: receipt.Note,
			}
		}
	}
	if r.Method != http.MethodPost {
		return b.render(w, http.StatusOK, page)
	}
	person := Person{PersonKind(r.PostForm.Get("kind")), r.PostForm.Get("id")}
	page.Kind, page.ID, page.Upscope = templates.EraseKind(person.Kind), person.ID, r.PostForm.Get("upscope") != ""
	if person.Valid() != nil {
		page.Invalid = true
		return b.render(w, http.StatusBadRequest, page)
	}
	eraser := &Eraser{b.store, b.subjects}
	if r.PostForm.Get("confirm") == "" {
		found, err := eraser.Look(r.Context(), person)
		if err != nil {
			return storeFault(err)
		}
		page.Found = new(templates.EraseCounts)
		*page.Found = counted(found)
		return b.render(w, http.StatusOK, page)
	}
	receipt, err := eraser.Erase(r.Context(), person, who.ID, page.Upscope)
	if err != nil {
		return storeFault(err)
	}
	seeOther(w, "/desk/erase?receipt="+receipt.ID)
	return nil
}

func counted(n store.Removed) templates.EraseCounts {
	return templates.EraseCounts{Cards: n.Cards, Deliveries: n.Deliveries, Jobs: n.Jobs, Records: n.Records}
}
