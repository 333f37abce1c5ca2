package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// configEnv names the configuration file of serve.
const configEnv = "CLOAKROOM_CONFIG"

// settings are a configuration file: a scalar for each flag of serve, by its name.
type settings map[string]string

// readConfig reads a configuration file strictly: a name that is no flag of serve is an
// error with its line, and so is one that stands twice.
func readConfig(file string, serve *kong.Node) (settings, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &usageError{file + " is empty: it configures nothing"}
		}
		return nil, &usageError{fmt.Sprintf("%s: %s", file, fault.YAML(err))}
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, &usageError{fmt.Sprintf("%s line %d: write `name: value`, a flag of serve a line", file, top.Line)}
	}
	names := configNames(serve)
	out := settings{}
	for i := 0; i < len(top.Content); i += 2 {
		k, v := top.Content[i], top.Content[i+1]
		at := fmt.Sprintf("%s line %d: ", file, k.Line)
		switch {
		case !slices.Contains(names, k.Value):
			return nil, &usageError{at + "no such setting; cloakroom config show lists all"}
		case v.Kind != yaml.ScalarNode || v.Tag == "!!null":
			return nil, &usageError{at + k.Value + " takes one value"}
		}
		if _, twice := out[k.Value]; twice {
			return nil, &usageError{at + k.Value + " stands twice"}
		}
		out[k.Value] = v.Value
	}
	return out, nil
}

// configNames are the flags of serve that a file may set, in their order.
func configNames(serve *kong.Node) []string {
	var out []string
	for _, f := range serve.Flags {
		if f.Name != "config" && f.Name != "help" {
			out = append(out, f.Name)
		}
	}
	return out
}

// serveNode finds serve among the definitions, and gives each of its flags a variable.
func serveNode(app *kong.Application) *kong.Node {
	for _, n := range app.Children {
		if n.Name == "serve" {
			return n
		}
	}
	return nil
}

// giveVariables lets every setting of serve come from the environment, too.
func giveVariables(app *kong.Application) {
	for _, f := range serveNode(app).Flags {
		if len(f.Tag.Envs) == 0 && f.Name != "help" {
			f.Tag.Envs = []string{"CLOAKROOM_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))}
			f.Envs = f.Tag.Envs
		}
	}
}

// configResolver gives serve what its configuration file says, below the command line and
// the environment.
func (s Streams) configResolver(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	n := ctx.Selected()
	if n == nil || n.Name != "serve" || flag.Name == "config" || flag.Name == "help" {
		return nil, nil
	}
	for _, name := range flag.Tag.Envs {
		if v := s.getenv(name); v != "" {
			return v, nil // also of a variable that was given late
		}
	}
	file := s.getenv(configEnv)
	for i, a := range ctx.Args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			file = v
		} else if a == "--config" && i+1 < len(ctx.Args) {
			file = ctx.Args[i+1]
		}
	}
	if file == "" {
		return nil, nil
	}
	list, err := readConfig(file, n)
	if err != nil {
		return nil, err
	}
	if v, ok := list[flag.Name]; ok {
		return v, nil
	}
	return nil, nil
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check a configuration file of serve."`
	Show  configShowCmd  `cmd:"" help:"Show every setting of serve, its value and where it comes from."`
}

type configCheckCmd struct {
	File string `arg:"" help:"Configuration file." type:"existingfile"`
}

// Run checks a file as serve would read it.
func (c *configCheckCmd) Run(_ context.Context, std Streams) error {
	parser, err := newParser(std)
	if err != nil {
		return err
	}
	list, err := readConfig(c.File, serveNode(parser.Model))
	if err != nil {
		return err
	}
	k, err := parser.Parse([]string{"serve", "--config", c.File})
	if err != nil {
		return &usageError{err.Error()}
	}
	_ = k
	fmt.Fprintf(std.Out, "%s is a valid configuration: %s\n", c.File, counted(len(list), "setting"))
	return nil
}

type configShowCmd struct {
	Config string `help:"Configuration file." type:"existingfile" env:"CLOAKROOM_CONFIG" placeholder:"FILE"`
	JSON   bool   `help:"Print one JSON object."`
}

// setting is a line of the answer.
type setting struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	From     string `json:"from"` // file, environment, default
	Variable string `json:"variable"`
	Help     string `json:"help"`
}

// Run shows the settings. A password in an address is left out.
func (c *configShowCmd) Run(_ context.Context, std Streams) error {
	parser, err := newParser(std)
	if err != nil {
		return err
	}
	n := serveNode(parser.Model)
	var list settings
	if c.Config != "" {
		if list, err = readConfig(c.Config, n); err != nil {
			return err
		}
	}
	var out []setting
	for _, f := range n.Flags {
		if f.Name == "help" || f.Name == "config" {
			continue
		}
		s := setting{Name: f.Name, Value: f.Default, From: "default", Help: f.Help, Variable: strings.Join(f.Tag.Envs, " ")}
		if v, ok := list[f.Name]; ok {
			s.Value, s.From = v, "file"
		}
		for _, name := range f.Tag.Envs {
			if v := std.getenv(name); v != "" {
				s.Value, s.From = v, "environment"
			}
		}
		if f.Name == "database" && s.Value != "" {
			s.Value = withoutPassword(s.Value)
		}
		out = append(out, s)
	}
	r := remote{JSON: c.JSON}
	return r.print(std, out, func(w io.Writer) {
		for _, s := range out {
			fmt.Fprintf(w, "# %s (%s; %s)\n", s.Help, s.From, s.Variable)
			if s.Value == "" {
				fmt.Fprintf(w, "#%s:\n", s.Name)
				continue
			}
			text, err := yaml.Marshal(map[string]string{s.Name: s.Value})
			if err == nil {
				fmt.Fprintf(w, "%s", text)
			}
		}
	})
}

// withoutPassword shows an address of a database without what opens it.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return "(set)"
	}
	return u.Redacted()
}
