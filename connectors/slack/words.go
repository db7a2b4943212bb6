package slack

import "cobrowse-bridge/bridge/chat"

// The connector's own texts for agents. All other texts come from the card.
const (
	openText  = "The window could not be opened in time. Press the button to try again."
	openLabel = "Look up customer"

	// titleOutside and factOutside are all that a card says that people of other companies can
	// see. titleOutsideDone and factOutsideDone replace them where it has no button.
	titleOutside     = "Co-browse with a customer"
	titleOutsideDone = "No customer to co-browse with here now"
	factOutside      = "People of other companies read this channel, so this message does not name the customer. Press the button to see who it is."
	factOutsideDone  = "People of other companies read this channel, so this message does not name the customer."

	// commandsText lists the other commands, each with the name of the command in front.
	commandsText = "%[1]s status (your customers), %[1]s stop (end your sessions), %[1]s usage (numbers)"

	modalTitle   = "Look up customer"
	modalWait    = "Loading…"
	modalRefused = "Your chat account is not allowed to co-browse. If you need this for your work, ask your administrator for access."
	modalSubmit  = "Look up"
	modalClose   = "Cancel"
	modalDone    = "Close"
	modalLabel   = "Customer"
	modalExample = "4821"
)

// modalHint returns the text below the field of the dialog. emails says that customers may be
// looked up by their e-mail address.
func modalHint(emails bool) string {
	if emails {
		return "The four-digit code that the customer sees on your website, an ID from another system, such as crm:4711, or an e-mail address. The result comes in a message from this app."
	}
	return "The four-digit code that the customer sees on your website, or an ID from another system, such as crm:4711. The result comes in a message from this app."
}

// queryError returns what the dialog says if its text names no customer.
func queryError(why chat.Unclear, emails bool) string {
	switch {
	case why == chat.UnclearSeveral && emails:
		return "This names more than one customer. Type one code, one ID or one e-mail address only."
	case why == chat.UnclearSeveral:
		return "This names more than one customer. Type one code or one ID only."
	case why == chat.UnclearLetters && emails:
		return "E-mail addresses with letters like ö cannot be looked up. Type the four-digit code that the customer sees on your website."
	case emails:
		return "Type one four-digit code, such as 4821, one ID from another system, such as crm:4711, or one e-mail address."
	}
	return "Type one four-digit code, such as 4821, or one ID from another system with the system’s name and a colon in front, such as crm:4711."
}
