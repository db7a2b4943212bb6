// Package templates makes the pages and chat messages that agents and operators
// read. Read door.go first.
//
// To show a page, fill in a Door, a Notice, a Desk or another Page and call Render.
// To get a chat message, fill in a Card and call Text. Both clean, shorten and
// escape what a visitor may have typed, so callers pass it unchanged.
//
// All texts are in the files *_texts.go, one for each kind of page or message. The
// files in html/ are structure: {{text "door.from"}} shows the text with that id. A
// text is a whole sentence or label, never a part of one; see wording.
//
// Pages work without script and have no inline styles. They need
//
//	Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'
//
// The caller adds form-action and frame-ancestors, and for a Desk, whose script
// keeps it up to date,
//
//	script-src 'self'; connect-src 'self'
package templates

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
)

// Product is the name of the program on its pages.
const Product = "Co-browse bridge"

// A Page is a Door, a Connect, a Notice, or a page of the desk: Desk, Operations,
// Audit or Erase.
type Page interface {
	// view returns the name of the page's layout, a file in html/ without its
	// extension, and the data for it.
	view() (layout string, data any, err error)
}

// A Link is a label and an address. A link whose address is not http, https or a
// path of this host is left out. An empty label becomes a default, such as "Back to
// the chat".
type Link struct {
	Label   string
	Address string
}

// frame is what every page shows around its content. Views have it as a field and do not embed it: a
// template finds a field of an embedded struct slowly.
type frame struct {
	Title string
	// Agent is the name of the agent; empty leaves the footer out.
	Agent string
	// AgentSeen says that the visitor may see this name.
	AgentSeen bool
	Chat      Link
	// Desk is for the pages of the desk; zero for all others.
	Desk deskFrame
	// Bare leaves out the header, and the product's name in the title of the browser's tab.
	Bare bool
}

//go:embed html/*.html
var layouts embed.FS

// pages has one complete template for each layout, by name.
var pages = parsePages(writeConstants)

// parsePages reads html/. Files that begin with "_" are shared by all pages; each
// other file is the layout of one kind of page. prepare changes the source of each file.
func parsePages(prepare func(source string) string) map[string]*template.Template {
	shared := template.New("").
		Option("missingkey=error").
		Funcs(template.FuncMap{"asset": asset, "product": func() string { return Product }, "text": pageText, "plain": plainText})
	files, err := fs.Glob(layouts, "html/*.html") // the shared ones are first
	if err != nil {
		panic(err)
	}
	pages := make(map[string]*template.Template)
	for _, file := range files {
		name := path.Base(file)
		source, err := layouts.ReadFile(file)
		if err != nil {
			panic(err)
		}
		t := shared
		if !strings.HasPrefix(name, "_") {
			t = template.Must(shared.Clone())
			pages[strings.TrimSuffix(name, ".html")] = t
		}
		template.Must(t.New(name).Parse(prepare(string(source))))
	}
	return pages
}

// constant matches an action that shows the same on every page.
var constant = regexp.MustCompile(`\{\{(asset|plain|product|text)(?: "([^"]*)")?\}\}`)

// writeConstants replaces the constant actions in a layout by what they show, so that it is not
// made again for each page.
func writeConstants(source string) string {
	return constant.ReplaceAllStringFunc(source, func(action string) string {
		found := constant.FindStringSubmatch(action)
		switch function, id := found[1], found[2]; function {
		case "asset":
			address, err := asset(id)
			if err != nil {
				panic(err)
			}
			return address
		case "plain":
			return template.HTMLEscapeString(plainText(id))
		case "text":
			return string(pageText(id))
		}
		return template.HTMLEscapeString(Product)
	})
}

// Render returns the page as HTML in UTF-8. Do not change the bytes. It fails for a
// Notice of a Kind that is not among the constants.
func Render(p Page) ([]byte, error) {
	notice, ok := p.(Notice)
	if !ok || !notice.sameForAll() {
		return execute(p)
	}
	if page, ok := sameForAll.Load(notice); ok {
		return page.([]byte), nil
	}
	page, err := execute(notice)
	if err == nil {
		sameForAll.Store(notice, page)
	}
	return page, err
}

// sameForAll has the rendered pages of the notices for which Notice.sameForAll is true. There
// are at most two for each Kind.
var sameForAll sync.Map // of []byte by Notice

// usualPage is how many bytes most pages have at most.
const usualPage = 4 << 10

func execute(p Page) ([]byte, error) {
	layout, data, err := p.view()
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	var b bytes.Buffer
	b.Grow(usualPage)
	if err := pages[layout].ExecuteTemplate(&b, "page", data); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return b.Bytes(), nil
}
