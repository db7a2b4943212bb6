package clidoc

import (
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// A Page is what a manual page says besides the command line itself.
type Page struct {
	Program, Version string
	Date             string // such as 2026-11-30
	Sections         []Section
}

// A Section is a part of the page after the commands.
type Section struct {
	Title, Text string
	Items       []Item
}

// An Item is a term with its meaning, such as a setting.
type Item struct{ Term, Text string }

// Man writes the manual page of a command line, in the man macros of roff.
func Man(w io.Writer, app *kong.Application, page Page) error {
	p := &printer{w: w}
	commands := commandsOf(app.Node)
	p.line(".TH %s 1 %q %q", strings.ToUpper(roff(page.Program)), page.Date, page.Program+" "+page.Version)
	p.line(".SH NAME")
	p.line(`%s \- %s`, roff(page.Program), roff(strings.TrimSuffix(lowerFirst(app.Help), ".")))
	p.line(".SH SYNOPSIS")
	p.line(".B %s", roff(page.Program))
	p.line(".I command")
	p.line("[\\fIflags\\fR]")
	p.line(".SH COMMANDS")
	for _, c := range commands {
		// A command with commands below it only prints its help.
		if len(c.children) == 0 {
			writeCommand(p, page.Program, c, nodeAt(app.Node, c.path))
		}
	}
	for _, s := range page.Sections {
		p.line(".SH %s", roffQuoted(strings.ToUpper(s.Title)))
		if s.Text != "" {
			p.line("%s", roff(s.Text))
		}
		for _, item := range s.Items {
			p.line(".TP")
			p.line(".B %s", roff(item.Term))
			p.line("%s", roff(item.Text))
		}
	}
	return p.err
}

func writeCommand(p *printer, program string, c command, node *kong.Node) {
	head := program + " " + c.path
	for _, argument := range node.Positional {
		head += " " + argument.Summary()
	}
	p.line(".SS %s", roffQuoted(head))
	p.line("%s", roff(c.help))
	for _, argument := range node.Positional {
		if argument.Help != "" {
			p.line(".TP")
			p.line(".I %s", roff(argument.Name))
			p.line("%s", roff(argument.Help))
		}
	}
	for _, f := range c.flags {
		if f.name == "--help" {
			continue
		}
		p.line(".TP")
		if f.placeholder == "" {
			p.line(".B %s", roff(f.name))
		} else {
			p.line(".BI %s= %s", roff(f.name), roffQuoted(f.placeholder))
		}
		text := f.help
		if f.required {
			text = "Required. " + text
		}
		p.line("%s", roff(text))
	}
}

// nodeAt returns the node of a command by its path.
func nodeAt(node *kong.Node, path string) *kong.Node {
	if node.Path() == path {
		return node
	}
	for _, below := range node.Children {
		if found := nodeAt(below, path); found != nil {
			return found
		}
	}
	return nil
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// roff escapes a text. Each paragraph begins after .PP, and no line is taken for a request.
func roff(text string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(strings.TrimSpace(line))
		switch {
		case line == "":
			line = ".PP"
		case strings.HasPrefix(line, "."), strings.HasPrefix(line, "'"):
			line = `\&` + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// roffQuoted returns a text as one argument of a request.
func roffQuoted(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }
