package templates

// A Note says at the top of a page of the desk what a form did. A Note that is not
// among the constants says nothing, so it may come from an address.
type Note string

// The notes.
const (
	NoteNoCustomer    Note = "no-customer"     // no visitor online has the code
	NoteSeveral       Note = "several"         // several visitors online have the code
	NoteTooMany       Note = "too-many"        // the agent tried too many codes
	NoteTooManyOthers Note = "too-many-others" // too many codes were tried by other agents
	NoteTooOften      Note = "too-often"       // too many look-ups in a minute
	NoteMalformed     Note = "malformed"       // not a code
	NoteDown          Note = "down"            // Upscope could not be asked
	NoteNoCard        Note = "no-card"         // the card does not exist, or the agent no longer has it
	NoteInSession     Note = "in-session"      // the visitor is in a session
	NoteWaiting       Note = "waiting"         // the agent will be told
	NoteOnline        Note = "online"          // the visitor is online already
	NoteDisconnected  Note = "unlinked"        // a chat account is disconnected
	NoteRetried       Note = "retried"         // what failed is tried again
	NoteRetryGone     Note = "retry-gone"      // nothing is left to retry
	NoteDismissed     Note = "dismissed"       // a failure is no longer listed
	NoteFilter        Note = "filter"          // a part of the filter was not valid
	NoteNotExported   Note = "no-export"       // nothing was exported, because a part of the filter was not valid
)

// Code reports whether the note is about the code that was typed.
func (n noteText) Code() bool {
	for _, about := range []Note{NoteNoCustomer, NoteSeveral, NoteTooMany, NoteTooManyOthers, NoteTooOften, NoteMalformed} {
		if n == notes[about] {
			return true
		}
	}
	return false
}
