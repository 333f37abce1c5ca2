package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// group is how help puts the verbs together: those of one task.
type group struct {
	title string
	verbs []string
}

// groups are in the order in which somebody meets them. A test finds a verb without one.
var groups = []group{
	{"Start", []string{"demo", "serve", "login", "logout", "whoami", "status", "generate"}},
	{"Customers", []string{"import", "feed", "mapping", "put", "standing", "find", "show", "reveal", "who-read", "export", "erase", "erasure", "hold", "customer"}},
	{"Watch and respond", []string{"alarm", "contain", "incident", "claim", "scope", "duties", "notice", "campaign", "message", "exposure", "canary", "detect"}},
	{"Rules and people", []string{"brand", "settings", "principal", "purpose", "policy", "budget", "change"}},
	{"Evidence", []string{"evidence", "log", "witness"}},
	{"Operate", []string{"doctor", "backup", "restore", "key", "db", "drill", "config"}},
	{"About", []string{"help", "version", "completion", "man"}},
}

// topics are what `help` explains beside commands.
var topics = map[string]string{
	"exit-codes": exitCodes,
	"environment": `ENVIRONMENT
  CLOAKROOM_KEY        API key of the caller; without it, the local administrator
  CLOAKROOM_VAULT      vault of ` + "`login`" + ` to talk to
  CLOAKROOM_SERVER     address of a server, https://HOST:PORT
  CLOAKROOM_DATA       data directory of a vault on this machine
  CLOAKROOM_DATABASE   PostgreSQL database of a vault
  CLOAKROOM_ROOT_KEY   file of the root key
  CLOAKROOM_LISTEN     where serve and demo listen
  CLOAKROOM_SMTP_*     mail server for alarms: serve --help
  GOGC, GOMEMLIMIT     the Go runtime's: set either, and serve adds no headroom of its own
`,
	"addresses": `ADDRESSES
  A server is written https://HOST:PORT everywhere; http:// on this machine only.
  Without --server, a command talks to the server of its data directory by a socket; where
  none runs, it opens the vault itself. The data directory is --data, CLOAKROOM_DATA, or the
  platform's directory for a program's data. A vault of ` + "`login`" + ` is named by --vault or
  CLOAKROOM_VAULT; the one named "default" is taken where this machine has no vault.
`,
}

// arrange puts every verb into its group.
func arrange(app *kong.Application) {
	for i, g := range groups {
		for _, n := range app.Children {
			if slices.Contains(g.verbs, n.Name) {
				n.Group = &kong.Group{Key: fmt.Sprint(i), Title: g.title}
			}
		}
	}
	rank := func(n *kong.Node) string {
		if n.Group == nil {
			return "~"
		}
		return n.Group.Key
	}
	slices.SortStableFunc(app.Children, func(a, b *kong.Node) int { return strings.Compare(rank(a), rank(b)) })
}

// printHelp prints the help of a command, with examples; of the whole program, a verb a line.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if ctx.Selected() == nil && len(ctx.Args) <= 1 {
		overview(ctx.Stdout, ctx.Model)
		return nil
	}
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	if n := ctx.Selected(); n != nil {
		printExamples(ctx.Stdout, n)
	}
	return nil
}

func overview(w io.Writer, app *kong.Application) {
	fmt.Fprintf(w, "%s\n\nUsage: cloakroom COMMAND [flags]\n", app.Help)
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, n := range app.Children {
			if !n.Hidden && slices.Contains(g.verbs, n.Name) {
				fmt.Fprintf(w, "  %-11s %s\n", n.Name, n.Help)
			}
		}
	}
	fmt.Fprintf(w, "\nhelp COMMAND or COMMAND --help explains one, with examples.\nTopics: help %s\n", strings.Join(slices.Sorted(maps.Keys(topics)), ", help "))
}

func printExamples(w io.Writer, n *kong.Node) {
	if list := examples[strings.TrimPrefix(path(n), "cloakroom ")]; len(list) > 0 {
		fmt.Fprintf(w, "\nExamples:\n  %s\n", strings.Join(list, "\n  "))
	}
}

// formatValue is the help of a flag, with its default.
func formatValue(v *kong.Value) string {
	text := kong.DefaultHelpValueFormatter(v)
	if v.HasDefault && v.Default != "" && !v.IsBool() && !strings.Contains(strings.ToLower(v.Help), "default") {
		text = strings.TrimRight(text, " ") + " (default: " + v.Default + ")"
	}
	return text
}

// helpCmd is `cloakroom help`.
type helpCmd struct {
	Words []string `arg:"" optional:"" help:"A command, or a topic: exit-codes, environment, addresses."`
}

// Run explains a command or a topic.
func (c *helpCmd) Run(_ context.Context, std Streams, k *kong.Kong) error {
	if len(c.Words) == 1 && topics[c.Words[0]] != "" {
		fmt.Fprint(std.Out, topics[c.Words[0]])
		return nil
	}
	if len(c.Words) == 0 {
		overview(std.Out, k.Model)
		return nil
	}
	if n := find(k.Model.Node, c.Words); n == nil {
		return &usageError{"no such command or topic"}
	}
	_, err := k.Parse(append(slices.Clone(c.Words), "--help"))
	return err
}

// find returns the command that words name, nil for none.
func find(n *kong.Node, words []string) *kong.Node {
	for _, word := range words {
		i := slices.IndexFunc(n.Children, func(c *kong.Node) bool { return c.Name == word })
		if i < 0 {
			return nil
		}
		n = n.Children[i]
	}
	return n
}

// counted writes a number and what is counted, which takes an s for all but one.
func counted[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return fmt.Sprint("1 ", what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
