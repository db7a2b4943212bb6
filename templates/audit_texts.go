package templates

const auditTitle = "Audit log"

var auditTexts = map[string]wording{
	"audit.export":     {"Export results"},
	"audit.export-all": {"Export all"},

	"audit.filter":   {"Filter"},
	"audit.agent":    {"Agent’s ID"},
	"audit.customer": {"Upscope short ID"},
	"audit.card":     {"Message’s ID"},
	"audit.action":   {"Action"},
	"audit.any":      {"Any"},
	"audit.from":     {"From"},
	"audit.to":       {"To"},
	"audit.search":   {"Search"},
	"audit.show-all": {"Show all"},

	"audit.caption":       {"Entries, newest first. Times are in UTC."},
	"audit.when":          {"When"},
	"audit.chat-and-card": {"Chat and message"},
	"audit.detail":        {"Detail"},
	"audit.card-id":       {"message {id}"},
	"audit.erased":        {"deleted"},

	"audit.no-match":      {"No matching entries"},
	"audit.no-match-next": {"Remove a filter."},
	"audit.none-so-far":   {"Nothing found so far"},
	"audit.search-older":  {"Press “Search older”, or remove a filter."},
	"audit.empty":         {"No entries yet"},
	"audit.empty-means":   {"Before an agent opens a customer’s page, an entry is written here. It says which agent, which customer, when, and from which chat."},

	"audit.records": {"Entries"},
	"audit.newest":  {"Show newest"},
	"audit.older":   {"Search older"},
	"audit.help":    {"Times are in UTC. Enter IDs exactly as the table shows them; names are not searched. The export has one JSON record per line."},
}

// actionTexts are the actions of audit entries as the page shows them.
var actionTexts = map[string]string{
	"asked":            "Customer looked up",
	"watching":         "Customer’s page requested",
	"not opened":       "Customer’s page not opened",
	"entering chat":    "Chat requested",
	"chat not entered": "Chat not opened",
	"live":             "Session started",
	"ended":            "Session ended",
	"stopping":         "End of session requested",
	"not stopped":      "Session not ended",
	"moved":            "Chat moved",
	"closed":           "Chat closed",
	"renewed":          "New link sent",
	"refused":          "Agent refused",
	"connected":        "Chat account connected",
	"disconnected":     "Chat account disconnected",
	"signed in":        "Signed in",
	"signed out":       "Signed out",
	"retried":          "Delivery retried",
	"dismissed":        "Failure dismissed",
	"audit exported":   "Audit log exported",
	"delivery shown":   "Delivery shown",
	"exported":         "Person’s data exported",
	"restored":         "Backup restored",
	"erased":           "Person’s data deleted",
	"trimmed":          "Old entries deleted",
}

// detailTexts are the parts of the details of audit entries as the page shows them.
var detailTexts = map[string]string{
	"by short-id":    "found automatically",
	"by integration": "found by the ID that the chat or the agent gave",
	"by code":        "found by the four-digit code",
	"by unique-id":   "found by the customer ID of your website",
	"by email":       "found by the e-mail address",
	"by chosen":      "chosen by an agent from several customers",

	"from our page":                          "opened from the co-browse page",
	"from the chat":                          "opened from the chat",
	"from another site":                      "opened from another website",
	"from the chat or another site":          "opened from the chat or another website",
	"from the address bar or an app":         "opened from the address bar or an app",
	"from unknown: the browser does not say": "the browser does not say from where it was opened",

	"page seen":          "co-browse page shown first",
	"no page seen":       "co-browse page not shown first",
	"chat not confirmed": "the chat service did not confirm the agent",
}
