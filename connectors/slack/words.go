package slack

// All that this connector says in words of its own; the rest is on the card.
const (
	sayQuery = "Enter the four digits that your customer reads out, an e-mail address, or an id such as crm:4711."

	sayOpen   = "Press the button to look your customer up."
	openLabel = "Look up a customer"

	// titleOutside stands on a card that people of other companies can see.
	titleOutside = "Co-browsing"

	modalTitle   = "Co-browse"
	modalWait    = "One moment…"
	modalRefused = "This cannot be done from your account. A message from this app says why."
	modalSubmit  = "Find"
	modalClose   = "Cancel"
	modalDone    = "Close"
	modalLabel   = "Who is it?"
	modalHint    = "The four-digit code that your customer reads out, an e-mail address, or an id such as crm:4711. The result comes as a direct message."
	modalExample = "4821"
)
