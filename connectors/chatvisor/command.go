package chatvisor

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

	"cobrowse-bridge/bridge/settings"

	"github.com/alecthomas/kong"
)

// A Command is `bridge chatvisor`: the steps of the vendor's guide that nobody
// takes but an operator, by hand. What changes something only says what it would
// do, unless it is told --yes.
type Command struct {
	Name      string            `default:"chatvisor" help:"Which connector's settings to use, such as chatvisor-emea."`
	Transport http.RoundTripper `kong:"-"` // nil means http.DefaultTransport

	Visibility    visibilityCommand `cmd:"" help:"Say whether the chat is shown on your pages, and show or hide it."`
	SyncAgents    agentsCommand     `cmd:"" help:"Make the agents in Chatvisor those of a CSV or JSON file."`
	Tag           tagCommand        `cmd:"" help:"Add labels to a customer, or your own id."`
	ImportOpenAPI openAPICommand    `cmd:"" name:"import-openapi" help:"Propose endpoints from the vendor's OpenAPI document."`
	Token         tokenCommand      `cmd:"" help:"Mint an API token into a file."`
}

// A console is what a command works with.
type console struct {
	*connector
	out func(format string, args ...any)
}

var connectorForm = regexp.MustCompile(`^chatvisor(-[a-z0-9]+)*$`)

// console reads the settings of the named connector.
func (c *Command) console(k *kong.Context) (*console, error) {
	name := cmp.Or(c.Name, "chatvisor")
	if !connectorForm.MatchString(name) {
		return nil, errors.New("--name is no connector of this kind: it is chatvisor, or chatvisor- and a word of yours")
	}
	var r settings.Reader
	config, ok := readConfig(&r, name, strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	if !ok {
		return nil, faultsOf(&r)
	}
	config.Transport = c.Transport
	config.Log = slog.New(slog.NewTextHandler(k.Stderr, nil))
	made, err := newConnector(config)
	if err != nil {
		return nil, err
	}
	return &console{made, printer(k)}, nil
}

func printer(k *kong.Context) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(k.Stdout, format+"\n", args...) }
}

func faultsOf(r *settings.Reader) error {
	lines := []string{"the settings are not sound:"}
	for _, f := range r.Faults() {
		lines = append(lines, "  "+f.Error())
	}
	return errors.New(strings.Join(lines, "\n"))
}

// done logs what was changed, and what it was before.
func (d *console) done(ctx context.Context, what string, args ...any) {
	d.log.InfoContext(ctx, "changed in Chatvisor", append([]any{"connector", d.name, "what", what}, args...)...)
}

const dryRun = "Nothing was changed: say --yes to do it."

// openSecret makes a file that only its owner may read, and that was not there.
func openSecret(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s is there already, and is not written over: name another file", path)
	}
	return file, err
}
