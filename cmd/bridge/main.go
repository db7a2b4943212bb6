// Command bridge joins customer chats to Upscope co-browsing sessions.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"cobrowse-bridge/connectors/chatvisor"

	"github.com/alecthomas/kong"
)

// commands is the whole command line.
type commands struct {
	Serve       serveCommand       `cmd:"" help:"Run the bridge. Settings come from the environment; see env."`
	Demo        demoCommand        `cmd:"" help:"Show the whole product on this machine: no settings, nothing kept."`
	Check       checkCommand       `cmd:"" help:"Check the settings and say what is wrong with them."`
	Deliveries  deliveriesCommand  `cmd:"" help:"List what came in and failed or waits, and send it through again."`
	Agents      agentsCommand      `cmd:"" help:"List who is signed in, sign agents out, and disconnect their chat accounts."`
	Policy      policyCommand      `cmd:"" help:"Check a policy file, and say what it lets an agent do."`
	Audit       auditCommand       `cmd:"" help:"List, export and verify the record of who watched whom."`
	Erase       eraseCommand       `cmd:"" help:"Remove a person from the store, and from Upscope when asked."`
	Chatvisor   chatvisor.Command  `cmd:"" help:"Take steps in Chatvisor that nobody takes but an operator, by hand."`
	Env         envCommand         `cmd:"" help:"List every setting: name, default, whether it is required, meaning."`
	Healthcheck healthcheckCommand `cmd:"" help:"Exit 0 if the bridge on this machine is ready, for images without a shell."`
	Version     versionCommand     `cmd:"" help:"Print version, commit and Go version."`
}

// streams are where a command writes. Everything a person or program asked for
// goes to out; logs and complaints go to err.
type streams struct{ out, err io.Writer }

// exit is an error that sets the exit status. What it has to say was said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(status)
}

// run is the program without its process. It returns the exit status.
func run(ctx context.Context, args []string, s streams) (status int) {
	var c commands
	parser, err := kong.New(&c,
		kong.Name("bridge"),
		kong.Description("Joins customer chats to Upscope co-browsing sessions."),
		kong.Writers(s.out, s.err),
		kong.UsageOnError(),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
	)
	if err != nil {
		panic(err)
	}
	defer func() {
		// kong ends help and usage by exiting.
		if p := recover(); p != nil {
			code, ok := p.(exit)
			if !ok {
				panic(p)
			}
			status = int(code)
		}
	}()
	command, err := parser.Parse(args)
	parser.FatalIfErrorf(err)
	err = command.Run()
	if code, ok := errors.AsType[exit](err); ok {
		return int(code)
	}
	if err != nil {
		fmt.Fprintln(s.err, "bridge:", err)
		return 1
	}
	return 0
}
