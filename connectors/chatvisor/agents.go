package chatvisor

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An agent is who works in Chatvisor. Chatvisor names agents by their e-mail
// address (docs.chatvisor.com, "JavaScript API", user.tag: assignedUser).
type agent struct {
	Email     string `json:"email"`
	Firstname string `json:"firstname"`
	Lastname  string `json:"lastname"`
	id        string // the service's; only of those that were listed, if the list tells it
	named     bool   // the list tells names
	before    string // the name that is changed
}

const maxAgents = 10_000

// readAgents reads a CSV file with a head, or a JSON list.
func readAgents(data []byte) ([]agent, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // which spreadsheets write
	var all []agent
	var err error
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '[' {
		in := json.NewDecoder(bytes.NewReader(trimmed))
		in.DisallowUnknownFields()
		if err = in.Decode(&all); err == nil && in.More() {
			err = errors.New("something follows the list")
		}
		if err != nil {
			err = fmt.Errorf("not a list of objects with email, firstname and lastname: %w", err)
		}
	} else {
		all, err = readCSV(data)
	}
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range all {
		a := &all[i]
		a.Email, a.Firstname, a.Lastname = strings.ToLower(strings.TrimSpace(a.Email)), strings.TrimSpace(a.Firstname), strings.TrimSpace(a.Lastname)
		switch {
		case !address(a.Email):
			return nil, fmt.Errorf("agent %d has no e-mail address", i+1)
		case seen[a.Email]:
			return nil, fmt.Errorf("agent %d has an e-mail address that another has", i+1)
		case !printable(a.Firstname + a.Lastname):
			return nil, fmt.Errorf("agent %d has a name that cannot be printed", i+1)
		}
		seen[a.Email] = true
	}
	if len(all) == 0 || len(all) > maxAgents {
		return nil, fmt.Errorf("there are %d agents in it: an empty list, or one this long, is taken for a mistake", len(all))
	}
	return all, nil
}

// readCSV takes columns by the names in the first line, with commas or semicolons
// between them.
func readCSV(data []byte) ([]agent, error) {
	in := csv.NewReader(bytes.NewReader(data))
	head, _, _ := bytes.Cut(data, []byte("\n"))
	if bytes.Count(head, []byte(";")) > bytes.Count(head, []byte(",")) {
		in.Comma = ';'
	}
	names, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, name := range names {
		column[strings.ToLower(strings.TrimSpace(name))] = i + 1
	}
	if column["email"] == 0 {
		return nil, errors.New("the first line has no column named email")
	}
	var all []agent
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		cell := func(name string) string {
			if column[name] == 0 {
				return ""
			}
			return row[column[name]-1]
		}
		all = append(all, agent{Email: cell("email"), Firstname: cell("firstname"), Lastname: cell("lastname")})
	}
}

// address reports whether s looks like an e-mail address: one @, something on both
// sides, nothing that is not printed.
func address(s string) bool {
	user, domain, _ := strings.Cut(s, "@")
	return user != "" && strings.Contains(domain, ".") && !strings.Contains(domain, "@") && visible(s) && len(s) <= 254
}

// byEmail finds agents by their address, of which there is one each.
func byEmail(all []agent) map[string]agent {
	found := map[string]agent{}
	for _, a := range all {
		found[a.Email] = a
	}
	return found
}

// A plan is what would make the agents of the service those of the file.
type plan struct {
	create, update, remove []agent
	keep                   []agent // ours, and not in the file any more
	blind                  []agent // would be renamed or deleted, if the list told whether they are ours
	left                   []left
}

// left is an account that is not touched.
type left struct {
	agent
	why reason
}

// plans compares by e-mail address. ids says that the list tells them, deletes that
// what is ours may be deleted.
func plans(want, have []agent, book *ledger, ids, deletes bool) plan {
	var p plan
	there, wanted := byEmail(have), byEmail(want)
	for _, a := range want {
		if _, exists := there[a.Email]; !exists {
			p.create = append(p.create, a)
		}
	}
	for _, is := range have {
		a, stays := wanted[is.Email]
		differs := !stays || is.named && (is.Firstname != a.Firstname || is.Lastname != a.Lastname)
		why := book.stranger(is)
		switch {
		case why == noID && !ids && differs && (stays || deletes):
			p.blind = append(p.blind, is)
		case why != "" && (differs || why.byHand()):
			p.left = append(p.left, left{is, why})
		case why != "" || !differs:
		case stays:
			a.id, a.before = is.id, strings.TrimSpace(is.Firstname+" "+is.Lastname)
			p.update = append(p.update, a)
		case deletes:
			p.remove = append(p.remove, is)
		default:
			p.keep = append(p.keep, is)
		}
	}
	return p
}
