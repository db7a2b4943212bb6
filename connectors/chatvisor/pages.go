package chatvisor

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// A page is a part of a list.
type page struct {
	rows []gjson.Result
	// asked is when it was asked for: what it says was true no earlier.
	asked time.Time
}

// print is the same for pages with the same rows. To look at one row is not enough:
// those that come while a list is read move the others on to the next page.
func (p page) print() [32]byte {
	var all strings.Builder
	for _, row := range p.rows {
		fmt.Fprintln(&all, row.Raw)
	}
	return digest(all.String())
}

// A partError says that a list may go on behind the pages that were read, and what an
// operator can do.
type partError struct{ why string }

func (e *partError) Error() string { return e.why }

// pages gives the pages of a list, up to the first that is empty, and at most so many.
// After an error, which may be a partError, there is none.
func (c *connector) pages(ctx context.Context, step string, most int, patience time.Duration) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		e, err := c.step(step)
		if err != nil {
			yield(page{}, err)
			return
		}
		seen := map[[32]byte]int{} // the number of each page
		for n := 0; n < most; n++ {
			number := e.firstPage + n
			p := page{asked: c.now()}
			_, answer, err := c.take(ctx, step, map[placeholder]any{"page": number, "pageSize": c.rules.sweep.pageSize}, patience)
			if err == nil {
				p.rows, err = e.rows(answer)
			}
			switch {
			case err != nil:
				yield(page{}, c.classify(err))
				return
			case len(p.rows) == 0 && n == 0 && e.firstPage == 0 && e.has("page"):
				most++ // it may be the one before the first, if they are counted from 1
				continue
			case len(p.rows) == 0:
				return
			}
			print := p.print()
			if before, repeats := seen[print]; repeats {
				yield(page{}, &partError{e.repeated(before, number)})
				return
			}
			seen[print] = number
			if !yield(p, nil) || !e.has("page") {
				return
			}
		}
		yield(page{}, &partError{fmt.Sprintf("endpoints.%s has no end after %d pages", step, most)})
	}
}

// repeated says that a page is one that came before: a service that knows no pages gives
// the same one for ever, one that counts them from 1 may give the first for 0 as well.
func (e *endpoint) repeated(before, number int) string {
	remedy := "a page behind the last has to be empty; if the service knows no pages, take {page} out"
	if number == 1 {
		remedy = "set first_page: 1, or, if the service knows no pages, take {page} out"
	}
	return fmt.Sprintf("page %d and page %d of endpoints.%s are the same: %s", before, number, e.name, remedy)
}

// rows are what a list's answer holds.
func (e *endpoint) rows(answer gjson.Result) ([]gjson.Result, error) {
	list := answer
	for _, path := range e.items.all {
		if list = answer.Get(path); list.Exists() {
			break
		}
	}
	if !list.IsArray() {
		return nil, fmt.Errorf("%s: there is no list at items; an answer looks like %s", e.name, skeleton(answer))
	}
	return list.Array(), nil
}
