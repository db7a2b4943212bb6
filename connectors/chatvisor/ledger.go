package chatvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
)

// ledgerFormat is that of the file. An earlier one, without a number, knew accounts
// by their address alone.
const ledgerFormat = 2

// A ledger is the file that says which accounts the bridge made, and where. What is
// not in it is not touched.
type ledger struct {
	path   string
	Format int       `json:"format"`
	URL    string    `json:"url"`
	Made   []account `json:"made"`
	// Unknown are the addresses with which an account was made, or was about to be:
	// one is written down before the service is asked, and is in Made instead once
	// the account's id is known. Until then whatever has the address may be somebody
	// else's, so that it is never touched.
	Unknown []string `json:"made_id_not_known"`
}

// An account is one that the bridge made, as it was listed after that.
type account struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// lockLedger keeps others from the file until it is let go: of two that change
// accounts at once, one would forget what the other made. The lock is a file beside it.
func lockLedger(path string) (release func(), err error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	free, err := lock.TryLock()
	switch {
	case err != nil:
		return nil, err
	case !free:
		return nil, fmt.Errorf("another sync-agents is at work with %s: wait until it has ended, and try again", path)
	}
	return func() { _ = lock.Unlock() }, nil
}

func readLedger(path, url string) (*ledger, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &ledger{path: path, Format: ledgerFormat, URL: url}, nil
	case err != nil:
		return nil, err
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%s is no ledger of agents: name another file", path)
	}
	if head.Format != ledgerFormat {
		return nil, fmt.Errorf("%s is a ledger in another format, which is not read: an earlier one has addresses alone, and they do not tell whether "+
			"somebody made an account anew. Name a new file with --ledger; the accounts of this one are left alone then, so delete in Chatvisor "+
			"those that are not wanted any more", path)
	}
	l := &ledger{path: path}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%s is no ledger of agents: name another file", path)
	}
	if l.URL != url {
		return nil, fmt.Errorf("%s is the ledger of another tenant, at %s: name another file", path, l.URL)
	}
	return l, nil
}

// A reason says why a listed account is not taken for ours.
type reason string

const (
	notMade        reason = "not made by the bridge"
	addressChanged reason = "the bridge made this account with another address, which somebody changed"
	madeAnew       reason = "the bridge made an account with this address, and this one has another id: somebody made it anew"
	idNotKnown     reason = "the bridge made an account with this address, or was about to, and does not know its id: this may be another"
	noID           reason = "the bridge made an account with this address, and the list shows no id: this may be another"
)

// byHand reports whether somebody changed what the bridge made.
func (r reason) byHand() bool { return r == addressChanged || r == madeAnew }

// stranger says why a listed account is not one that the bridge made. There is no
// reason if its id and its address are those written down together.
func (l *ledger) stranger(a agent) reason {
	var sameID, sameEmail bool
	for _, m := range l.Made {
		if a.id != "" && m == (account{a.id, a.Email}) {
			return ""
		}
		sameID = sameID || a.id != "" && m.ID == a.id
		sameEmail = sameEmail || m.Email == a.Email
	}
	switch {
	case sameID:
		return addressChanged
	case slices.Contains(l.Unknown, a.Email):
		return idNotKnown
	case sameEmail && a.id == "":
		return noID
	case sameEmail:
		return madeAnew
	}
	return notMade
}

// has reports whether an id is that of an account that the bridge made, under
// whatever address.
func (l *ledger) has(id string) bool {
	return slices.ContainsFunc(l.Made, func(m account) bool { return m.ID == id })
}

// begin writes an address down before an account is made with it.
func (l *ledger) begin(email string) error {
	if slices.Contains(l.Unknown, email) {
		return nil
	}
	l.Unknown = append(l.Unknown, email)
	if err := l.write(); err != nil {
		l.forget(email)
		return err
	}
	return nil
}

// forget takes back that an account was begun. It does not write.
func (l *ledger) forget(email string) {
	l.Unknown = slices.DeleteFunc(l.Unknown, func(e string) bool { return e == email })
}

// learn takes an account for ours. It does not write.
func (l *ledger) learn(made account) {
	l.forget(made.Email)
	l.Made = append(l.Made, made)
}

// drop removes an account that was deleted.
func (l *ledger) drop(gone account) error {
	l.Made = slices.DeleteFunc(l.Made, func(m account) bool { return m == gone })
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
