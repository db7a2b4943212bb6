package templates

var eraseTexts = map[string]wording{
	"erase.lead":          {"This deletes the data of one person: their co-browse messages, the messages from the chat service about their chats, and their name in the audit log. You see a summary before anything is deleted."},
	"erase.kind":          {"Which ID do you have?"},
	"erase.id":            {"ID"},
	"erase.invalid":       {"This ID is not valid."},
	"erase.invalid-means": {"Nothing was deleted. Check the ID for missing or extra characters."},
	"erase.upscope":       {"Delete at Upscope too"},
	"erase.upscope-help":  {"Deletes the person and their recordings at Upscope, as soon as they are offline."},
	"erase.look":          {"Show summary"},

	"erase.nothing":              {"Nothing is stored here for this ID."},
	"erase.nothing-next":         {"Check the ID."},
	"erase.nothing-next-upscope": {"Check the ID. You can still delete this person at Upscope."},
	"erase.final":                {"This cannot be undone."},
	"erase.final-here":           {"The data is deleted here. Upscope keeps its data."},
	"erase.final-upscope":        {"The data is deleted here now, and at Upscope as soon as the person is offline."},
	"erase.final-upscope-only":   {"The person is deleted at Upscope as soon as they are offline."},
	"erase.final-audit":          {"The audit log still shows that sessions took place, without the person’s name."},
	"erase.do":                   {"Delete permanently"},
	"erase.do-upscope":           {"Delete at Upscope"},
	"erase.other-id":             {"Enter another ID"},
	"erase.cancel":               {"Cancel"},

	"erase.deleted":     {"Deleted:"},
	"erase.left":        {"Not deleted yet. Cause: {note}"},
	"erase.receipt":     {"Receipt"},
	"erase.check-again": {"Check again"},
	"erase.another":     {"Delete another person’s data"},
}

const (
	eraseTitle        = "Delete a person’s data"
	eraseConfirmTitle = "Delete this person’s data?"
	eraseNothingTitle = "No data found"

	eraseRetryNext = "Fix the cause, then retry it on the operations page."

	countOfCards      = "Co-browse messages"
	countOfDeliveries = "Messages from the chat service"
	countOfJobs       = "Waiting tasks"
	countOfRecords    = "Audit log entries with their name"
	countOfVisitors   = "Customers at Upscope"
)

// An eraseKindText says which person an id names and which characters it has.
type eraseKindText struct{ label, help, shape string }

var eraseKindTexts = map[EraseKind]eraseKindText{
	EraseVisitor: {
		label: "Upscope short ID",
		help:  "The ID of one browser in Upscope.",
		shape: "An Upscope short ID has letters, digits, _ and -.",
	},
	EraseUnique: {
		label: "Customer ID of your website",
		help:  "The customer ID that your website gives to Upscope. It includes every browser of the person.",
		shape: "A customer ID of your website has letters, digits and _ . @ + -.",
	},
	EraseIntegration: {
		label: "ID from another system, such as crm:4711",
		help:  "The name of the system, a colon and the ID, such as crm:4711 or rocketchat:key. Upscope calls it integration ID.",
		shape: "An ID from another system has the name of the system in lower case, a colon, then letters, digits, _ and -.",
	},
}

type receiptText struct{ icon, tone, what, next string }

var receiptTexts = map[string]receiptText{
	EraseDone: {
		icon: "check", tone: "good",
		what: "Deleted",
		next: "Keep this receipt number; it contains no personal data.",
	},
	ErasePending: {
		icon: "clock", tone: "calm",
		what: "Deleted here, not at Upscope yet",
		next: "The deletion at Upscope is tried again automatically. You can close this page and check again later.",
	},
	EraseFailed: {
		icon: "alert", tone: "warn",
		what: "Not everything was deleted",
		next: "Fix the cause, then delete the person’s data again.",
	},
}
