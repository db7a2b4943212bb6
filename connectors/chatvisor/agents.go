package chatvisor

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An agent is who works in Chatvisor. Chatvisor names agents by their e-mail
// address (docs.chatvisor.com, "JavaScript API", user.tag: assignedUser).
type agent struct {
	Email     string `json:"email"`
	Firstname string `json:"firstname"`
	Lastname  string `json:"lastname"`
	id        string // the service's; only of those that were listed
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

// A plan is what would make the agents of the service those of the file.
type plan struct {
	create, update, remove []agent
	foreign                []agent // differ or are not wanted, and are not ours
}

// plans compares by e-mail address. Whoever is not in ours was made by somebody
// else, and is left alone.
func plans(want, have []agent, ours map[string]bool) plan {
	var p plan
	there := map[string]agent{}
	for _, a := range have {
		there[a.Email] = a
	}
	for _, a := range want {
		is, exists := there[a.Email]
		switch same := is.Firstname == a.Firstname && is.Lastname == a.Lastname; {
		case !exists:
			p.create = append(p.create, a)
		case !is.named || same:
		case ours[a.Email]:
			a.id, a.before = is.id, strings.TrimSpace(is.Firstname+" "+is.Lastname)
			p.update = append(p.update, a)
		default:
			p.foreign = append(p.foreign, is)
		}
	}
	for _, a := range have {
		switch wanted := slices.ContainsFunc(want, func(w agent) bool { return w.Email == a.Email }); {
		case wanted:
		case ours[a.Email]:
			p.remove = append(p.remove, a)
		default:
			p.foreign = append(p.foreign, a)
		}
	}
	return p
}

// A ledger is the file that says which agents the bridge made, and where. What is
// not in it is not touched.
type ledger struct {
	path string
	URL  string   `json:"url"`
	Made []string `json:"made"`
}

func readLedger(path, url string) (*ledger, error) {
	l := &ledger{path: path}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		l.URL = url
		return l, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%s is no ledger of agents", path)
	}
	if l.URL != url {
		return nil, fmt.Errorf("%s is the ledger of another tenant, at %s: name another file", path, l.URL)
	}
	return l, nil
}

func (l *ledger) ours() map[string]bool {
	ours := map[string]bool{}
	for _, email := range l.Made {
		ours[email] = true
	}
	return ours
}

func (l *ledger) add(email string) error {
	l.Made = append(l.Made, email)
	return l.write()
}

func (l *ledger) drop(email string) error {
	l.Made = slices.DeleteFunc(l.Made, func(e string) bool { return e == email })
	return l.write()
}

// write replaces the file as a whole, so that a crash leaves one or the other.
func (l *ledger) write() error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(l.path), ".agents-*") // for its owner alone
	if err != nil {
		return err
	}
	_, err = file.Write(append(data, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), l.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
