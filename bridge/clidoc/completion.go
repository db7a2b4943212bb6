package clidoc

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells are the shells for which Completion writes scripts.
var Shells = []string{"bash", "zsh", "fish"}

// Completion writes the script with which one of Shells completes the command line of the program.
func Completion(w io.Writer, shell, program string, app *kong.Application) error {
	write, known := map[string]func(*printer, string, []command){"bash": writeBash, "zsh": writeZsh, "fish": writeFish}[shell]
	if !known {
		return fmt.Errorf("there is no completion for %q, only for %s", shell, strings.Join(Shells, ", "))
	}
	p := &printer{w: w}
	write(p, program, commandsOf(app.Node))
	return p.err
}

// A printer remembers the first error of its writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// function returns the name of a shell function of a program.
func function(program string) string { return "_" + strings.ReplaceAll(program, "-", "_") }

// quoted returns a word as bash, zsh and POSIX shells read it literally.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// patterns returns the alternatives of a case of bash and zsh.
func patterns(all []string) string {
	var each []string
	for _, one := range all {
		each = append(each, quoted(one))
	}
	return strings.Join(each, " | ")
}

// writeBash writes a script that works in bash 3.2 too, which macOS has. Bash takes --flag=value apart:
// the sign is a word of its own.
func writeBash(p *printer, program string, commands []command) {
	p.line("# Completion of %s for bash.", program)
	p.line("%s() {", function(program))
	p.line("  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' words='' files='' i")
	p.line("  if [[ $cur == = ]]; then cur=''; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi")
	p.line("  for ((i = 1; i < COMP_CWORD; i++)); do")
	p.line("    case \"$command ${COMP_WORDS[i]}\" in")
	p.line("      %s) command=\"${command:+$command }${COMP_WORDS[i]}\" ;;", patterns(steps(commands)))
	p.line("    esac")
	p.line("  done")
	p.line("  case \"$command $prev\" in")
	writeValues(p, commands, func(words []string) string { return "words=" + quoted(strings.Join(words, " ")) }, "files=yes")
	p.line("    *)")
	p.line("      case $command in")
	for _, c := range commands {
		files := ""
		if c.files {
			files = "; files=yes"
		}
		p.line("        %s) words=%s%s ;;", quoted(c.path), quoted(strings.Join(c.names(), " ")), files)
	}
	p.line("      esac")
	p.line("      ;;")
	p.line("  esac")
	p.line("  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))")
	p.line("  if [[ -n $files && $cur != -* ]]; then COMPREPLY=(); compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- \"$cur\")); fi")
	p.line("}")
	p.line("complete -F %s %s", function(program), program)
}

// writeValues writes the cases of flags whose value is completed, for bash and zsh. If the value can be
// anything, nothing is offered.
func writeValues(p *printer, commands []command, list func([]string) string, files string) {
	for _, c := range commands {
		for _, f := range c.flags {
			if len(f.words) > 0 {
				p.line("    %s) %s ;;", quoted(c.path+" "+f.name), list(f.words))
			}
		}
	}
	if all := valueFlags(commands, func(f option) bool { return f.files }); all != nil {
		p.line("    %s) %s ;;", patterns(all), files)
	}
	if all := valueFlags(commands, func(f option) bool { return !f.files && f.words == nil }); all != nil {
		p.line("    %s) ;;", patterns(all))
	}
}

// writeZsh writes a script that works as a file of $fpath, and with source.
func writeZsh(p *printer, program string, commands []command) {
	name := function(program)
	p.line("#compdef %s", program)
	p.line("# Completion of %s for zsh.", program)
	p.line("%s() {", name)
	p.line("  local command='' prev=${words[CURRENT-1]} i")
	p.line("  local -a offered")
	p.line("  if [[ ${words[CURRENT]} == --*=* ]]; then prev=${words[CURRENT]%%%%=*}; compset -P '*='; fi")
	p.line("  for ((i = 2; i < CURRENT; i++)); do")
	p.line("    case \"$command ${words[i]}\" in")
	p.line("      %s) command=\"${command:+$command }${words[i]}\" ;;", patterns(steps(commands)))
	p.line("    esac")
	p.line("  done")
	p.line("  case \"$command $prev\" in")
	writeValues(p, commands, func(words []string) string { return "compadd -- " + strings.Join(words, " ") }, "_files")
	p.line("    *)")
	p.line("      case $command in")
	for _, c := range commands {
		p.line("        %s)", quoted(c.path))
		p.line("          offered=(")
		for _, word := range c.words {
			p.line("            %s", quoted(word))
		}
		for _, below := range c.children {
			p.line("            %s", quoted(below.name+":"+strings.ReplaceAll(firstSentence(below.help), ":", `\:`)))
		}
		for _, f := range c.flags {
			p.line("            %s", quoted(f.name+":"+strings.ReplaceAll(firstSentence(f.help), ":", `\:`)))
		}
		p.line("          )")
		if c.files {
			p.line("          _files")
		}
		p.line("          ;;")
	}
	p.line("      esac")
	p.line("      _describe %s offered", quoted(program))
	p.line("      ;;")
	p.line("  esac")
	p.line("}")
	p.line("if [[ ${funcstack[1]} == %s ]]; then %s \"$@\"; else compdef %s %s; fi", name, name, name, program)
}

// writeFish writes one line for each word that can follow a command. Fish completes --flag=value itself.
func writeFish(p *printer, program string, commands []command) {
	at := "_" + function(program) + "_at"
	p.line("# Completion of %s for fish.", program)
	p.line("function %s", at)
	p.line("    set -l command ''")
	p.line("    for word in (commandline -opc)[2..-1]")
	p.line("        switch \"$command $word\"")
	p.line("            case %s", fishWords(steps(commands)))
	p.line("                set command (string trim -- \"$command $word\")")
	p.line("        end")
	p.line("    end")
	p.line("    test \"$command\" = \"$argv\"")
	p.line("end")
	p.line("complete -c %s -f", program)
	for _, c := range commands {
		prefix := "complete -c " + program + " -n " + fishQuoted(strings.TrimSpace(at+" "+c.path))
		for _, below := range c.children {
			p.line("%s -a %s -d %s", prefix, below.name, fishQuoted(firstSentence(below.help)))
		}
		if c.words != nil {
			p.line("%s -a %s", prefix, fishQuoted(strings.Join(c.words, " ")))
		}
		if c.files {
			p.line("%s -F", prefix)
		}
		for _, f := range c.flags {
			value := ""
			switch {
			case f.placeholder == "":
			case f.files:
				value = " -r -F"
			case f.words != nil:
				value = " -x -a " + fishQuoted(strings.Join(f.words, " "))
			default:
				value = " -x"
			}
			p.line("%s -l %s%s -d %s", prefix, strings.TrimPrefix(f.name, "--"), value, fishQuoted(firstSentence(f.help)))
		}
	}
}

func fishWords(all []string) string {
	var each []string
	for _, one := range all {
		each = append(each, fishQuoted(one))
	}
	return strings.Join(each, " ")
}

// fishQuoted returns a word as fish reads it literally. In single quotes, fish knows two escapes.
func fishQuoted(word string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(word) + "'"
}
