package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// tap imports the output of a Singer tap. Standard output is for states alone; the figures
// go to standard error.
func (c *importCmd) tap(ctx context.Context, std Streams, m *intake.Mapping) (err error) {
	switch {
	case c.Customers != "" || c.Purchases != "":
		return &usageError{"--singer reads standard input, and no --customers or --purchases"}
	case c.Refused != "":
		return &usageError{"--refused does not go with --singer: the tap sends the records again"}
	case c.Empty == "clear" || m.Clears():
		if !c.AllowShrink {
			return &usageError{"standard input cannot be read twice, and a property that it lacks could be emptied for everybody: --allow-shrink allows that"}
		}
	}
	rules, err := c.rules()
	if err != nil {
		return err
	}
	rejects, err := fresh(c.rejectsPath())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rejects.close()) }()
	tokens := &lazyFile{path: c.Tokens}
	defer func() { err = errors.Join(err, tokens.close()) }()
	in := intake.SingerInput{Name: "standard input", From: std.In, Mapping: m, Rules: rules, State: func(value []byte) error {
		if _, err := fmt.Fprintf(std.Out, "%s\n", value); err != nil {
			return fmt.Errorf("printing the state: %w", err)
		}
		return nil
	}}
	o := intake.Options{MaxRejects: c.MaxRejects, DryRun: c.DryRun, Rejects: rejects}
	var report intake.Report
	err = c.with(ctx, std, func(v *connection) error {
		to, err := c.sink(ctx, v, csv.NewWriter(tokens), c.DryRun)
		if err != nil {
			return err
		}
		l, err := v.LoyaltyPrefixes(ctx, c.Brand)
		if err != nil {
			return err
		}
		if len(l.Prefixes) > 0 {
			in.Own = cards.NewOwn(l.Prefixes, l.Fields)
		}
		country, err := v.DefaultCountry(ctx, c.Brand)
		if err != nil {
			return err
		}
		in.Rules.Fallback = country.Country
		report, err = intake.Singer(ctx, to, in, o)
		return err
	})
	out := imported{Brand: c.Brand, DryRun: c.DryRun, Customers: counts(report.Customers), Purchases: counts(report.Purchases), Amounts: report.Amounts}
	if rejects.file != nil {
		out.Rejects = rejects.path
	}
	out.ended(err, &report)
	out.Customers.given = report.Purchases.Read == 0
	figures := std
	figures.Out = std.Err
	perr := c.print(figures, out, func(w io.Writer) { out.write(w) })
	if err = errors.Join(err, perr); err == nil && report.Rejected() > 0 {
		err = &rejectedError{report.Rejected(), rejects.path}
	}
	return err
}
