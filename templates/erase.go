package templates

import "net/url"

// Erase is the page on which a person is removed: asked for, confirmed after a
// look at what there is, and answered with a receipt.
//
// Its form is posted to /desk/erase with the fields kind, id and, if they are to
// be removed there too, upscope=1. Whoever has seen what was found posts the
// same with confirm=1. GET /desk/erase?receipt=ID shows a receipt again.
type Erase struct {
	Seat Seat
	// Kind, ID and Upscope are what was asked for.
	Kind    EraseKind
	ID      string
	Upscope bool
	// Invalid says that ID is no id of its Kind.
	Invalid bool
	// Found is what would be removed; nil asks whom to erase.
	Found *EraseCounts
	// Receipt is that of what was removed; nil if nothing was.
	Receipt *EraseReceipt
}

// An EraseKind says what id a person is named by.
type EraseKind string

// The kinds of id, as the bridge calls them.
const (
	EraseVisitor     EraseKind = "visitor"        // Upscope's short id of a browser
	EraseUnique      EraseKind = "unique id"      // the site's own
	EraseIntegration EraseKind = "integration id" // of the page script
)

// EraseCounts count what is kept of a person.
type EraseCounts struct{ Cards, Deliveries, Jobs, Records int64 }

// An EraseReceipt tells what became of it.
type EraseReceipt struct {
	ID string
	// State is one of the Erase state constants; any other is shown as failed.
	State   string
	Removed EraseCounts
	// Visitors is how many were removed at Upscope.
	Visitors int64
	// Note says what is left to do.
	Note string
}

// States of an EraseReceipt.
const (
	ErasePending = "pending"
	EraseDone    = "done"
	EraseFailed  = "failed"
)

type eraseView struct {
	frame
	// Step is ask, confirm or receipt.
	Step    string
	Kinds   []eraseKindView
	Kind    eraseKindView
	ID      string
	Upscope bool
	Invalid bool
	Nothing bool
	Counts  []countView
	Receipt receiptView
}

type eraseKindView struct {
	Value EraseKind
	// Help says whom such an id stands for, Shape what it is made of.
	Label, Help, Shape string
	Chosen             bool
}

type countView struct {
	Label string
	N     int64
}

type receiptView struct {
	EraseReceipt
	Icon, Tone, What, Next string
	Again                  string // the receipt's address, if it is to be looked at again
}

var eraseKinds = []eraseKindView{
	{Value: EraseVisitor, Label: "Upscope short ID", Help: "One browser, as Upscope lists it.", Shape: "It is made of letters, digits, _ and -."},
	{Value: EraseUnique, Label: "Your site’s ID", Help: "The customer ID that your site gives Upscope: every browser of that person.", Shape: "It is made of letters, digits and _ . @ + -."},
	{Value: EraseIntegration, Label: "Integration ID", Help: "The key of a chat and a page, with its service in front, such as rocketchat:key.", Shape: "It is a name in small letters, a colon, and letters, digits, _ and -."},
}

func (e Erase) view() (string, any, error) {
	v := eraseView{
		frame: e.Seat.frame("Erase a person", erasePath, ""), Step: "ask",
		ID: clean(e.ID, maxID), Upscope: e.Upscope, Invalid: e.Invalid,
	}
	for i, k := range eraseKinds {
		k.Chosen = k.Value == e.Kind || i == 0 && e.Kind == ""
		if k.Chosen {
			v.Kind = k
		}
		v.Kinds = append(v.Kinds, k)
	}
	switch {
	case e.Receipt != nil:
		v.Step, v.Receipt = "receipt", e.Receipt.view()
		v.Title = v.Receipt.What
		v.Counts = append(e.Receipt.Removed.view(), countView{"Visitors at Upscope", e.Receipt.Visitors})
	case e.Found != nil:
		v.Step, v.Title, v.Counts = "confirm", "Erase this person?", e.Found.view()
		v.Nothing = *e.Found == EraseCounts{}
	}
	return "erase", v, nil
}

func (c EraseCounts) view() []countView {
	return []countView{
		{"Co-browse cards", c.Cards}, {"Deliveries from chats", c.Deliveries}, {"Jobs that wait", c.Jobs},
		{"Audit records that name them", c.Records},
	}
}

func (r EraseReceipt) view() receiptView {
	v := receiptView{EraseReceipt: r}
	v.ID, v.Note = clean(r.ID, maxID), clean(r.Note, maxCause)
	switch r.State {
	case EraseDone:
		v.Icon, v.Tone, v.What = "check", "good", "They are erased"
		v.Next = "Keep the receipt’s number as your proof. It names nobody."
	case ErasePending:
		v.Icon, v.Tone, v.What = "clock", "calm", "Erased here, and under way at Upscope"
		v.Next = "Upscope removes nobody who is online, so it is tried again until they have left. Look again later; you need not keep this page open."
		v.Again = erasePath + "?" + url.Values{"receipt": {v.ID}}.Encode()
	default:
		v.Icon, v.Tone, v.What = "alert", "warn", "They could not be erased completely"
		v.Next = "Read below what is left, put it right, and erase them once more."
	}
	return v
}
