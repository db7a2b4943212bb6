package commands

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"cobrowse-bridge/connectors/chatvisor/rules"
)

// byteOrderMark is at the start of files from some editors and spreadsheets.
const byteOrderMark = "\ufeff"

// An agent is an agent's account. Chatvisor identifies agents by their e-mail address
// (docs.chatvisor.com, "JavaScript API", user.tag: assignedUser).
type agent struct {
	Email     string `json:"email"`
	Firstname string `json:"firstname"`
	Lastname  string `json:"lastname"`
	id        string // Chatvisor's id; empty for an agent of the file, or if the list has no ids
	hasNames  bool   // the list contains names
	oldName   string // the name before a rename
}

// name returns first and last name.
func (a agent) name() string { return strings.TrimSpace(a.Firstname + " " + a.Lastname) }

const maxAgents = 10_000

// readAgents reads a CSV file with column names in its first line, or a JSON list.
func readAgents(data []byte) ([]agent, error) {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	for i, line := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("line %d is not UTF-8, and names would be damaged: save the file as UTF-8, and try again", i+1)
		}
	}
	var l agentList
	var err error
	switch trimmed := bytes.TrimSpace(data); {
	case bytes.HasPrefix(trimmed, []byte("{")):
		err = errors.New("the file is a JSON object, not a list: write [{\"email\": …, \"firstname\": …, \"lastname\": …}, …]")
	case bytes.HasPrefix(trimmed, []byte("[")):
		err = l.readJSON(trimmed)
	default:
		err = l.readCSV(data)
	}
	switch {
	case err != nil:
		return nil, err
	case len(l.all) == 0 || len(l.all) > maxAgents:
		return nil, fmt.Errorf("the file has %d agents: from 1 to %d are allowed", len(l.all), maxAgents)
	}
	return l.all, nil
}

// An agentList has the agents that were read so far.
type agentList struct {
	all       []agent
	addresses map[string]bool // in all
}

// add checks and adds an agent. where names the place in the file, for errors.
func (l *agentList) add(a agent, where string) error {
	a.Email, a.Firstname, a.Lastname = strings.TrimSpace(a.Email), strings.TrimSpace(a.Firstname), strings.TrimSpace(a.Lastname)
	isAddress := validAddress(a.Email) // before ToLower, which makes the Kelvin sign the letter k
	a.Email = strings.ToLower(a.Email)
	switch {
	case !isAddress:
		return fmt.Errorf("%s has no e-mail address", where)
	case l.addresses[a.Email]:
		return fmt.Errorf("%s has the same e-mail address as an agent before", where)
	case !rules.Printable(a.Firstname + a.Lastname):
		return fmt.Errorf("%s has a name with characters that cannot be printed", where)
	}
	if l.addresses == nil {
		l.addresses = map[string]bool{}
	}
	l.addresses[a.Email] = true
	l.all = append(l.all, a)
	return nil
}

func (l *agentList) readJSON(data []byte) error {
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	var all []agent
	err := in.Decode(&all)
	if _, more := in.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("there is more text after the list")
	}
	if err != nil {
		return fmt.Errorf("not a list of objects with email, firstname and lastname: %w", err)
	}
	for i, a := range all {
		if err := l.add(a, fmt.Sprintf("agent %d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

// readCSV reads columns by the names in the first line, separated by commas or
// semicolons.
func (l *agentList) readCSV(data []byte) error {
	in := csv.NewReader(bytes.NewReader(data))
	head, _, _ := bytes.Cut(data, []byte("\n"))
	if bytes.Count(head, []byte(";")) > bytes.Count(head, []byte(",")) {
		in.Comma = ';'
	}
	names, err := in.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	if err != nil {
		return err
	}
	column := map[string]int{"email": -1, "firstname": -1, "lastname": -1}
	for i, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		before, read := column[name]
		switch {
		case !read:
		case before >= 0:
			return fmt.Errorf("the first line has two columns named %s: remove or rename one", name)
		default:
			column[name] = i
		}
	}
	if column["email"] < 0 {
		return errors.New("the first line has no column named email")
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		cell := func(name string) string {
			if column[name] < 0 {
				return ""
			}
			return row[column[name]]
		}
		line, _ := in.FieldPos(0)
		err = l.add(agent{Email: cell("email"), Firstname: cell("firstname"), Lastname: cell("lastname")}, fmt.Sprintf("line %d", line))
		if err != nil {
			return err
		}
	}
}

// validAddress reports whether s looks like an e-mail address: text, one @, a domain with
// a dot, and only visible ASCII characters, at most 254.
func validAddress(s string) bool {
	user, domain, _ := strings.Cut(s, "@")
	return user != "" && strings.Contains(domain, ".") && !strings.Contains(domain, "@") && rules.Visible(s) && len(s) <= 254
}

// byEmail returns agents by their address.
func byEmail(all []agent) map[string]agent {
	found := map[string]agent{}
	for _, a := range all {
		found[a.Email] = a
	}
	return found
}

// A plan has the changes that make the agents of the service match the file.
type plan struct {
	create, update, remove []agent
	keep                   []agent // created by the bridge, not in the file any more
	needIDs                []agent // to be renamed or deleted, but the list has no ids
	skipped                []skippedAgent
}

// A skippedAgent is an account that is not changed.
type skippedAgent struct {
	agent
	why reason
}

// planSync compares the file with the list by e-mail address. ids says that the list has
// ids, deletes that accounts of the bridge may be deleted. A name that is missing from the
// file stays; a rename sends it too, since an API may treat a missing name as empty.
func planSync(want, have []agent, record *ledger, ids, deletes bool) plan {
	var p plan
	existing, wanted := byEmail(have), byEmail(want)
	for _, a := range want {
		if _, exists := existing[a.Email]; !exists {
			p.create = append(p.create, a)
		}
	}
	for _, account := range have {
		a, wantedNow := wanted[account.Email]
		a.Firstname, a.Lastname = cmp.Or(a.Firstname, account.Firstname), cmp.Or(a.Lastname, account.Lastname)
		differs := !wantedNow || account.hasNames && (account.Firstname != a.Firstname || account.Lastname != a.Lastname)
		why := record.whyNotOurs(account)
		switch {
		case why == noID && !ids && differs && (wantedNow || deletes):
			p.needIDs = append(p.needIDs, account)
		case why != "" && (differs || why.changedByHand()):
			p.skipped = append(p.skipped, skippedAgent{account, why})
		case why != "" || !differs:
		case wantedNow:
			a.id, a.oldName = account.id, account.name()
			p.update = append(p.update, a)
		case deletes:
			p.remove = append(p.remove, account)
		default:
			p.keep = append(p.keep, account)
		}
	}
	return p
}
