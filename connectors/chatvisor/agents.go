package chatvisor

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

// name is how people write it.
func (a agent) name() string { return strings.TrimSpace(a.Firstname + " " + a.Lastname) }

const maxAgents = 10_000

// readAgents reads a CSV file with a head, or a JSON list.
func readAgents(data []byte) ([]agent, error) {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("line %d is not UTF-8, so that names would be spoilt: save the file as UTF-8, and try again", notUTF8(data))
	}
	var l agentList
	var err error
	switch trimmed := bytes.TrimSpace(data); {
	case bytes.HasPrefix(trimmed, []byte("{")):
		err = errors.New("it is a JSON object, and a list is wanted: [{\"email\": …, \"firstname\": …, \"lastname\": …}, …]")
	case bytes.HasPrefix(trimmed, []byte("[")):
		err = l.readJSON(trimmed)
	default:
		err = l.readCSV(data)
	}
	switch {
	case err != nil:
		return nil, err
	case len(l.all) == 0 || len(l.all) > maxAgents:
		return nil, fmt.Errorf("there are %d agents in it: an empty list, or one this long, is taken for a mistake", len(l.all))
	}
	return l.all, nil
}

// An agentList is who was read so far.
type agentList struct {
	all  []agent
	seen map[string]bool // addresses
}

// add takes an agent who stands where a file has them.
func (l *agentList) add(a agent, where string) error {
	a.Email, a.Firstname, a.Lastname = strings.TrimSpace(a.Email), strings.TrimSpace(a.Firstname), strings.TrimSpace(a.Lastname)
	isAddress := address(a.Email) // before: lowercase, the Kelvin sign is the letter k
	a.Email = strings.ToLower(a.Email)
	switch {
	case !isAddress:
		return fmt.Errorf("%s has no e-mail address", where)
	case l.seen[a.Email]:
		return fmt.Errorf("%s has an e-mail address that another has", where)
	case !printable(a.Firstname + a.Lastname):
		return fmt.Errorf("%s has a name that cannot be printed", where)
	}
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	l.seen[a.Email] = true
	l.all = append(l.all, a)
	return nil
}

func (l *agentList) readJSON(data []byte) error {
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	var all []agent
	err := in.Decode(&all)
	if _, more := in.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows the list")
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

// readCSV takes columns by the names in the first line, with commas or semicolons
// between them.
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
			return fmt.Errorf("the first line has two columns named %s: remove one, or name it otherwise", name)
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
// what is ours may be deleted. A name that the file does not have stays as it is. A
// change sends it all the same, since a service may take what is left out for empty.
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
		a.Firstname, a.Lastname = cmp.Or(a.Firstname, is.Firstname), cmp.Or(a.Lastname, is.Lastname)
		differs := !stays || is.named && (is.Firstname != a.Firstname || is.Lastname != a.Lastname)
		why := book.stranger(is)
		switch {
		case why == noID && !ids && differs && (stays || deletes):
			p.blind = append(p.blind, is)
		case why != "" && (differs || why.byHand()):
			p.left = append(p.left, left{is, why})
		case why != "" || !differs:
		case stays:
			a.id, a.before = is.id, is.name()
			p.update = append(p.update, a)
		case deletes:
			p.remove = append(p.remove, is)
		default:
			p.keep = append(p.keep, is)
		}
	}
	return p
}
