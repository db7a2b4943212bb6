package erasing

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/mention"
	"cobrowse-bridge/bridge/store/seal"
)

// An Index has keyed hashes of the ids in cards and in the details of audit records. A search reads the
// rows that are not in the index yet, and then those that the index names. It checks each row itself, so
// a hash may belong to several ids. Triggers remove the hashes of a row together with the row.
//
// No request writes the index: Update adds rows afterwards. So it also finds rows that a release without
// the index wrote or changed.
type Index struct {
	in     engine.Reader
	write  engine.LoneWriter
	sealer *seal.Sealer
}

// In returns the index in a database. write is how its rows are written.
func In(r engine.Reader, write engine.LoneWriter, sealer *seal.Sealer) Index {
	return Index{r, write, sealer}
}

// Parts of the index, which are keys in erasure_index_state, and the first letters of their refs.
const (
	indexCards, cardRef  = "cards", "c"
	indexAudit, auditRef = "audit", "a"
)

// indexPortion is how many rows one transaction adds to the index.
const indexPortion = 100

// purposeIndex is the purpose of the hashes of words.
const purposeIndex = "erasure index"

// CardHashes returns the version of a card, and the hashes of the ids in it. It returns ok false if there
// is no such card, and seal.ErrOpen if it cannot be opened.
type CardHashes func(ctx context.Context, id string) (version int64, hashes []int64, ok bool, err error)

// Hash returns the first eight bytes of a keyed hash, which are what the index has of it.
func Hash(sum []byte) int64 { return int64(binary.BigEndian.Uint64(sum)) } //nolint:gosec // all 64 bits are used

// Update adds rows to the index, in slices, until it has all. After a change of the secret it also
// replaces the hashes of rows by those with the new secret. Hashes that cards returns are stored as they
// are.
func (x Index) Update(ctx context.Context, cards CardHashes) error {
	if err := errors.Join(x.indexCards(ctx, cards), x.indexRecords(ctx)); err != nil {
		return fmt.Errorf("index for erasures: %w", err)
	}
	return nil
}

// An indexState says how far a part of the index is.
type indexState struct {
	part              string
	secret, rewriting []byte
	after             string
}

func (x Index) indexState(ctx context.Context, part string) (state indexState, err error) {
	state.part = part
	err = x.in.QueryRow(ctx, queryIndexState, part).Scan(&state.secret, &state.rewriting, &state.after)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return state, err
}

// save stores the state.
func (state indexState) save(ctx context.Context, tx engine.Tx) error {
	_, err := tx.Exec(ctx, querySaveIndexState, state.part, state.secret, state.rewriting, state.after)
	return err
}

// indexUsable reports whether the hashes of a part can be computed. Otherwise the whole part must be read.
func (x Index) indexUsable(ctx context.Context, part string) (bool, error) {
	state, err := x.indexState(ctx, part)
	return err == nil && x.sealer.Knows(state.secret), err
}

// rewrite calls index with the ids of all rows of a part if their hashes are not those of the newest
// secret. It goes on where the last call ended. next returns the ids after the given one.
func (x Index) rewrite(ctx context.Context, part string, next func(after string) ([]string, error), index func(ids []string) error) error {
	state, err := x.indexState(ctx, part)
	if err != nil || x.sealer.Newest(state.secret) {
		return err
	}
	newest := x.sealer.ID()
	if state.secret == nil { // no row is in the index yet
		state.secret, state.rewriting = newest, []byte{}
		return x.write(ctx, state.save)
	}
	if !bytes.Equal(state.rewriting, newest) {
		state.rewriting, state.after = newest, ""
	}
	for {
		ids, err := next(state.after)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			state.secret, state.rewriting, state.after = newest, []byte{}, ""
			return x.write(ctx, state.save)
		}
		if err := index(ids); err != nil {
			return err
		}
		state.after = ids[len(ids)-1]
		if err := x.write(ctx, state.save); err != nil {
			return err
		}
	}
}

// indexRow replaces the hashes of a row.
func indexRow(ctx context.Context, tx engine.Tx, ref string, hashes []int64) error {
	if _, err := tx.Exec(ctx, queryRemoveFromIndex, ref); err != nil {
		return err
	}
	slices.Sort(hashes)
	for _, hash := range slices.Compact(hashes) {
		if _, err := tx.Exec(ctx, queryAddToIndex, hash, ref); err != nil {
			return err
		}
	}
	return nil
}

func (x Index) indexCards(ctx context.Context, hashes CardHashes) error {
	next := func(after string) ([]string, error) {
		return engine.Column[string](x.in.Query(ctx, queryCardIDs, after))
	}
	err := x.rewrite(ctx, indexCards, next, func(ids []string) (err error) {
		for len(ids) > 0 && err == nil {
			ids, err = x.addCards(ctx, ids, hashes)
		}
		return err
	})
	if err != nil {
		return err
	}
	for after := ""; ; {
		ids, err := engine.Column[string](x.in.Query(ctx, queryUnindexedIDs, after))
		if err != nil || len(ids) == 0 {
			return err
		}
		if _, err := x.addCards(ctx, ids, hashes); err != nil {
			return err
		}
		after = ids[len(ids)-1]
	}
}

