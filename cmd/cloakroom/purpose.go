package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/cloakroom/cloakroom/api"
)

type purposeCmd struct {
	Add    purposeAddCmd    `cmd:"" help:"Register a purpose with its legal basis."`
	List   purposeListCmd   `cmd:"" help:"List a brand's purposes."`
	Retire purposeRetireCmd `cmd:"" help:"Retire a purpose."`
}

type purposeAddCmd struct {
	forBrand
	Name        string `arg:"" help:"Lower-case letters, digits and hyphens."`
	LegalBasis  string `help:"consent, contract, legal-obligation, vital-interests, public-task or legitimate-interests (GDPR Art. 6(1))." required:"" placeholder:"BASIS"`
	Description string `help:"One-sentence description." placeholder:"TEXT"`
}

// Run registers a purpose.
func (c *purposeAddCmd) Run(ctx context.Context, std Streams) error {
	in := api.Purpose{Name: c.Name, LegalBasis: c.LegalBasis, Description: c.Description}
	call := func(v *connection) (*api.Purpose, error) { return v.CreatePurpose(ctx, c.Brand, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Purpose) {
		fmt.Fprintln(w, "registered", p.Name)
	})
}

type purposeListCmd struct{ forBrand }

// Run lists purposes.
func (c *purposeListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Purpose, error) { return v.Purposes(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Purpose) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, p := range list {
			retired := ""
			if !p.Retired.IsZero() {
				retired = "retired"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.LegalBasis, p.Description, retired)
		}
		t.Flush()
	})
}

type purposeRetireCmd struct {
	forBrand
	Name string `arg:""`
}

// Run retires a purpose.
func (c *purposeRetireCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (struct{}, error) { return struct{}{}, v.RetirePurpose(ctx, c.Brand, c.Name) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, _ struct{}) {
		fmt.Fprintln(w, "retired", c.Name)
	})
}
