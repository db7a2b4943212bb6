package templates

import (
	"net/url"

	"cobrowse-bridge/templates/clean"
)

// Erase is the page that erases a person. It asks for an id, shows a summary to
// confirm, and then a receipt.
//
// Its form is posted to /desk/erase with the fields kind, id and, to erase the
// person at Upscope too, upscope=1. The summary posts the same with confirm=1.
// GET /desk/erase?receipt=ID shows a receipt again.
type Erase struct {
	SignedIn SignedInAgent
	// Kind, ID and Upscope are the fields that were posted.
	Kind    EraseKind
	ID      string
	Upscope bool
	// Invalid says that ID is not a valid id of its Kind.
	Invalid bool
	// Found is the summary to confirm; nil shows the form for the id.
	Found   *EraseCounts
	Receipt *EraseReceipt
}

// An EraseKind is a kind of id that names a person.
type EraseKind string

// The kinds of id, by the names that the bridge has for them.
const (
	EraseVisitor     EraseKind = "visitor"        // Upscope's short id of a browser
	EraseUnique      EraseKind = "unique id"      // the site's own
	EraseIntegration EraseKind = "integration id" // of the page script
)

// EraseCounts count the stored data of a person.
type EraseCounts struct{ Cards, Deliveries, Jobs, Records int64 }

// An EraseReceipt is the result of an erasure.
type EraseReceipt struct {
	ID string
	// State is one of the Erase state constants; any other is shown as failed.
	State   string
	Removed EraseCounts
	// Visitors is how many visitors were erased at Upscope.
	Visitors int64
	// Note says why something is left.
	Note string
	// Retryable says that the operations page lists the failed erasure.
	Retryable bool
}

// States of an EraseReceipt.
const (
	ErasePending = "pending"
	EraseDone    = "done"
	EraseFailed  = "failed"
)

type eraseView struct {
	Frame frame
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
	Value              EraseKind
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
	Again                  string // the receipt's address, while the erasure is pending
	Failed                 bool
}

func (e Erase) view() (string, any, error) {
	v := eraseView{
		Frame: e.SignedIn.frame(eraseTitle, erasePath, ""), Step: "ask",
		ID: clean.Text(e.ID, maxID), Upscope: e.Upscope, Invalid: e.Invalid,
	}
	for i, kind := range []EraseKind{EraseVisitor, EraseUnique, EraseIntegration} {
		texts := eraseKindTexts[kind]
		k := eraseKindView{Value: kind, Label: texts.label, Help: texts.help, Shape: texts.shape}
		k.Chosen = k.Value == e.Kind || i == 0 && e.Kind == ""
		if k.Chosen {
			v.Kind = k
		}
		v.Kinds = append(v.Kinds, k)
	}
	switch {
	case e.Receipt != nil:
		v.Step, v.Receipt = "receipt", e.Receipt.view()
		v.Frame.Title = v.Receipt.What
		v.Counts = append(e.Receipt.Removed.view(), countView{countOfVisitors, e.Receipt.Visitors})
	case e.Found != nil:
		v.Step, v.Frame.Title, v.Counts = "confirm", eraseConfirmTitle, e.Found.view()
		v.Nothing = *e.Found == EraseCounts{}
		if v.Nothing && !e.Upscope {
			v.Frame.Title = eraseNothingTitle
		}
	}
	return "erase", v, nil
}

func (c EraseCounts) view() []countView {
	return []countView{
		{countOfCards, c.Cards}, {countOfDeliveries, c.Deliveries}, {countOfJobs, c.Jobs}, {countOfRecords, c.Records},
	}
}

func (r EraseReceipt) view() receiptView {
	texts, ok := receiptTexts[r.State]
	if !ok {
		texts = receiptTexts[EraseFailed]
	}
	v := receiptView{EraseReceipt: r, Icon: texts.icon, Tone: texts.tone, What: texts.what, Next: texts.next}
	if r.Retryable {
		v.Next = eraseRetryNext
	}
	v.Failed = r.State != ErasePending && r.State != EraseDone
	v.ID, v.Note = clean.Text(r.ID, maxID), clean.Text(r.Note, maxCause)
	if r.State == ErasePending {
		v.Again = erasePath + "?" + url.Values{"receipt": {v.ID}}.Encode()
	}
	return v
}
