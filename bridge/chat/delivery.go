package chat

import "time"

// A Receipt is what Accept returns for a genuine delivery.
type Receipt struct {
	// Key is equal for repeats of one event: the service's delivery id or, where there is
	// none, a text made of what the event says. The bridge handles one delivery of each Key
	// within 72 hours. A Key of more than 512 bytes, or with control characters, reaches Read
	// as a hash. Empty means that there is nothing to do: the bridge answers 200 and stores no
	// delivery.
	Key string

	// Body is what the bridge stores and passes to Read. Leave out of it what must not be
	// stored. Nil means the whole body of the request.
	Body []byte

	// SweepKey is the Key that Sweep would give the chat after this delivery, so that the next
	// sweep does not handle the chat as new. Empty means that there is none.
	SweepKey string

	// Changes are the chats that the delivery takes from their agents, as far as its body says
	// so. Until Read has handled the delivery, the card of such a chat may be out of date: the
	// bridge then refuses a press on it, unless Serving confirms the agent.
	Changes []ChatChange

	// Forward is the body for the connector's Forward. It is forwarded also if the delivery
	// itself fails, and stored encrypted until Forward returned nil. Nil means that there is
	// nothing to forward.
	Forward []byte

	// Answer is the body of the 200 answer, for services that store or post it. Nil means an
	// empty body.
	Answer []byte
	// AnswerType is the Content-Type of Answer.
	AnswerType string

	// Note is a sentence for the operator's log, such as that a test delivery arrived. Empty
	// writes nothing.
	Note string
}

// A ChatChange says that a delivery takes a chat from its agent.
type ChatChange struct {
	// Chat is the id that Read returns as Ask.Chat.
	Chat string
	// Closed says that the chat is over. False means that it was handed over.
	Closed bool
	// Agent is the Agent.ID of the agent who serves the chat now. Empty means that no agent
	// serves it, or that the delivery does not say who does.
	Agent string
}

// A Delivery is one genuine event of a chat service. The bridge stores it until it is handled.
type Delivery struct {
	Key  string // see Receipt.Key, and Sweep
	Body []byte
	// Chat is the id that Read returns as Ask.Chat, for deliveries from Sweep. The bridge
	// compares the ids with its open cards, and ignores Chat in other deliveries.
	Chat string
	// Received is when the delivery arrived. From Listen or Sweep, the zero time means now.
	Received time.Time
	// Changes are like Receipt.Changes, for a delivery from Listen. The bridge does not pass
	// them to Read, and ignores them in deliveries from Sweep, which lists open chats.
	Changes []ChatChange
}
