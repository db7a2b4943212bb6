// Package commands contains the commands of `bridge chatvisor`, which an operator runs:
// agents, labels, visibility of the chat, tokens, and proposals for endpoints. Open this
// file first.
package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"

	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/rest"

	"github.com/alecthomas/kong"
)

// A Command is `bridge chatvisor`. Its commands use steps of the vendor's guide that the
// bridge never uses by itself. A command that changes something prints what it would do,
// and does it only with --yes.
type Command struct {
	Name      string            `default:"chatvisor" help:"Connector whose settings to use, such as chatvisor-emea."`
	Transport http.RoundTripper `kong:"-"` // nil means rest.NewTransport()

	Visibility    visibilityCommand `cmd:"" help:"Print whether the chat is shown on your pages, or show or hide it."`
	SyncAgents    agentsCommand     `cmd:"" help:"Create, rename and delete agents in Chatvisor, to match a CSV or JSON file."`
	Tag           tagCommand        `cmd:"" help:"Add labels to a customer, or the id of the customer in your system."`
	ImportOpenAPI openAPICommand    `cmd:"" name:"import-openapi" help:"Print proposed endpoints from the vendor's OpenAPI document."`
	Token         tokenCommand      `cmd:"" help:"Create an API token and write it to a file."`
}

// A console has the API client, the log and the output of a command.
type console struct {
	*api.Client
	log *slog.Logger
	out func(format string, args ...any)
}

var connectorForm = regexp.MustCompile(`^chatvisor(-[a-z0-9]+)*$`)

// console reads the settings of the named connector.
func (c *Command) console(k *kong.Context) (*console, error) {
	name := cmp.Or(c.Name, "chatvisor")
	if !connectorForm.MatchString(name) {
		return nil, errors.New("--name is not a Chatvisor connector: write chatvisor, or a name that begins with chatvisor-")
	}
	var r settings.Reader
	prefix := settings.ConnectorPrefix(name)
	var ca struct {
		CAFile string `split_words:"true"`
	}
	var own struct{ Proxy string }
	r.Group("BRIDGE", &ca)
	r.Group(prefix, &own)
	route := network.Route{Roots: r.Roots("BRIDGE_CA_FILE", ca.CAFile), Proxy: r.Proxy(prefix+"_PROXY", own.Proxy)}
	config, ok := chatvisor.ReadConfig(&r, name, prefix)
	if !ok || len(r.Faults()) > 0 {
		return nil, &SettingsError{r.Faults()}
	}
	if config.Transport = c.Transport; config.Transport == nil {
		config.Transport = route.Transport(rest.NewTransport())
	}
	made, err := config.Client()
	if err != nil {
		return nil, err
	}
	return &console{made, slog.New(slog.NewTextHandler(k.Stderr, nil)), printer(k)}, nil
}

func printer(k *kong.Context) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(k.Stdout, format+"\n", args...) }
}

// A SettingsError means that settings are not valid.
type SettingsError struct{ Faults []settings.Fault }

func (e *SettingsError) Error() string {
	var all []string
	for _, f := range e.Faults {
		all = append(all, f.Error())
	}
	return strings.Join(all, "; ")
}

// logChange logs a change in Chatvisor, with the old and the new value.
func (d *console) logChange(ctx context.Context, what string, args ...any) {
	d.log.InfoContext(ctx, "changed in Chatvisor", append([]any{"connector", d.Name, "what", what}, args...)...)
}

const dryRun = "Nothing was changed. Add --yes to do it."

// openSecret creates a file that only its owner may read. It fails if the file exists.
func openSecret(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s exists already and is not overwritten: name another file", path)
	}
	return file, err
}
