package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors"
	"cobrowse-bridge/upscope"
)

type policyCommand struct {
	Explain policyExplain `cmd:"" help:"Show what an agent may do, by which rule, and how their sessions open."`
	Check   policyCheck   `cmd:"" help:"Check a policy file and list its faults with their lines."`
}

type policyExplain struct {
	Agent     string   `required:"" placeholder:"ID" help:"Id of the agent, as the audit log shows it: oidc:…, header:… or slack:T1/U2."`
	Email     string   `placeholder:"ADDRESS" help:"Verified e-mail address of the agent."`
	Group     []string `sep:"none" placeholder:"NAME" help:"Group of the agent; repeat the flag for several groups."`
	Connector string   `placeholder:"NAME" help:"Chat service of the card, or desk."`
	Place     string   `help:"Where the card is, such as slack:C0123."`
	Act       string   `help:"Only this act, such as watch."`
	File      string   `help:"Policy file to use in place of BRIDGE_POLICY_FILE."`
}

// Run reads the policy itself; no bridge needs to run.
func (c policyExplain) Run(s streams) error {
	acts := policy.Acts()
	if c.Act != "" {
		if !slices.Contains(acts, policy.Act(c.Act)) {
			return fmt.Errorf("--act is %q: use one of %s", c.Act, joinActs(acts))
		}
		acts = []policy.Act{policy.Act(c.Act)}
	}
	if c.Connector != "" && c.Connector != "desk" && !connectors.IsName(c.Connector) {
		return fmt.Errorf("--connector is %q: use %s, a name such as slack-emea, or desk", c.Connector, strings.Join(connectors.Names(), ", "))
	}
	if name, address, _ := strings.Cut(c.Place, ":"); c.Place != "" && (address == "" || !connectors.IsName(name)) {
		return fmt.Errorf("--place is %q: write connector:address, such as slack:C0123", c.Place)
	}
	file, err := c.open()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	var watch policy.Decision
	for _, act := range acts {
		d := file.Current().Decide(policy.Question{
			Act: act, Agent: c.Agent, Email: c.Email, Groups: c.Group, Connector: c.Connector, Place: c.Place,
		})
		allowed := "no"
		if d.Allowed {
			allowed = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", act, allowed, d.Why)
		if act == policy.Watch {
			watch = d
		}
	}
	if err := table.Flush(); err != nil || !watch.Allowed {
		return err
	}
	if err := printProfile(s.out, watch.Profile); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, "\n"+pageFirst[watch.PageFirst])
	return err
}

// pageFirst has a sentence for each value of page_first.
var pageFirst = map[policy.PageFirst]string{
	policy.PageFirstNever:      "A click leads straight to the customer's screen, if the browser proves that a person clicked.",
	policy.PageFirstOtherSites: "A click shows the co-browse page first, unless the browser says that the link was on the desk or on the site of the chat, or that the address was typed or opened from an app. Slack and Rocket.Chat hide their site (page_first: other-sites).",
	policy.PageFirstAlways:     "Each click shows the co-browse page first (page_first: always).",
}

func (c policyExplain) open() (*policy.File, error) {
	path := c.File
	if path == "" {
		var r settings.Reader
		var b bridgeSettings
		r.Group("BRIDGE", &b) // faults in other settings do not matter here
		path = b.PolicyFile
	}
	if path == "" {
		return policy.Fixed(policy.Default), nil
	}
	return policy.Open(path, connectors.Names()...)
}

func joinActs(acts []policy.Act) string {
	var all []string
	for _, a := range acts {
		all = append(all, string(a))
	}
	return strings.Join(all, ", ")
}

// printProfile prints how sessions open, with the keys of the policy file.
func printProfile(w io.Writer, p policy.Profile) error {
	if p == (policy.Profile{Name: p.Name}) {
		_, err := fmt.Fprintln(w, "\nSessions open with Upscope's default settings.")
		return err
	}
	text, err := json.Marshal(p.Permissions)
	if err != nil {
		return err
	}
	var flags map[string]bool
	if err := json.Unmarshal(text, &flags); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nSessions open with the profile %s, and with Upscope's defaults for the rest:\n", p.Name)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		fmt.Fprintf(table, "%s\t%t\n", name, flags[name])
	}
	naked := map[upscope.Naked]string{upscope.NakedYes: "true"}[p.Naked]
	for _, line := range [][2]string{{"naked", naked}, {"language", p.Language}, {"initial_notes", oneLine(p.InitialNotes)}} {
		if line[1] != "" {
			fmt.Fprintf(table, "%s\t%s\n", line[0], line[1])
		}
	}
	return table.Flush()
}

type policyCheck struct {
	File string `arg:"" help:"The policy file."`
}

// Run reads the file as the bridge does. The exit status is 1 if the file has faults.
func (c policyCheck) Run(s streams) error {
	if _, err := policy.Open(c.File, connectors.Names()...); err != nil {
		fmt.Fprintln(s.out, err)
		return exitStatus(1)
	}
	_, err := fmt.Fprintf(s.out, "%s is valid.\n", c.File)
	return err
}
