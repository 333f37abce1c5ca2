package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/mask"
)

// checked is the answer to --json.
type checked struct {
	Kind    string       `json:"kind"`
	Mapping string       `json:"mapping"`
	Rows    []checkedRow `json:"rows"`
}

type checkedRow struct {
	Line   int64             `json:"line"`
	Fields map[string]string `json:"fields,omitempty"`
	Faults []intake.Fault    `json:"faults,omitempty"`
}

// propose proposes a mapping for a file, or tries the one that is given, and shows rows
// as they would be stored, masked.
func (c *importCmd) propose(ctx context.Context, std Streams, m *intake.Mapping) error {
	if c.Check == "-" {
		return &usageError{"--check reads a file twice: give its name"}
	}
	out := checked{}
	if m == nil {
		p, err := intake.Propose(c.Check, std.In)
		if err != nil && p == nil {
			return err
		}
		if err != nil {
			fmt.Fprint(std.Out, p.Text)
			return err
		}
		if m, err = intake.ParseMapping([]byte(p.Text)); err != nil {
			return err
		}
	}
	out.Kind, out.Mapping = m.Kind(), m.Text
	r, err := intake.Open(c.Check, std.In, m)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Rules, err = c.rules(); err != nil {
		return err
	}
	rows, err := intake.Show(ctx, r, out.Kind)
	for _, row := range rows {
		one := checkedRow{Line: row.Line}
		if row.Reject != nil {
			one.Faults = row.Reject.Faults()
		} else {
			one.Fields = masked(row.Fields)
		}
		out.Rows = append(out.Rows, one)
	}
	if err != nil {
		return err
	}
	return c.print(std, out, func(w io.Writer) {
		fmt.Fprint(w, strings.TrimRight(out.Mapping, "\n")+"\n")
		fmt.Fprintf(w, "\n# The first rows as they would be stored, masked:\n")
		for _, row := range out.Rows {
			fmt.Fprintf(w, "# line %d:", row.Line)
			for _, f := range row.Faults {
				fmt.Fprintf(w, " refused: %s;", strings.TrimSpace(f.Field+" "+f.Reason))
			}
			for _, name := range slices.Sorted(maps.Keys(row.Fields)) {
				fmt.Fprintf(w, " %s=%s", name, row.Fields[name])
			}
			fmt.Fprintln(w)
		}
	})
}

// masked hides values: this is shown to check columns, and not to read customers.
func masked(fields map[string]string) map[string]string {
	out := map[string]string{}
	for name, v := range fields {
		switch f, err := record.ParseField(name); {
		case v == "":
		case err == nil && f.Text():
			out[name] = mask.Text(f, v)
		case slices.Contains([]string{"at", "quantity", "amount", "currency", "channel"}, name):
			out[name] = v
		default:
			out[name] = mask.Hidden
		}
	}
	return out
}

// mappingCmd is `cloakroom mapping`.
type mappingCmd struct {
	Show mappingShowCmd `cmd:"" help:"Print a mapping that is built in, to be copied and changed."`
	List mappingListCmd `cmd:"" help:"List the mappings that are built in."`
}

type mappingShowCmd struct {
	Name string `arg:"" help:"Name of the mapping, such as shopify-customers."`
}

// Run prints a mapping.
func (c *mappingShowCmd) Run(_ context.Context, std Streams) error {
	m, err := intake.Profile(c.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(std.Out, m.Text)
	return err
}

type mappingListCmd struct{}

// Run lists the mappings.
func (mappingListCmd) Run(_ context.Context, std Streams) error {
	for _, name := range intake.Profiles() {
		if _, err := fmt.Fprintln(std.Out, name); err != nil {
			return err
		}
	}
	return nil
}
