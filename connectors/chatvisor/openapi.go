package chatvisor

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type openAPICommand struct {
	File string `arg:"" help:"The document that the vendor's reference page offers for download, JSON or YAML."`
}

// Run prints and applies nothing. It needs no settings.
func (o openAPICommand) Run(k *kong.Context) error {
	data, err := os.ReadFile(o.File)
	if err != nil {
		return err
	}
	text, err := propose(data)
	if err != nil {
		return fmt.Errorf("%s: %w", o.File, err)
	}
	_, err = io.WriteString(k.Stdout, text)
	return err
}

func (o operation) tag() string {
	if len(o.Tags) == 0 {
		return "without a tag"
	}
	return o.Tags[0]
}

// says reports whether one of the words is in what the document says of it.
func (o operation) says(words ...string) bool {
	text := strings.ToLower(strings.Join(append([]string{o.path, o.Summary, o.OperationID}, o.Tags...), " "))
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// looksLike are how operations are told, by words that their names are likely to
// have. It only has to find candidates: an operator decides.
var looksLike = map[string]func(o operation, variables int) bool{
	getCustomer: func(o operation, n int) bool {
		return o.method == http.MethodGet && n == 1 && o.says("customer") && !o.says("url", "query", "token")
	},
	listConversations: func(o operation, n int) bool { return o.method == http.MethodGet && n == 0 && o.says("conversation") },
	tagCustomer:       func(o operation, _ int) bool { return o.writes() && o.says("tagging", "tag a", "/tag") },
	getVisibility:     func(o operation, _ int) bool { return o.method == http.MethodGet && o.says("visib") },
	setVisibility:     func(o operation, _ int) bool { return o.writes() && o.says("visib") },
	listAgents:        func(o operation, n int) bool { return o.method == http.MethodGet && n == 0 && o.aboutAgents() },
	createAgent:       func(o operation, n int) bool { return o.method == http.MethodPost && n == 0 && o.aboutAgents() },
	updateAgent: func(o operation, n int) bool {
		return (o.method == http.MethodPut || o.method == http.MethodPatch) && n == 1 && o.aboutAgents()
	},
	deleteAgent: func(o operation, n int) bool { return o.method == http.MethodDelete && n == 1 && o.aboutAgents() },
	agentChatURL: func(o operation, _ int) bool {
		return (o.method == http.MethodGet || o.method == http.MethodPost) && o.says("url") && o.says("chat", "public")
	},
	mintToken: func(o operation, _ int) bool { return o.method == http.MethodPost && o.says("token") },
}

func (o operation) writes() bool { return o.method != http.MethodGet && o.method != http.MethodDelete }

func (o operation) aboutAgents() bool {
	return o.says("agent", "user") && !o.says("token", "url", "customer")
}

// onlyVariable is what the one variable in a step's path has to be.
var onlyVariable = map[string]string{
	getCustomer: "customerId", tagCustomer: "customerId", agentChatURL: "customerId", updateAgent: "agentId", deleteAgent: "agentId",
}

// likelyResult is where the value of an answer is proposed to be.
var likelyResult = map[string]string{getVisibility: "visible", agentChatURL: "url", mintToken: "token"}

var variableForm = regexp.MustCompile(`\{[^{}/]*\}`)

// propose writes a piece of YAML that lists all operations as comments, and below
// endpoints the likely ones. None that changes something is enabled, and where a
// document does not tell what is needed, it says so.
func propose(data []byte) (string, error) {
	doc, err := readDocument(data)
	if err != nil {
		return "", err
	}
	all := doc.operations()
	var b bytes.Buffer
	b.WriteString("# Every operation of the document, by its tag:\n")
	tag := ""
	for _, o := range all {
		if o.tag() != tag {
			tag = o.tag()
			fmt.Fprintf(&b, "#\n# %s\n", short(tag))
		}
		fmt.Fprintf(&b, "#   %-6s %s  %s\n", o.method, short(o.path), short(o.Summary))
	}
	b.WriteString("#\n")
	for _, server := range doc.servers() {
		fmt.Fprintf(&b, "# The document has its paths below %s\n", short(server))
	}
	fmt.Fprintf(&b, "# The bridge has those under endpoints below CHATVISOR_URL, which is %s by default.\n", defaultURL)
	b.WriteString("\n# Proposed by the words in their names. Read the vendor's reference on each, fill in what is\n" +
		"# missing, remove the rest, and put what is left into your file. Nothing was applied.\n")
	var endpoints bytes.Buffer
	for _, s := range steps {
		doc.proposeStep(&endpoints, s, all)
	}
	if endpoints.Len() == 0 {
		b.WriteString("# No operation looks like a step that the bridge knows.\n")
		return b.String(), nil
	}
	b.WriteString("endpoints:\n")
	b.Write(endpoints.Bytes())
	return b.String(), nil
}

func (d *apiDocument) proposeStep(b *bytes.Buffer, s step, all []operation) {
	proposed := false
	for _, o := range all {
		if !slices.Contains(s.methods, o.method) || !looksLike[s.name](o, len(variableForm.FindAllString(o.path, -1))) {
			continue
		}
		path, base := d.below(o.path)
		path, fits := s.pathOf(path)
		if proposed || !fits {
			fmt.Fprintf(b, "  # %s may also be: %s %s\n", s.name, o.method, short(o.path))
			continue
		}
		proposed = true
		fmt.Fprintf(b, "  %s: # %s\n    method: %s\n    path: %q", s.name, short(o.Summary), o.method, path)
		if base != "" {
			fmt.Fprintf(b, " # without %s, which CHATVISOR_URL has to end in", short(base))
		}
		b.WriteString("\n")
		if s.list {
			b.WriteString("    items: results # where the list is in the answer; check this\n")
			b.WriteString("    query: {pageNumber: \"{page}\", pageSize: \"{pageSize}\"} # check these\n")
		}
		if s.name == agentChatURL && o.method == http.MethodGet && !strings.Contains(path, "{") {
			b.WriteString("    query: {customerId: \"{customerId}\"} # check this\n")
		}
		if s.answers {
			fmt.Fprintf(b, "    result: %s # where the value is in the answer; check this\n", likelyResult[s.name])
		}
		if s.name == listAgents {
			b.WriteString("    fields: {id: id, email: email, firstname: firstname, lastname: lastname} # check these\n")
		}
		if body := s.bodyFor(path); body != "" && o.method != http.MethodGet {
			fmt.Fprintf(b, "    body: %s # check the names\n", body)
		}
		if s.acts {
			b.WriteString("    enabled: false # true once you are sure\n")
		}
	}
}

// pathOf is a document's path with our placeholder in place of its variable. It
// reports whether our own rules take it.
func (s step) pathOf(path string) (string, bool) {
	variables := variableForm.FindAllString(path, -1)
	switch name := onlyVariable[s.name]; {
	case len(variables) > 1 || len(variables) == 1 && name == "":
		return "", false
	case len(variables) == 1:
		path = strings.Replace(path, variables[0], "{"+name+"}", 1)
	}
	_, err := parsePath(path)
	return path, err == nil
}

// bodyFor is a body with what the path has not.
func (s step) bodyFor(path string) string {
	if !s.acts || s.name == deleteAgent || s.name == agentChatURL && strings.Contains(path, "{") {
		return ""
	}
	var members []string
	for _, name := range s.takes {
		if !strings.Contains(path, "{"+string(name)+"}") && name != "agentId" && name != "agentEmail" {
			members = append(members, fmt.Sprintf("%s: \"{%s}\"", name, name))
		}
	}
	if len(members) == 0 {
		return ""
	}
	return "{" + strings.Join(members, ", ") + "}"
}
