package clidoc

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shop is a command line with everything that the package handles.
type shop struct {
	Open struct {
		Door string `enum:"front,back" default:"front" help:"Which door: one of two."`
		Loud bool   `help:"Don't be quiet. This wakes the dog."`
	} `cmd:"" help:"Open the shop."`
	Stock struct {
		List struct {
			Since string   `placeholder:"TIME" help:"Only goods after this time."`
			Only  []string `help:"Only these kinds, e.g. C:\\goods."`
		} `cmd:"" help:"List the goods; the newest first."`
		Import struct {
			File   string `arg:"" help:"CSV file with the goods."`
			Ledger string `required:"" placeholder:"FILE" help:"File to write to."`
		} `cmd:"" help:"Read goods from a file."`
	} `cmd:"" help:"Change what is in stock."`
	Paint struct {
		Colour string `arg:"" enum:"red,green" help:"The colour."`
	} `cmd:"" help:"Paint the shop."`
	Secret struct{} `cmd:"" hidden:"" help:"Is not shown."`
}

func model(t *testing.T) *kong.Application {
	t.Helper()
	parser, err := kong.New(&shop{}, kong.Name("shop"), kong.Description("Runs a shop."))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

var page = Page{Program: "corner-shop", Version: "1.2.3", Date: "2026-11-30", Sections: []Section{
	{Title: "Environment", Text: "All settings:\n\nread once.", Items: []Item{
		{"SHOP_NAME", "Name of the shop. Required."},
		{"SHOP_PATH", `.hidden in C:\shop`},
	}},
}}

// write returns a script, or the manual page for "man".
func write(t *testing.T, kind string) string {
	t.Helper()
	var b bytes.Buffer
	var err error
	if kind == "man" {
		err = Man(&b, model(t), page)
	} else {
		err = Completion(&b, kind, "corner-shop", model(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhatIsWrittenIsAsInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, kind := range append(slices.Clone(Shells), "man") {
		got, golden := write(t, kind), filepath.Join("testdata", "shop."+kind)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not as in %s; -update rewrites it. Got:\n%s", kind, golden, got)
		}
	}
	if err := Completion(&bytes.Buffer{}, "tcsh", "shop", model(t)); err == nil {
		t.Error("there is a completion for tcsh")
	}
}

// Each case is what is typed, and the words that each shell offers.
var completions = []struct {
	typed []string
	want  string
	only  string // the only shell that takes the words apart in this way
}{
	{[]string{""}, "--help open paint stock", ""},
	{[]string{"sto"}, "stock", ""},
	{[]string{"stock", ""}, "--help import list", ""},
	{[]string{"stock", "list", "--"}, "--help --only --since", ""},
	{[]string{"open", "--door", ""}, "back front", ""},
	{[]string{"open", "--door", "b"}, "back", ""},
	{[]string{"open", "--loud", "--do"}, "--door", ""},
	{[]string{"paint", "r"}, "red", ""},
	{[]string{"secret", "--on"}, "", ""},
	{[]string{"stock", "list", "--since", ""}, "", ""},
	{[]string{"stock", "import", "goods"}, "goods.csv", ""},
	{[]string{"stock", "import", "--ledger", "goods"}, "goods.csv", ""},
	{[]string{"open", "--door", "=", "b"}, "back", "bash"},
	{[]string{"open", "--door=b"}, "back", "zsh"},
	{[]string{"open", "--door=b"}, "--door=back", "fish"},
}

// bashDriver prints what the script offers for the words in its arguments. compopt works only while a
// person types, so the driver uses the way of older shells.
const bashDriver = `source "$1"; shift
compopt() { return 1; }
COMP_WORDS=(corner-shop "$@") COMP_CWORD=$#
_corner_shop
printf '%s\n' "${COMPREPLY[@]}"`

// zshDriver replaces the functions of zsh's completion, which work only while a person types.
const zshDriver = `script=$1; shift
compdef() { : }
compset() { words[CURRENT]=${words[CURRENT]#*=} }
offer() { for one in "$@"; do [[ $one == ${words[CURRENT]}* ]] && print -r -- $one; done; true }
compadd() { shift; offer "$@" }
_describe() { offer "${offered[@]%%:*}" }
_files() { offer *(N) }
source $script
words=(corner-shop "$@") CURRENT=$(( $# + 1 ))
_corner_shop`

func TestShellsCompleteWords(t *testing.T) {
	t.Parallel()
	drivers := map[string][]string{
		"bash": {"--noprofile", "--norc", "-c", bashDriver, "bash"},
		"zsh":  {"-f", "-c", zshDriver, "zsh"},
		"fish": {"--no-config", "-c", "source $SCRIPT; complete -C $TYPED | string split -f1 \\t"},
	}
	for _, shell := range Shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed (apt-get install %s)", shell, shell)
			}
			folder := t.TempDir()
			script := filepath.Join(t.TempDir(), "script")
			for file, text := range map[string]string{script: write(t, shell), filepath.Join(folder, "goods.csv"): ""} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range completions {
				if c.only != "" && c.only != shell {
					continue
				}
				cmd := exec.Command(path, drivers[shell]...)
				if shell == "fish" { // which would take flags for its own
					cmd.Env = append(os.Environ(), "HOME="+folder, "SCRIPT="+script, "TYPED=corner-shop "+strings.Join(c.typed, " "))
				} else {
					cmd.Args = slices.Concat(cmd.Args, []string{script}, c.typed)
				}
				cmd.Dir = folder
				out, err := cmd.CombinedOutput()
				words := strings.Fields(string(out))
				slices.Sort(words)
				got, want := strings.Join(slices.Compact(words), " "), c.want
				if shell == "fish" && c.typed[len(c.typed)-1] == "" {
					want = strings.TrimPrefix(want, "--help ") // fish offers flags only after a dash
				}
				if got != want {
					t.Errorf("%q: got %q (%v), want %q", c.typed, got, err, want)
				}
			}
		})
	}
}

func TestTheManualPageIsValid(t *testing.T) {
	t.Parallel()
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc is not installed (apt-get install mandoc)")
	}
	file := filepath.Join(t.TempDir(), "corner-shop.1")
	if err := os.WriteFile(file, []byte(write(t, "man")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mandoc, "-T", "lint", "-W", "warning", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	out, err := exec.Command(mandoc, "-T", "utf8", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Runs a shop"[1:], `C:\goods`, `.hidden in C:\shop`, "Don't be quiet"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the page as people read it has no %q:\n%s", want, out)
		}
	}
}
