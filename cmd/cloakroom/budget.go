package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

type budgetCmd struct {
	Show budgetShowCmd `cmd:"" default:"withargs" help:"Show a brand's budgets, one rule per line; same as budget alone."`
	Set  budgetSetCmd  `cmd:"" help:"Set a brand's budgets, and show which loss bounds change."`
}

type budgetShowCmd struct{ forBrand }

// Run shows budgets.
func (c *budgetShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.BudgetRules, error) { return v.Budgets(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, r *api.BudgetRules) {
		fmt.Fprint(w, r.Rules)
	})
}

// readRules reads a file of rules or of a policy. An empty one sets nothing: it is what a
// redirection leaves whose command failed.
func readRules(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the rules: %w", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", &usageError{file + " is empty: nothing was set; --default, where a command has it, sets the defaults"}
	}
	return string(text), nil
}

type budgetSetCmd struct {
	forBrand
	changesBounds
	File    string `arg:"" optional:"" help:"File of rules, in the format of budget show." type:"existingfile"`
	Default bool   `help:"Set the default budgets."`
}

// Run sets budgets.
func (c *budgetSetCmd) Run(ctx context.Context, std Streams) error {
	if c.Default == (c.File != "") {
		return &usageError{"give a file of rules, or --default"}
	}
	in := api.BudgetRules{Default: c.Default}
	if c.File != "" {
		text, err := readRules(c.File)
		if err != nil {
			return err
		}
		in.Rules = text
	}
	call := func(v *connection) (*api.BudgetsSet, error) { return v.SetBudgets(ctx, c.Brand, in, c.DryRun) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.BudgetsSet) {
		c.show(w, out.Bounds)
		if out.Applied {
			fmt.Fprintln(w, "set")
		} else {
			fmt.Fprintln(w, "nothing was changed")
		}
	})
}
