package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/cloakroom/cloakroom/internal/platform/build"
)

// manCmd is `cloakroom man`.
type manCmd struct {
	Out string `help:"Directory for the pages; created if missing." required:"" placeholder:"DIR"`
}

// Run writes the pages.
func (c *manCmd) Run(_ context.Context, std Streams, k *kong.Kong) error {
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	n := 0
	err := kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		var at *kong.Node
		switch x := node.(type) {
		case *kong.Application:
			at = x.Node
		case *kong.Node:
			at = x
		}
		if at != nil && !at.Hidden {
			n++
			name := strings.ReplaceAll(path(at), " ", "-") + ".1"
			if err := os.WriteFile(filepath.Join(c.Out, name), manPage(at), 0o644); err != nil {
				return fmt.Errorf("writing a page: %w", err)
			}
		}
		return next(nil)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "wrote %s to %s\n", counted(n, "page"), c.Out)
	return nil
}

// roff writes text for a man page.
func roff(s string) string {
	s = strings.NewReplacer("\\", "\\e", "-", "\\-").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = "\\&" + s
	}
	return s
}

// manPage is the page of a command, from its definition.
func manPage(n *kong.Node) []byte {
	var b bytes.Buffer
	name := path(n)
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"cloakroom %s\" \"Cloakroom\"\n", strings.ToUpper(roff(strings.ReplaceAll(name, " ", "-"))), roff(build.Info().Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(strings.ReplaceAll(name, " ", "-")), roff(strings.TrimSuffix(n.Help, ".")))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n%s\n", roff(name), roff(strings.TrimSpace(strings.TrimPrefix(n.Summary(), n.Path()))))
	if n.Detail != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n.nf\n")
		for line := range strings.SplitSeq(n.Detail, "\n") {
			fmt.Fprintf(&b, "%s\n", roff(line))
		}
		b.WriteString(".fi\n")
	}
	if len(n.Children) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range n.Children {
			if !c.Hidden {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(c.Name), roff(c.Help))
			}
		}
	}
	if len(n.Positional) > 0 {
		b.WriteString(".SH ARGUMENTS\n")
		for _, p := range n.Positional {
			fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(p.Name), roff(formatValue(p)))
		}
	}
	b.WriteString(".SH OPTIONS\n")
	for _, level := range n.AllFlags(true) {
		for _, f := range level {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(f.String())), roff(formatValue(f.Value)))
		}
	}
	if list := examples[strings.TrimPrefix(name, "cloakroom ")]; len(list) > 0 {
		b.WriteString(".SH EXAMPLES\n.nf\n")
		for _, x := range list {
			fmt.Fprintf(&b, "%s\n", roff(x))
		}
		b.WriteString(".fi\n")
	}
	b.WriteString(".SH EXIT STATUS\n.nf\n")
	for line := range strings.SplitSeq(strings.TrimSpace(exitCodes), "\n") {
		fmt.Fprintf(&b, "%s\n", roff(line))
	}
	b.WriteString(".fi\n")
	return b.Bytes()
}
