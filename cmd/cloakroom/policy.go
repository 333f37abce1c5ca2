package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

type policyCmd struct {
	Show  policyShowCmd  `cmd:"" help:"Print the policy in force."`
	Check policyCheckCmd `cmd:"" help:"Check a policy file without a vault."`
	Diff  policyDiffCmd  `cmd:"" help:"Show who gains and loses what under a policy file."`
	Apply policyApplyCmd `cmd:"" help:"Apply a policy file."`
}

type policyShowCmd struct{ forBrand }

// Run prints the policy.
func (c *policyShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Policy, error) { return v.Policy(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Policy) {
		fmt.Fprint(w, p.Text)
	})
}

type policyDiffCmd struct {
	forBrand
	topBounds
	File string `arg:"" help:"Policy file." type:"existingfile"`
}

// Run says what would change.
func (c *policyDiffCmd) Run(ctx context.Context, std Streams) error {
	return putPolicy(ctx, std, &c.forBrand, c.File, &changesBounds{DryRun: true, topBounds: c.topBounds})
}

type policyApplyCmd struct {
	forBrand
	changesBounds
	File string `arg:"" help:"Policy file." type:"existingfile"`
}

// Run applies a policy.
func (c *policyApplyCmd) Run(ctx context.Context, std Streams) error {
	return putPolicy(ctx, std, &c.forBrand, c.File, &c.changesBounds)
}

func putPolicy(ctx context.Context, std Streams, b *forBrand, file string, how *changesBounds) error {
	text, err := readRules(file)
	if err != nil {
		return err
	}
	call := func(v *connection) (*api.PolicyDiff, error) {
		return v.ApplyPolicy(ctx, b.Brand, api.Policy{Text: text}, how.DryRun)
	}
	return ask(ctx, std, &b.remote, call, func(w io.Writer, d *api.PolicyDiff) {
		for _, ch := range d.Changes {
			who := "role " + ch.Role
			if ch.Principal != 0 {
				who += fmt.Sprintf(", principal %d", ch.Principal)
			}
			for _, side := range []struct {
				sign   string
				fields []string
			}{{"+", ch.Gained}, {"-", ch.Lost}} {
				if len(side.fields) > 0 {
					fmt.Fprintf(w, "%s %s: %s for %q: %s\n", side.sign, who, ch.Action, ch.Purpose, strings.Join(side.fields, ","))
				}
			}
		}
		how.show(w, d.Bounds)
		switch {
		case d.Applied:
			fmt.Fprintf(w, "applied as version %d\n", d.Version)
		case len(d.Changes) == 0:
			fmt.Fprintln(w, "nobody gains or loses anything")
		}
	})
}

type policyCheckCmd struct {
	JSON bool   `help:"Print one JSON object."`
	File string `arg:"" help:"Policy file." type:"existingfile"`
}

// Run checks a policy file against the schema.
func (c *policyCheckCmd) Run(_ context.Context, std Streams) error {
	text, err := readRules(c.File)
	if err != nil {
		return err
	}
	if _, err := access.Load(text); err != nil {
		return err
	}
	r := remote{JSON: c.JSON}
	return r.print(std, map[string]bool{"valid": true}, func(w io.Writer) { fmt.Fprintln(w, c.File, "is a valid policy") })
}