// addCards adds cards to the index. It returns the ids of those that another transaction has or has changed.
// A card that cannot be opened stays out of the index, so that a search reads it, and fails.
func (x Index) addCards(ctx context.Context, ids []string, hashes CardHashes) ([]string, error) {
	type entry struct {
		id      string
		version int64
		hashes  []int64
	}
	var entries []entry
	var closed []string // those that cannot be opened
	for _, id := range ids {
		version, of, ok, err := hashes(ctx, id)
		switch {
		case errors.Is(err, seal.ErrOpen):
			closed = append(closed, id)
		case err != nil:
			return nil, err
		case ok:
			entries = append(entries, entry{id, version, of})
		}
	}
	var busy []string // not a result: if ctx ends, the write may still set it
	err := x.write(ctx, func(ctx context.Context, tx engine.Tx) error {
		busy = nil // a failed shared commit runs this again
		for _, e := range entries {
			var version int64
			err := tx.QueryRow(ctx, queryLockCard, e.id, e.version).Scan(&version)
			if errors.Is(err, sql.ErrNoRows) {
				busy = append(busy, e.id)
				continue
			}
			if err == nil {
				_, err = tx.Exec(ctx, queryCardIndexed, e.id)
			}
			if err == nil {
				err = indexRow(ctx, tx, cardRef+e.id, e.hashes)
			}
			if err != nil {
				return err
			}
		}
		for _, id := range closed {
			if _, err := tx.Exec(ctx, queryCardUnindexed, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return busy, nil
}

// wordHashes returns the hashes of words with the newest secret.
func (x Index) wordHashes(words []string) (hashes []int64) {
	for _, w := range words {
		sum, _ := x.sealer.Sums(purposeIndex, w)
		hashes = append(hashes, Hash(sum))
	}
	return hashes
}

// indexRecords adds the audit records to the index that follow the last one in it. After a change of
// the secret it begins with the first record again.
func (x Index) indexRecords(ctx context.Context) error {
	for {
		state, err := x.indexState(ctx, indexAudit)
		if err != nil {
			return err
		}
		indexed, err := x.indexedThrough(state)
		if err != nil {
			return err
		}
		head, err := audit.In(x.in).Head(ctx)
		if err != nil || head.Seq <= indexed {
			return err
		}
		more := false
		err = x.write(ctx, func(ctx context.Context, tx engine.Tx) error {
			part, err := audit.In(tx).Next(ctx, indexed, indexPortion)
			if more = len(part) > 0; err != nil || !more {
				return err
			}
			for _, r := range part {
				if !hasDetail(r) {
					continue
				}
				if err := indexRow(ctx, tx, auditRef+strconv.FormatInt(r.Seq, 10), x.wordHashes(mention.Words(r.Detail))); err != nil {
					return err
				}
			}
			last := strconv.FormatInt(part[len(part)-1].Seq, 10)
			return indexState{indexAudit, x.sealer.ID(), []byte{}, last}.save(ctx, tx)
		})
		if err != nil || !more {
			return err
		}
	}
}

// indexedThrough returns the Seq of the last record that has hashes with the newest secret.
func (x Index) indexedThrough(state indexState) (int64, error) {
	if !x.sealer.Newest(state.secret) {
		return 0, nil
	}
	return strconv.ParseInt(state.after, 10, 64)
}

// hasDetail reports whether the Detail of a record may be about a person.
func hasDetail(r audit.Record) bool {
	return !r.Erased && r.Detail != "" && r.Action != audit.ActionErased && r.Action != audit.ActionTrimmed
}

// HasCards reports whether the index can be used to find cards. Otherwise all cards must be read.
func (x Index) HasCards(ctx context.Context) (bool, error) { return x.indexUsable(ctx, indexCards) }

// Cards returns the ids of the cards in the index that have one of the hashes. Those with the old secret
// come first, because Update replaces them by the others meanwhile. The caller has read the cards that are
// not in the index before.
func (x Index) Cards(ctx context.Context, hashes []int64) ([]string, error) {
	return x.indexed(ctx, cardRef, hashes)
}

// indexed returns the ids of the rows that have one of the hashes, each once.
func (x Index) indexed(ctx context.Context, ref string, hashes []int64) (ids []string, err error) {
	for _, hash := range hashes {
		for after := ref; ; {
			part, err := engine.Column[string](x.in.Query(ctx, queryIndexed, hash, after, nextLetter(ref)))
			if err != nil {
				return nil, err
			}
			if len(part) == 0 {
				break
			}
			for _, found := range part {
				ids = append(ids, found[len(ref):])
			}
			after = part[len(part)-1]
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func nextLetter(ref string) string { return string(ref[0] + 1) }

// lookUps returns the hashes by which the index finds records with one of the ids, and the last record in
// the index. That is 0 if all records must be read.
func (x Index) lookUps(ctx context.Context, ids mention.IDs) (hashes []int64, indexed int64, err error) {
	keys, ok := ids.Keys()
	if !ok {
		return nil, 0, nil
	}
	state, err := x.indexState(ctx, indexAudit)
	if err != nil {
		return nil, 0, err
	}
	for _, key := range keys {
		sum, _ := x.sealer.Sums(purposeIndex, key)
		hashes = append(hashes, Hash(sum))
	}
	indexed, err = x.indexedThrough(state)
	return hashes, indexed, err
}
