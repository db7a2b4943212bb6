package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"strings"
	"time"

	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/tidwall/gjson"
)

// A Page is one page of a list.
type Page struct {
	Rows []gjson.Result
	// RequestedAt is the time before the request. Rows may have changed since.
	RequestedAt time.Time
}

// fingerprint is equal for pages with equal rows. One row is not enough: a row that is
// added while the list is read moves another row to the next page.
func (p Page) fingerprint() [32]byte {
	var all strings.Builder
	for _, row := range p.Rows {
		fmt.Fprintln(&all, row.Raw)
	}
	return sha256.Sum256([]byte(all.String()))
}

// An IncompleteError says that a list may have more pages than were read, and what the
// operator can do.
type IncompleteError struct{ Why string }

func (e *IncompleteError) Error() string { return e.Why }

// Pages returns the pages of a list, up to the first empty one and at most maxPages. An
// error, which may be an IncompleteError, ends the sequence. maxWait is for each page.
func (a *Client) Pages(ctx context.Context, step string, maxPages int, maxWait time.Duration) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		e, err := a.Step(step)
		if err != nil {
			yield(Page{}, err)
			return
		}
		numbers := map[[32]byte]int{} // page number by fingerprint
		for n := 0; n < maxPages; n++ {
			number := e.FirstPage + n
			p := Page{RequestedAt: time.Now()}
			_, answer, err := a.RunStep(ctx, step, rules.Values{"page": number, "pageSize": a.Rules.Sweep.PageSize}, maxWait)
			if err == nil {
				p.Rows, err = rowsOf(e, answer)
			}
			switch {
			case err != nil:
				yield(Page{}, a.Classify(err))
				return
			case len(p.Rows) == 0 && n == 0 && e.FirstPage == 0 && e.Has("page"):
				maxPages++ // the service may count pages from 1
				continue
			case len(p.Rows) == 0:
				return
			}
			fingerprint := p.fingerprint()
			if earlier, repeats := numbers[fingerprint]; repeats {
				yield(Page{}, &IncompleteError{repeated(e, earlier, number)})
				return
			}
			numbers[fingerprint] = number
			if !yield(p, nil) || !e.Has("page") {
				return
			}
		}
		yield(Page{}, &IncompleteError{fmt.Sprintf("endpoints.%s: no empty page within %d pages", step, maxPages)})
	}
}

// repeated returns the text for a page that equals an earlier one. A service without
// pages always returns the same rows; one that counts from 1 may return page 1 for 0.
func repeated(e *rules.Endpoint, before, number int) string {
	remedy := "the page after the last one must be empty; if the service has no pages, remove {page}"
	if number == 1 {
		remedy = "set first_page: 1, or remove {page} if the service has no pages"
	}
	return fmt.Sprintf("page %d and page %d of endpoints.%s are the same: %s", before, number, e.Name, remedy)
}

// rowsOf returns the rows in the answer of a list.
func rowsOf(e *rules.Endpoint, answer gjson.Result) ([]gjson.Result, error) {
	list := answer
	for _, path := range e.Items.All {
		if list = answer.Get(path); list.Exists() {
			break
		}
	}
	if !list.IsArray() {
		return nil, fmt.Errorf("%s: no list at items; fields of the answer: %s", e.Name, rules.Skeleton(answer))
	}
	return list.Array(), nil
}
