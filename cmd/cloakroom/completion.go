package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completeWord is the first argument with which a shell asks for what may come next.
const completeWord = "__complete"

// completions are the scripts of the shells. Each asks the program, so that a completion is
// never older than the program.
var completions = map[string]string{
	"bash": `_cloakroom() {
  local IFS=$'\n'
  COMPREPLY=($(cloakroom __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _cloakroom cloakroom
`,
	"zsh": `#compdef cloakroom
_cloakroom() {
  local -a found
  found=("${(@f)$(cloakroom __complete "${(@)words[2,$CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
compdef _cloakroom cloakroom
`,
	"fish": `complete -c cloakroom -f -a '(cloakroom __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
complete -c cloakroom -F -n 'test (count (cloakroom __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)) -eq 0'
`,
}

// completionCmd is `cloakroom completion`.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the long help text.
func (completionCmd) Help() string {
	return "Prints a script for the shell. It completes commands, flags and the values that a flag may have."
}

// Run prints the script.
func (c *completionCmd) Run(_ context.Context, std Streams) error {
	_, err := io.WriteString(std.Out, completions[c.Shell])
	return err
}

// complete prints what may come in the place of the last word.
func complete(w io.Writer, app *kong.Application, words []string) {
	last := ""
	if len(words) > 0 {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	n, before := app.Node, ""
	for _, word := range words {
		before = word
		if next := find(n, []string{word}); next != nil {
			n = next
		}
	}
	for _, c := range candidates(n, before, last) {
		if strings.HasPrefix(c, last) {
			fmt.Fprintln(w, c)
		}
	}
}

func candidates(n *kong.Node, before, last string) []string {
	var out []string
	for _, level := range n.AllFlags(true) {
		for _, f := range level {
			if name, value, ok := strings.Cut(last, "="); ok && name == "--"+f.Name {
				_ = value
				for _, v := range f.EnumSlice() {
					out = append(out, name+"="+v)
				}
				return out
			}
			if before == "--"+f.Name && !f.IsBool() {
				return nonEmpty(f.EnumSlice())
			}
		}
	}
	if strings.HasPrefix(last, "-") {
		for _, level := range n.AllFlags(true) {
			for _, f := range level {
				out = append(out, "--"+f.Name)
			}
		}
		slices.Sort(out)
		return out
	}
	for _, c := range n.Children {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	for _, p := range n.Positional {
		out = append(out, nonEmpty(p.EnumSlice())...)
	}
	return out
}

func nonEmpty(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
}
