package templates

// A Note says at the top of a page of the desk what came of a form. One that is
// not among the constants says nothing, so it may come from an address.
type Note string

// The notes.
const (
	NoteNoSingle  Note = "no-single"  // nobody, or several, show the code
	NoteTooMany   Note = "too-many"   // more codes than one person needs
	NoteMalformed Note = "malformed"  // not a code
	NoteDown      Note = "down"       // Upscope could not be asked
	NoteNoCard    Note = "no-card"    // the card is not there, or not the agent's any more
	NoteTold      Note = "told"       // the agent will be told
	NoteOnline    Note = "online"     // nothing to wait for: they are online
	NoteUnlinked  Note = "unlinked"   // a chat account is disconnected
	NoteRetried   Note = "retried"    // a failed delivery is tried again
	NoteRetryGone Note = "retry-gone" // there is nothing left to try again
	NoteFilter    Note = "filter"     // a part of the filter could not be read
)

// noteWords are what a note says.
type noteWords struct{ Tone, Icon, What, Next string }

// Code reports whether the note is about the code that was typed.
func (n noteWords) Code() bool {
	return n == notes[NoteNoSingle] || n == notes[NoteTooMany] || n == notes[NoteMalformed]
}

var notes = map[Note]noteWords{
	NoteNoSingle: {
		Tone: "warn", Icon: "person",
		What: "Nobody, or more than one visitor, shows that code right now.",
		Next: "Ask them to read the code out again. If it is the same, ask them to reload your page for a new one.",
	},
	NoteTooMany: {
		Tone: "warn", Icon: "clock",
		What: "More codes led nowhere in a short time than one person needs.",
		Next: "Wait ten minutes, then ask the customer to read the code out again.",
	},
	NoteMalformed: {
		Tone: "warn", Icon: "alert",
		What: "A code is four digits.",
		Next: "Ask the customer to read out the four digits on your page.",
	},
	NoteDown: {
		Tone: "warn", Icon: "cloud",
		What: "Upscope isn’t answering, so nobody could be looked up.",
		Next: "Wait a moment, then try again.",
	},
	NoteNoCard: {
		Tone: "warn", Icon: "chat",
		What: "That card is no longer yours.",
		Next: "Its chat was closed or went to another agent. What you have now is below.",
	},
	NoteTold: {
		Tone: "good", Icon: "check",
		What: "We’ll show it here the moment they are back.",
		Next: "Leave this page open; its tab is marked as well. The customer notices nothing.",
	},
	NoteOnline: {
		Tone: "good", Icon: "check",
		What: "They are online already.",
		Next: "Press Co-browse on their card.",
	},
	NoteUnlinked: {
		Tone: "good", Icon: "check",
		What: "The chat account is disconnected.",
		Next: "The next time somebody presses a card that was sent to it, they are asked whose it is.",
	},
	NoteRetried: {
		Tone: "good", Icon: "check",
		What: "It is being tried again.",
		Next: "What fails once more comes back to this list with its new cause.",
	},
	NoteRetryGone: {
		Tone: "calm", Icon: "check",
		What: "There was nothing left to try again.",
		Next: "It has been handled meanwhile, or its time to be kept was over.",
	},
	NoteFilter: {
		Tone: "warn", Icon: "alert",
		What: "A part of the filter could not be read and was left out.",
		Next: "The form below shows what was searched for.",
	},
}
