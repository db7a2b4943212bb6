package templates

import (
	"fmt"
	"html/template"
	"reflect"
	"strings"
	"testing"
	"text/template/parse"
)

// TestEveryTemplateFitsTheDataOfItsPages follows every field and every branch of
// every layout with the types it is rendered with, whether or not a page takes
// that branch. It also finds layouts, blocks and texts that no page uses.
func TestEveryTemplateFitsTheDataOfItsPages(t *testing.T) {
	data := make(map[string]reflect.Type)
	for name, p := range samplePages() {
		layout, v, err := p.view()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := data[layout]; ok && other != reflect.TypeOf(v) {
			t.Fatalf("%s: layout %s has data of two types", name, layout)
		}
		data[layout] = reflect.TypeOf(v)
	}
	fresh := parsePages(strings.Clone) // with the constants, and parsed again: executing a template changes its tree
	usedBy := make(map[string]string)  // a layout for each block that one uses
	var blocks []string
	texts := make(map[string]bool)
	for layout, set := range fresh {
		if data[layout] == nil {
			t.Errorf("no sample page uses html/%s.html", layout)
			continue
		}
		c := checker{t: t, set: set, used: make(map[string]bool), texts: texts}
		c.template("page", data[layout])
		if layout == deskLayout { // rendered one by one
			c.template("card", reflect.TypeFor[deskCardView]())
			c.template("session", reflect.TypeFor[sessionView]())
		}
		for _, block := range set.Templates() {
			if block.Tree == nil || parse.IsEmptyTree(block.Tree.Root) {
				continue
			}
			// ParseName is the file that the block is in.
			name := block.Tree.ParseName + " " + block.Name()
			blocks = append(blocks, name)
			if c.used[block.Name()] {
				usedBy[name] = layout
			}
		}
	}
	for _, block := range blocks {
		if usedBy[block] == "" {
			t.Errorf("nothing uses the block of %s", block)
		}
	}
	for id := range pageTexts {
		if !texts[id] {
			t.Errorf("no layout uses the text %q", id)
		}
	}
	for layout := range data {
		if fresh[layout] == nil {
			t.Errorf("there is no html/%s.html", layout)
		}
	}
}

type checker struct {
	t     *testing.T
	set   *template.Template
	used  map[string]bool
	texts map[string]bool
	vars  map[string]reflect.Type
	path  []string
}

// anything is the type of a value whose type is not known.
var anything = reflect.TypeFor[any]()

func (c *checker) errorf(n parse.Node, format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("%s: %s: %s", strings.Join(c.path, " > "), n, fmt.Sprintf(format, args...))
}

func (c checker) template(name string, dot reflect.Type) {
	c.used[name] = true
	called := c.set.Lookup(name)
	if called == nil || called.Tree == nil {
		c.t.Errorf("%s: there is no template %q", strings.Join(c.path, " > "), name)
		return
	}
	c.path = append(c.path[:len(c.path):len(c.path)], name)
	c.vars = map[string]reflect.Type{"$": dot}
	c.node(called.Tree.Root, dot)
}

func (c *checker) node(n parse.Node, dot reflect.Type) {
	switch n := n.(type) {
	case nil, *parse.TextNode, *parse.CommentNode:
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, child := range n.Nodes {
			c.node(child, dot)
		}
	case *parse.ActionNode:
		c.pipe(n.Pipe, dot)
	case *parse.IfNode:
		c.pipe(n.Pipe, dot)
		c.node(n.List, dot)
		c.node(n.ElseList, dot)
	case *parse.WithNode:
		c.node(n.List, c.pipe(n.Pipe, dot))
		c.node(n.ElseList, dot)
	case *parse.RangeNode:
		decl := n.Pipe.Decl
		over := c.pipe(&parse.PipeNode{Cmds: n.Pipe.Cmds}, dot)
		if over.Kind() != reflect.Slice {
			c.errorf(n.Pipe, "range over %s", over)
			return
		}
		switch len(decl) {
		case 1:
			c.vars[decl[0].Ident[0]] = over.Elem()
		case 2:
			c.vars[decl[0].Ident[0]], c.vars[decl[1].Ident[0]] = reflect.TypeFor[int](), over.Elem()
		}
		c.node(n.List, over.Elem())
		c.node(n.ElseList, dot)
	case *parse.TemplateNode:
		arg := anything
		if n.Pipe != nil {
			arg = c.pipe(n.Pipe, dot)
		}
		c.template(n.Name, arg)
	default:
		c.errorf(n, "%T is not supported by the test", n)
	}
}

