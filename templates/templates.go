// Package templates holds every page and every message that people read, and
// the styles and icons that go with them.
//
// A page is a value: fill a Door, a Desk or a Notice and Render it. A message is a
// value too: fill a Card and take its Text. Whatever a visitor can have typed
// (names, pages, devices) is cleaned, shortened and escaped here, so callers
// pass it as it came.
//
// The pages work without script and without a single inline style, under
//
//	Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'
//
// to which the caller adds form-action and frame-ancestors, and for a Desk, which
// is kept up to date where there is script,
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
	"strings"
)

// Product is the name people know the bridge by.
const Product = "Co-browse bridge"

// A Page is a Door, a Connect, a Notice, or one of the desk's: Desk, Operations,
// Audit and Erase.
type Page interface {
	// view names the file below html/ that lays the page out, without its
	// extension, and gives the data for it.
	view() (layout string, data any, err error)
}

// A Link is a label and where it leads. Only http, https and local addresses
// are shown; a link with any other is left out. An empty label becomes one that
// fits the place, such as "Back to the chat".
type Link struct {
	Label   string
	Address string
}

// frame is what every page has around its own content.
type frame struct {
	Title string
	// Agent is who is asking; empty leaves the foot of the page out.
	Agent string
	// AgentSeen says that the visitor may come to see Agent.
	AgentSeen bool
	Chat      Link
	// Desk is for the desk's own pages; zero for all others.
	Desk deskFrame
	// Bare leaves the header out.
	Bare bool
}

//go:embed html/*.html
var layouts embed.FS

// pages has one complete template for each layout, by name.
var pages = parsePages()

// parsePages reads html/: files that begin with "_" are shared by all pages, every
// other file is the layout of one kind of page.
func parsePages() map[string]*template.Template {
	shared := template.Must(template.New("").
		Option("missingkey=error").
		Funcs(template.FuncMap{"asset": asset, "product": func() string { return Product }}).
		ParseFS(layouts, "html/_*.html"))
	all, err := fs.Glob(layouts, "html/[^_]*.html")
	if err != nil {
		panic(err)
	}
	pages := make(map[string]*template.Template)
	for _, file := range all {
		t := template.Must(template.Must(shared.Clone()).ParseFS(layouts, file))
		pages[strings.TrimSuffix(path.Base(file), ".html")] = t
	}
	return pages
}

// Render writes the page as HTML in UTF-8. It writes all of the page in one
// call to w, or nothing if the page cannot be made; an error of w is returned
// as it is.
func Render(p Page) ([]byte, error) {
	layout, data, err := p.view()
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	var b bytes.Buffer
	if err := pages[layout].ExecuteTemplate(&b, "page", data); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return b.Bytes(), nil
}
