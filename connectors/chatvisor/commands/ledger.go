package commands

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
)

// ledgerFormat is the version of the file's format. The first format had no version, and
// contained addresses without ids.
const ledgerFormat = 2

// A ledger is the file with the accounts that the bridge created in a tenant. An account
// that is not in it is never changed.
type ledger struct {
	path   string
	Format int       `json:"format"`
	URL    string    `json:"url"`
	Made   []account `json:"made"`
	// Unknown are addresses of accounts whose creation was requested and whose id is not
	// known. An address is added before the request, and moves to Made with the id. Until
	// then an account with the address may not be the bridge's, so it is never changed.
	Unknown []string `json:"made_id_not_known"`
}

// An account is an account that the bridge created, as it was listed after that.
type account struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// lockLedger locks the file until release is called. Of two commands that run at once, one
// would overwrite the entries of the other. The lock is a file with the suffix .lock.
func lockLedger(path string) (release func(), err error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	free, err := lock.TryLock()
	switch {
	case err != nil:
		return nil, err
	case !free:
		return nil, fmt.Errorf("another sync-agents is using %s: wait until it has ended, and try again", path)
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
		return nil, fmt.Errorf("%s is not a ledger of sync-agents: name another file", path)
	}
	if head.Format != ledgerFormat {
		return nil, fmt.Errorf("%s has a format that this version does not read; the first format has no account ids. Name a new file with --ledger. "+
			"The accounts in the old file will not be changed any more: delete those that you do not need in Chatvisor", path)
	}
	l := &ledger{path: path}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%s is not a ledger of sync-agents: name another file", path)
	}
	if l.URL != url {
		return nil, fmt.Errorf("%s is the ledger of another tenant, at %s: name another file", path, l.URL)
	}
	return l, nil
}

// A reason says why a listed account does not count as created by the bridge.
type reason string

const (
	notMade        reason = "not created by the bridge"
	addressChanged reason = "created by the bridge with another e-mail address, which was changed in Chatvisor"
	recreated      reason = "the bridge created an account with this address, but this one has another id: it was deleted and created again in Chatvisor"
	idNotKnown     reason = "the bridge may have created an account with this address but does not know its id: this may be another account"
	noID           reason = "the bridge created an account with this address, but the list has no id: this may be another account"
)

// changedByHand reports whether a person changed an account of the bridge in Chatvisor.
func (r reason) changedByHand() bool { return r == addressChanged || r == recreated }

// whyNotOurs says why a listed account does not count as created by the bridge; empty if
// its id and its address are in the ledger together.
func (l *ledger) whyNotOurs(a agent) reason {
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
		return recreated
	}
	return notMade
}

// hasID reports whether the ledger has an account with this id, with any address.
func (l *ledger) hasID(id string) bool {
	return slices.ContainsFunc(l.Made, func(m account) bool { return m.ID == id })
}

// recordStart writes an address to the file before its account is created.
func (l *ledger) recordStart(email string) error {
	if slices.Contains(l.Unknown, email) {
		return nil
	}
	l.Unknown = append(l.Unknown, email)
	if err := l.write(); err != nil {
		l.removeUnknown(email)
		return err
	}
	return nil
}

// removeUnknown removes an address from Unknown. It does not write the file.
func (l *ledger) removeUnknown(email string) {
	l.Unknown = slices.DeleteFunc(l.Unknown, func(e string) bool { return e == email })
}

// recordID adds an account whose id is known. It does not write the file.
func (l *ledger) recordID(made account) {
	l.removeUnknown(made.Email)
	l.Made = append(l.Made, made)
}

// remove removes a deleted account, and writes the file.
func (l *ledger) remove(gone account) error {
	l.Made = slices.DeleteFunc(l.Made, func(m account) bool { return m == gone })
	return l.write()
}

// write replaces the whole file, so that a crash leaves the old or the new one.
func (l *ledger) write() error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(l.path), ".agents-*") // readable by its owner only
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
