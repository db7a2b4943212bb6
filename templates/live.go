package templates

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"html/template"
	"time"
)

// A LiveDesk is what an open desk page shows of the part that static/desk.js keeps up to date, the cards
// and sessions. It keeps a hash of each row and no HTML. The zero LiveDesk is a page that shows nothing
// yet.
type LiveDesk struct {
	rows  map[uint64]uint64 // the hash of each row, by the hash of its key
	frame uint64            // the hash of the rest: the order of the rows, headings and counts
	data  uint64            // the hash of the Desk, so that one that did not change is not rendered; 0 for none
}

var hashSeed = maphash.MakeSeed()

// A liveRow is a card or a session of a view.
type liveRow struct {
	key  string
	html *template.HTML
}

// Update makes the page show d, and returns the HTML for the script, or nil if nothing changes. In it
// the rows that the page has already are only named: <li data-key="card-1" data-same></li>. Times are
// absolute, because the script shows how long ago they were. The HTML has no carriage returns. If Update
// fails, the LiveDesk is not changed.
func (l *LiveDesk) Update(d Desk) ([]byte, error) {
	d.Now = time.Time{}
	var sum uint64
	if data, err := json.Marshal(d); err == nil { // fails only for a rating that is not a number
		if sum = maphash.Bytes(hashSeed, data); sum == l.data {
			return nil, nil
		}
	}
	v, err := d.viewAt(time.Time{})
	if err != nil {
		return nil, err
	}
	all := v.liveRows()
	rows := make(map[uint64]uint64, len(all))
	fresh := make([]template.HTML, len(all)) // empty for a row that the page has
	changed := false
	for i, row := range all {
		key, hash := maphash.String(hashSeed, row.key), maphash.String(hashSeed, string(*row.html))
		if before, ok := l.rows[key]; !ok || before != hash {
			fresh[i], changed = *row.html, true
		}
		rows[key] = hash
		*row.html = template.HTML("\n<li data-key=\"" + template.HTMLEscapeString(row.key) + "\" data-same></li>")
	}
	var frame template.HTML
	if err := renderPart("live", v, &frame); err != nil {
		return nil, err
	}
	hash := maphash.String(hashSeed, string(frame))
	l.data = sum
	if !changed && hash == l.frame {
		return nil, nil
	}
	l.rows, l.frame = rows, hash
	out := bytes.NewBuffer(make([]byte, 0, 2*len(frame)))
	rest := []byte(frame)
	for i, row := range all {
		before, after, _ := bytes.Cut(rest, []byte(*row.html))
		out.Write(before)
		if fresh[i] == "" {
			fresh[i] = *row.html
		}
		out.WriteString(string(fresh[i]))
		rest = after
	}
	out.Write(rest)
	return out.Bytes(), nil
}

// liveRows returns the rows in the order of the page.
func (v *deskView) liveRows() (rows []liveRow) {
	for _, g := range v.Groups {
		for i := range g.Cards {
			rows = append(rows, liveRow{"card-" + g.Cards[i].ID, &g.Cards[i].Row})
		}
	}
	for i := range v.Sessions {
		rows = append(rows, liveRow{"session-" + v.Sessions[i].Key, &v.Sessions[i].Row})
	}
	return rows
}
