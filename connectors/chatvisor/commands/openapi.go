package commands

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/alecthomas/kong"
)

type openAPICommand struct {
	File string `arg:"" help:"OpenAPI document from the vendor's reference page, JSON or YAML."`
}

// Run prints a proposal and applies nothing. It needs no settings.
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

// mentions reports whether path, summary, id or tags of the operation contain one of the
// words.
func (o operation) mentions(words ...string) bool {
	text := strings.ToLower(strings.Join(append([]string{o.path, o.Summary, o.OperationID}, o.Tags...), " "))
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// stepMatchers find likely operations for each step, by words in their names. They only
// propose; the operator decides.
var stepMatchers = map[string]func(o operation, variables int) bool{
	rules.GetCustomer: func(o operation, n int) bool {
		return o.method == http.MethodGet && n == 1 && o.mentions("customer") && !o.mentions("url", "query", "token")
	},
	rules.ListConversations: func(o operation, n int) bool {
		return o.method == http.MethodGet && n == 0 && o.mentions("conversation")
	},
	rules.TagCustomer:   func(o operation, _ int) bool { return o.writes() && o.mentions("tagging", "tag a", "/tag") },
	rules.GetVisibility: func(o operation, _ int) bool { return o.method == http.MethodGet && o.mentions("visib") },
	rules.SetVisibility: func(o operation, _ int) bool { return o.writes() && o.mentions("visib") },
	rules.ListAgents:    func(o operation, n int) bool { return o.method == http.MethodGet && n == 0 && o.aboutAgents() },
	rules.CreateAgent:   func(o operation, n int) bool { return o.method == http.MethodPost && n == 0 && o.aboutAgents() },
	rules.UpdateAgent: func(o operation, n int) bool {
		return (o.method == http.MethodPut || o.method == http.MethodPatch) && n == 1 && o.aboutAgents()
	},
	rules.DeleteAgent: func(o operation, n int) bool { return o.method == http.MethodDelete && n == 1 && o.aboutAgents() },
	rules.AgentChatURL: func(o operation, _ int) bool {
		return (o.method == http.MethodGet || o.method == http.MethodPost) && o.mentions("url") && o.mentions("chat", "public")
	},
	rules.MintToken: func(o operation, _ int) bool { return o.method == http.MethodPost && o.mentions("token") },
}

func (o operation) writes() bool { return o.method != http.MethodGet && o.method != http.MethodDelete }

func (o operation) aboutAgents() bool {
	return o.mentions("agent", "user") && !o.mentions("token", "url", "customer")
}

// onlyVariable is the placeholder for the one variable in a step's path.
var onlyVariable = map[string]string{
	rules.GetCustomer: "customerId", rules.TagCustomer: "customerId", rules.AgentChatURL: "customerId", rules.UpdateAgent: "agentId", rules.DeleteAgent: "agentId",
}

// likelyResult is the proposed result of a step.
var likelyResult = map[string]string{rules.GetVisibility: "visible", rules.AgentChatURL: "url", rules.MintToken: "token"}

var variableForm = regexp.MustCompile(`\{[^{}/]*\}`)

// propose returns YAML with all operations as comments, and the likely ones under
// endpoints. None that changes something is enabled. Comments mark what the operator has
// to check.
func propose(data []byte) (string, error) {
	doc, err := readDocument(data)
	if err != nil {
		return "", err
	}
	all := doc.operations()
	var b bytes.Buffer
	b.WriteString("# All operations of the document, by tag:\n")
	tag := ""
	for _, o := range all {
		if o.tag() != tag {
			tag = o.tag()
			fmt.Fprintf(&b, "#\n# %s\n", rules.Short(tag))
		}
		fmt.Fprintf(&b, "#   %-6s %s  %s\n", o.method, rules.Short(o.path), rules.Short(o.Summary))
	}
	b.WriteString("#\n")
	for _, server := range doc.servers() {
		fmt.Fprintf(&b, "# In the document, paths begin below %s\n", rules.Short(server))
	}
	fmt.Fprintf(&b, "# In this file, paths begin below CHATVISOR_URL (default %s).\n", chatvisor.DefaultURL)
	b.WriteString("\n# These endpoints were chosen by words in their names. Check each in the vendor's reference, add\n" +
		"# what is missing, remove wrong ones, and copy the rest into your file. Nothing was applied.\n")
	var endpoints bytes.Buffer
	for _, s := range rules.Steps {
		doc.proposeStep(&endpoints, s, all)
	}
	if endpoints.Len() == 0 {
		b.WriteString("# No operation matches a step of the bridge.\n")
		return b.String(), nil
	}
	b.WriteString("endpoints:\n")
	b.Write(endpoints.Bytes())
	return b.String(), nil
}

func (d *apiDocument) proposeStep(b *bytes.Buffer, s rules.Step, all []operation) {
	proposed := false
	for _, o := range all {
		if !slices.Contains(s.Methods, o.method) || !stepMatchers[s.Name](o, len(variableForm.FindAllString(o.path, -1))) {
			continue
		}
		path, base := d.trimBase(o.path)
		path, fits := proposedPath(s, path)
		if proposed || !fits {
			fmt.Fprintf(b, "  # %s may also be: %s %s\n", s.Name, o.method, rules.Short(o.path))
			continue
		}
		proposed = true
		fmt.Fprintf(b, "  %s: # %s\n    method: %s\n    path: %q", s.Name, rules.Short(o.Summary), o.method, path)
		if base != "" {
			fmt.Fprintf(b, " # %s left out: CHATVISOR_URL must end with it", rules.Short(base))
		}
		b.WriteString("\n")
		if s.List {
			b.WriteString("    items: results # path of the list in the answer; check this\n")
			b.WriteString("    query: {pageNumber: \"{page}\", pageSize: \"{pageSize}\"} # check these\n")
		}
		if s.Name == rules.AgentChatURL && o.method == http.MethodGet && !strings.Contains(path, "{") {
			b.WriteString("    query: {customerId: \"{customerId}\"} # check this\n")
		}
		if s.Answers {
			fmt.Fprintf(b, "    result: %s # path of the value in the answer; check this\n", likelyResult[s.Name])
		}
		if s.Name == rules.ListAgents {
			b.WriteString("    fields: {id: id, email: email, firstname: firstname, lastname: lastname} # check these\n")
		}
		if body := proposedBody(s, path); body != "" && o.method != http.MethodGet {
			fmt.Fprintf(b, "    body: %s # check the names\n", body)
		}
		if s.MustBeEnabled {
			b.WriteString("    enabled: false # set to true after you checked it\n")
		}
	}
}

// proposedPath returns a document's path with the bridge's placeholder for its variable,
// and whether the path is valid for an endpoint.
func proposedPath(s rules.Step, path string) (string, bool) {
	variables := variableForm.FindAllString(path, -1)
	switch name := onlyVariable[s.Name]; {
	case len(variables) > 1 || len(variables) == 1 && name == "":
		return "", false
	case len(variables) == 1:
		path = strings.Replace(path, variables[0], "{"+name+"}", 1)
	}
	return path, rules.ValidPath(path)
}

// proposedBody returns a body with the placeholders that the path does not have.
func proposedBody(s rules.Step, path string) string {
	if !s.MustBeEnabled || s.Name == rules.DeleteAgent || s.Name == rules.AgentChatURL && strings.Contains(path, "{") {
		return ""
	}
	var members []string
	for _, name := range s.Allowed {
		if !strings.Contains(path, "{"+string(name)+"}") && name != "agentId" && name != "agentEmail" {
			members = append(members, fmt.Sprintf("%s: \"{%s}\"", name, name))
		}
	}
	if len(members) == 0 {
		return ""
	}
	return "{" + strings.Join(members, ", ") + "}"
}
