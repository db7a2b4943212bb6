// Command bridge joins customer chats to Upscope co-browsing sessions.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"cobrowse-bridge/bridge/store/audit"
	chatvisorcommands "cobrowse-bridge/connectors/chatvisor/commands"
)

// commands is the whole command line.
type commands struct {
	Serve       serveCommand              `cmd:"" help:"Run the bridge. Settings are environment variables: see bridge env."`
	Demo        demoCommand               `cmd:"" help:"Try the whole product on this machine. Needs no settings; stores nothing permanently."`
	Check       checkCommand              `cmd:"" help:"Check the settings and the services that the bridge needs."`
	Deliveries  deliveriesCommand         `cmd:"" help:"List deliveries that failed or are waiting, and retry them."`
	Agents      agentsCommand             `cmd:"" help:"List who is signed in, sign agents out, and disconnect their chat accounts."`
	Policy      policyCommand             `cmd:"" help:"Check a policy file, and show what it lets an agent do."`
	Audit       auditCommand              `cmd:"" help:"List, export and verify the audit log."`
	Erase       eraseCommand              `cmd:"" help:"Erase a person from the store and, with --upscope, from Upscope."`
	Export      exportCommand             `cmd:"" help:"Print what the store has about a person, as JSON."`
	Backup      backupCommand             `cmd:"" help:"Write a copy of the database (SQLite), also while the bridge runs."`
	Restore     restoreCommand            `cmd:"" help:"Make a copy of bridge backup the database, or only check it."`
	Chatvisor   chatvisorcommands.Command `cmd:"" help:"Run Chatvisor tasks by hand; the bridge never runs them by itself."`
	Env         envCommand                `cmd:"" help:"List every setting: name, default, whether it is required, meaning."`
	Healthcheck healthcheckCommand        `cmd:"" help:"Exit with 0 if the bridge on this machine is ready. For health checks of containers."`
	Version     versionCommand            `cmd:"" help:"Print version, commit and Go version."`
	Licenses    licensesCommand           `cmd:"" help:"Print the licenses of the software that the program contains."`
	Completion  completionCommand         `cmd:"" help:"Print a script with which a shell completes commands."`
	Man         manCommand                `cmd:"" help:"Print the manual page: bridge man | man -l -"`
}

// streams are where a command writes: its output to out, logs and errors to err.
type streams struct{ out, err io.Writer }

// exitStatus is an error that only sets the exit status. The message was printed before.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(status)
}

// run runs one command line and returns the exit status. Tests call it in place of main.
func run(ctx context.Context, args []string, s streams) (status int) {
	var c commands
	parser, err := kong.New(&c,
		kong.Name("bridge"),
		kong.Description("Joins customer chats to Upscope co-browsing sessions."),
		kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { panic(exitStatus(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
		kong.Vars{"actions": strings.Join(audit.Actions, ", ")},
	)
	if err != nil {
		panic(err)
	}
	defer func() {
		// kong exits after it has printed help or usage; kong.Exit above panics instead.
		if p := recover(); p != nil {
			code, ok := p.(exitStatus)
			if !ok {
				panic(p)
			}
			status = int(code)
		}
	}()
	if len(args) > 0 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	command, err := parser.Parse(args)
	if err != nil {
		problem, path := err.Error(), []*kong.Path(nil)
		if len(args) == 0 {
			problem = "a command is missing"
		}
		if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
			path = wrong.Context.Path
		}
		return wrongUsage(s.err, path, problem)
	}
	err = command.Run()
	if wrong, ok := errors.AsType[usageError](err); ok {
		return wrongUsage(s.err, command.Path, wrong.Error())
	}
	if code, ok := errors.AsType[exitStatus](err); ok {
		return int(code)
	}
	if wrong, ok := errors.AsType[*chatvisorcommands.SettingsError](err); ok {
		printFaults(s.err, wrong.Faults)
		return 2
	}
	if err != nil {
		fmt.Fprintln(s.err, "bridge:", err)
		return 1
	}
	return 0
}

// A usageError says that a command was called in a wrong way.
type usageError string

func (e usageError) Error() string { return string(e) }

// wrongUsage says what is wrong with a command line and which help to read. path is the command as far as
// it is known. It returns the exit status.
func wrongUsage(w io.Writer, path []*kong.Path, problem string) int {
	help := []string{"bridge"}
	for _, step := range path {
		if step.Command != nil {
			help = append(help, step.Command.Name)
		}
	}
	fmt.Fprintf(w, "bridge: %s\n`%s --help` shows how to use it.\n", problem, strings.Join(help, " "))
	return 2
}
