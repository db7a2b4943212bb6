// Package clidoc writes what shells and man need to know about a command line: completion scripts for
// bash, zsh and fish, and a manual page. It reads the model that kong makes of the command line.
package clidoc

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A command is the program or one of its commands, as the user types it.
type command struct {
	path     string // "audit list"; empty for the program
	help     string
	flags    []option
	children []child
	files    bool     // an argument is a file
	words    []string // what an argument can be, if that is a closed list
}

// A child is a command below another one.
type child struct{ name, help string }

// An option is a flag: it begins with two dashes. Without a placeholder it takes no value.
type option struct {
	name, help, placeholder string
	required, files         bool
	words                   []string // what the value can be, if that is a closed list
}

// commandsOf returns the program and all of its commands, those above before those below. Hidden ones
// are left out.
func commandsOf(node *kong.Node) []command {
	c := command{path: node.Path(), help: node.Help}
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			c.flags = append(c.flags, optionOf(f))
		}
	}
	for _, argument := range node.Positional {
		c.files = c.files || isFile(argument.Name)
		c.words = append(c.words, wordsOf(argument)...)
	}
	var below []command
	for _, n := range node.Children {
		if !n.Hidden {
			c.children = append(c.children, child{n.Name, n.Help})
			below = append(below, commandsOf(n)...)
		}
	}
	return append([]command{c}, below...)
}

func optionOf(f *kong.Flag) option {
	made := option{name: "--" + f.Name, help: f.Help, required: f.Required, words: wordsOf(f.Value)}
	if !f.IsBool() && !f.IsCounter() {
		made.placeholder = f.FormatPlaceHolder()
		made.files = isFile(f.Name) || isFile(f.PlaceHolder)
	}
	return made
}

// isFile says whether a value with this name or placeholder is a path.
func isFile(name string) bool { return strings.EqualFold(name, "file") }

func wordsOf(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// valueFlags returns what a shell sees before the value of a flag, for each flag of the commands that
// takes one and that want selects: "audit list --agent".
func valueFlags(commands []command, want func(option) bool) []string {
	var found []string
	for _, c := range commands {
		for _, f := range c.flags {
			if f.placeholder != "" && want(f) {
				found = append(found, c.path+" "+f.name)
			}
		}
	}
	return found
}

// steps returns what a shell sees when a word names a command below the present one: "audit list".
func steps(commands []command) []string {
	var found []string
	for _, c := range commands {
		for _, below := range c.children {
			found = append(found, c.path+" "+below.name)
		}
	}
	return found
}

// firstSentence returns the beginning of a help text, without the full stop: what a shell shows next
// to a word.
func firstSentence(help string) string {
	for _, end := range []string{". ", ": ", "; "} {
		help, _, _ = strings.Cut(help, end)
	}
	return strings.TrimSuffix(help, ".")
}

// names returns the words that can follow a command: commands below it, arguments and flags.
func (c command) names() []string {
	all := slices.Clone(c.words)
	for _, below := range c.children {
		all = append(all, below.name)
	}
	for _, f := range c.flags {
		all = append(all, f.name)
	}
	return all
}
