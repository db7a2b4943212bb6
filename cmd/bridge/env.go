package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors"
)

type envCommand struct {
	Format string `enum:"text,env,json,markdown" default:"text" help:"text; env: a file to fill in, such as deploy/env.example; json; or markdown."`
}

// Run lists the settings.
func (c envCommand) Run(s streams) error {
	switch c.Format {
	case "env":
		return printEnvFile(s.out)
	case "json":
		return printVariablesJSON(s.out)
	case "markdown":
		return printVariablesMarkdown(s.out)
	}
	return printVariables(s.out)
}

// A settingsGroup is one part of the list of settings.
type settingsGroup struct {
	title     string
	variables []settings.Variable
}

// settingsGroups returns every setting of the program, in the order in which it is listed.
func settingsGroups() []settingsGroup {
	all := []settingsGroup{
		{"The bridge", settings.Variables("BRIDGE", &bridgeSettings{})},
		{"Agents sign in at an identity provider: BRIDGE_SIGNIN=oidc", settings.Variables("BRIDGE_OIDC", &oidcSettings{})},
		{"Agents sign in at a proxy: BRIDGE_SIGNIN=header", settings.Variables("BRIDGE_HEADER", &headerSettings{})},
		{"Upscope", settings.Variables("UPSCOPE", &upscopeSettings{})},
	}
	for _, name := range connectors.Names() {
		all = append(all, settingsGroup{"Only with " + name + " in BRIDGE_CONNECTORS", connectors.Variables(name)})
	}
	return all
}

// aboutSettings says what holds for all settings.
var aboutSettings = []string{
	"The settings of a chat service are required only if BRIDGE_CONNECTORS names it.",
	"Instead of each NAME you can set NAME_FILE to the path of a file that contains the value.",
	"Without both, systemd's credential with the NAME in lower case is used.",
	"BRIDGE_POLICY_FILE and BRIDGE_CA_FILE are the paths of these files themselves.",
	"The settings of a second Rocket.Chat, named rocketchat-emea, begin with ROCKETCHAT_EMEA_.",
}

// printVariables lists every setting as text.
func printVariables(w io.Writer) error {
	for _, group := range settingsGroups() {
		for _, v := range group.variables {
			fmt.Fprint(w, v.Name)
			if v.Needed {
				fmt.Fprint(w, "  required")
			}
			if v.Default != "" {
				fmt.Fprint(w, "  default: "+v.Default)
			}
			fmt.Fprintf(w, "\n%s\n", wrapped(v.Meaning, "    ", 80))
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(aboutSettings, "\n"))
	return err
}

// printEnvFile prints a file for systemd's EnvironmentFile, `docker run --env-file` and shells. A
// setting that is always required is empty; the others are comments.
func printEnvFile(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s\n%s\n", wrapped("Settings of the bridge, as `bridge env --format env` prints them. Remove the # before a setting to change it. "+
		"Write no comment after a value and no quotation marks around it: they would be part of the value.", "# ", 100), "#", wrapped(strings.Join(aboutSettings, " "), "# ", 100))
	for _, group := range settingsGroups() {
		fmt.Fprintf(w, "\n## %s\n", group.title)
		always := group.title == "The bridge" || group.title == "Upscope"
		for _, v := range group.variables {
			meaning, off := v.Meaning, "#"
			if v.Needed {
				meaning = "Required: " + meaning
			}
			if v.Needed && always {
				off = ""
			}
			fmt.Fprintf(w, "\n%s\n%s%s=%s\n", wrapped(meaning, "# ", 100), off, v.Name, v.Default)
		}
	}
	return nil
}

// A printedVariable is one setting in `bridge env --format json`.
type printedVariable struct {
	Name     string `json:"name"`
	Group    string `json:"group"`
	Default  string `json:"default"`
	Required bool   `json:"required"`
	Meaning  string `json:"meaning"`
}

func printVariablesJSON(w io.Writer) error {
	var all []printedVariable
	for _, group := range settingsGroups() {
		for _, v := range group.variables {
			all = append(all, printedVariable{v.Name, group.title, v.Default, v.Needed, v.Meaning})
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"settings": all})
}

func printVariablesMarkdown(w io.Writer) error {
	for _, group := range settingsGroups() {
		fmt.Fprintf(w, "## %s\n\n| Setting | Default | Meaning |\n| --- | --- | --- |\n", group.title)
		for _, v := range group.variables {
			value := ""
			switch {
			case v.Needed:
				value = "required"
			case v.Default != "":
				value = "`" + v.Default + "`"
			}
			fmt.Fprintf(w, "| `%s` | %s | %s |\n", v.Name, value, strings.ReplaceAll(v.Meaning, "|", `\|`))
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintln(w, strings.Join(aboutSettings, "\n"))
	return err
}

// wrapped breaks a text into lines of at most width characters, each with the prefix.
func wrapped(text, prefix string, width int) string {
	var b strings.Builder
	used := width
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case b.Len() > 0 && used+1+n <= width:
			b.WriteString(" " + word)
			used += 1 + n
			continue
		case b.Len() > 0:
			b.WriteByte('\n')
		}
		b.WriteString(prefix + word)
		used = utf8.RuneCountInString(prefix) + n
	}
	return b.String()
}
