package templates

import (
	"fmt"
	"html/template"

	"cobrowse-bridge/templates/phrase"
)

// The texts of pages and messages; see package phrase.
type (
	wording = phrase.Wording
	values  = phrase.Values
	plural  = phrase.Plural
)

// pageTexts are the texts of all layouts by id, which begins with the layout's name.
var pageTexts = func() map[string]wording {
	all := make(map[string]wording)
	for _, texts := range []map[string]wording{
		frameTexts, doorTexts, connectTexts, noticeTexts, deskTexts, operationsTexts, auditTexts, eraseTexts,
	} {
		for id, w := range texts {
			if all[id] != nil {
				panic("two texts with the id " + id)
			}
			all[id] = w
		}
	}
	return all
}()

// pageText is the function "text" of the layouts, plainText the function "plain" for
// attributes. Names of placeholders and their values follow the id.
func pageText(id string, pairs ...any) template.HTML { return pageTexts[id].HTML(valuesOf(pairs)) }

func plainText(id string, pairs ...any) string { return pageTexts[id].Plain(valuesOf(pairs)) }

func valuesOf(pairs []any) values {
	v := make(values, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		v[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return v
}