// pipe returns the type of a pipeline. It must have one command.
func (c *checker) pipe(p *parse.PipeNode, dot reflect.Type) reflect.Type {
	if len(p.Cmds) != 1 || len(p.Decl) > 0 {
		c.errorf(p, "this form is not supported by the test")
		return anything
	}
	args := p.Cmds[0].Args
	if fn, ok := args[0].(*parse.IdentifierNode); ok {
		for _, a := range args[1:] {
			c.value(a, dot)
		}
		switch fn.Ident {
		case "asset":
			name, ok := args[1].(*parse.StringNode)
			if !ok {
				c.errorf(p, "the name of an asset must be written out")
			} else if _, err := asset(name.Text); err != nil {
				c.errorf(p, "%v", err)
			}
			return reflect.TypeFor[string]()
		case "product":
			return reflect.TypeFor[string]()
		case "text", "plain":
			c.text(p, args)
			return reflect.TypeFor[template.HTML]()
		case "len":
			return reflect.TypeFor[int]()
		case "eq", "ne", "gt", "and", "or", "not":
			return reflect.TypeFor[bool]()
		}
		c.errorf(p, "this function is not supported by the test")
		return anything
	}
	if len(args) != 1 {
		c.errorf(p, "this form is not supported by the test")
	}
	return c.value(args[0], dot)
}

// text checks that a text exists and has the placeholders that get values.
func (c *checker) text(p *parse.PipeNode, args []parse.Node) {
	id, ok := args[1].(*parse.StringNode)
	if !ok {
		c.errorf(p, "the id of a text must be written out")
		return
	}
	if pageTexts[id.Text] == nil {
		c.errorf(p, "there is no text %q", id.Text)
	}
	c.texts[id.Text] = true
	if len(args)%2 != 0 {
		c.errorf(p, "a placeholder has no value")
	}
	for i := 2; i < len(args); i += 2 {
		name, ok := args[i].(*parse.StringNode)
		if !ok || !strings.Contains(strings.Join(pageTexts[id.Text], ""), "{"+name.Text+"}") {
			c.errorf(p, "the text has no placeholder %s", args[i])
		}
	}
}

func (c *checker) value(n parse.Node, dot reflect.Type) reflect.Type {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot
	case *parse.StringNode:
		return reflect.TypeFor[string]()
	case *parse.NumberNode:
		return reflect.TypeFor[int]()
	case *parse.FieldNode:
		return c.chain(n, dot, n.Ident)
	case *parse.VariableNode:
		typ, ok := c.vars[n.Ident[0]]
		if !ok {
			c.errorf(n, "no such variable")
			return anything
		}
		return c.chain(n, typ, n.Ident[1:])
	case *parse.PipeNode:
		return c.pipe(n, dot)
	case *parse.IdentifierNode:
		return reflect.TypeFor[string]() // product, the only function without arguments
	}
	c.errorf(n, "%T is not supported by the test", n)
	return anything
}

func (c *checker) chain(n parse.Node, typ reflect.Type, names []string) reflect.Type {
	for _, name := range names {
		if m, ok := typ.MethodByName(name); ok {
			typ = m.Type.Out(0)
			continue
		}
		if typ.Kind() != reflect.Struct {
			c.errorf(n, "%s has no %s", typ, name)
			return anything
		}
		f, ok := typ.FieldByName(name)
		if !ok || !f.IsExported() {
			c.errorf(n, "%s has no %s", typ, name)
			return anything
		}
		typ = f.Type
	}
	return typ
}
