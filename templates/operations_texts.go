package templates

const operationsTitle = "Operations"

var operationsTexts = map[string]wording{
	"operations.failed":        {"Failures"},
	"operations.count-or-more": {"{n}+"},
	"operations.retry-all":     {"Retry all"},
	"operations.retry":         {"Retry"},
	"operations.dismiss":       {"Dismiss"},
	"operations.retry-now":     {"Retry now"},
	"operations.retrying":      {"Retrying"},
	"operations.gave-up":       {"Failed"},
	"operations.about":         {"· {work}"}, // for screen readers, after "Retry" and "Dismiss"
	"operations.last":          {"last attempt {ago}"},
	"operations.more":          {"Not all failures are shown. “Retry all” includes the ones not shown."},
	"operations.more-list":     {"To list all of them, run:"},
	"operations.none-failed":   {"Nothing failed"},
	"operations.none-means":    {"Work that failed appears here with the reason: a message from a chat service (a delivery), a card, a search. Fix the cause, then retry."},

	"operations.connectors":      {"Connectors"},
	"operations.connectors-note": {"“Failing” means that something in the list of failures belongs to the connector."},
	"operations.no-connectors":   {"No connectors. Set BRIDGE_CONNECTORS to add one."},

	"operations.policy":            {"Co-browse rules (policy)"},
	"operations.policy-fault":      {"The rules file has an error."},
	"operations.policy-fault-next": {"The previous rules stay active. Fix the file; it is loaded again automatically."},
	"operations.policy-loaded":     {"loaded {ago}"},
	"operations.no-policy":         {"No rules file. Everyone who is signed in may co-browse, with the defaults of Upscope. Set BRIDGE_POLICY_FILE to use one."},
}

var (
	attempts = plural{"1 attempt", "{n} attempts"}
	nextIn   = wording{"next attempt in {wait}", "next attempt soon"}

	// failedTexts say what failed, by the kind of job or periodic work.
	failedTexts = map[string]wording{
		"answer":    {"Delivery of {about}"},
		"forward":   {"Forwarding of the delivery of {about}"},
		"show":      {"Card for {about}", "Card"},
		"refresh":   {"Online status on the card for {about}", "Online status on a card"},
		"tell":      {"Message to {about}", "Message to an agent"},
		"erase":     {"Erasure {about}"},
		"erasure":   {"Erasure {about} at Upscope"},
		"sweep":     {"Search for chats whose deliveries were lost"},
		"reconcile": {"Search for chats that have ended"},
		"listen":    {"Connection to the chat service"},
		"sessions":  {"Reading of sessions at Upscope"},
		"waits":     {"Search for customers for whom agents wait"},
		"purge":     {"Deletion of expired data"},
		"audit":     {"Entry in the audit log"},
		"queue":     {"Start of work that is due"},
	}

	healthTexts = map[string]wording{HealthIdle: {"No recent deliveries"}, HealthOK: {"Working for {time}", "Working"}, HealthFailing: {"Failing for {time}", "Failing"}}
)
