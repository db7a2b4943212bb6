package main

import (
	"strings"

	"github.com/alecthomas/kong"

	"cobrowse-bridge/bridge/buildinfo"
	"cobrowse-bridge/bridge/clidoc"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
	Name  string `hidden:"" default:"bridge" help:"Name under which the program is installed."`
}

// Run prints a completion script.
func (c completionCommand) Run(s streams, parsed *kong.Context) error {
	return clidoc.Completion(s.out, c.Shell, c.Name, parsed.Model)
}

type manCommand struct {
	Name string `hidden:"" default:"bridge" help:"Name under which the program is installed."`
}

// Run prints the manual page.
func (c manCommand) Run(s streams, parsed *kong.Context) error {
	info := buildinfo.Of(version, commit, date)
	day, _, known := strings.Cut(info.Date, "T")
	if !known {
		day = "1970-01-01" // a page must have a date
	}
	page := clidoc.Page{Program: c.Name, Version: info.Version, Date: day, Sections: []clidoc.Section{
		{Title: "Exit status", Items: []clidoc.Item{
			{Term: "0", Text: "The command succeeded."},
			{Term: "1", Text: "The command failed, or found a problem."},
			{Term: "2", Text: "The command line or the settings are not valid."},
		}},
		{Title: "Environment", Text: strings.Join(aboutSettings, "\n")},
	}}
	for _, group := range settingsGroups() {
		section := clidoc.Section{Title: group.title}
		for _, v := range group.variables {
			text := v.Meaning
			if v.Needed {
				text += " Required."
			}
			if v.Default != "" {
				text += " The default is " + v.Default + "."
			}
			section.Items = append(section.Items, clidoc.Item{Term: v.Name, Text: text})
		}
		page.Sections = append(page.Sections, section)
	}
	return clidoc.Man(s.out, parsed.Model, page)
}
