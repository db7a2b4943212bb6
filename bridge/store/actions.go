package store

// Actions are the actions of audit entries, in the order in which filters list them.
var Actions = []string{
	"asked", "renewed", "watching", "not opened", "live", "ended", "stopping", "not stopped", "entering chat", "chat not entered",
	"moved", "closed", "refused", "connected", "disconnected", "signed in", "signed out", "delivery shown", "retried", "dismissed",
	"audit exported", ActionErased, ActionTrimmed,
}
