package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cloakroom/cloakroom/api"
)

type dbCheckCmd struct{ remote }

// Help is the long help text.
func (dbCheckCmd) Help() string {
	return `Walks everything that the vault holds and prints what is wrong: the table, the
customer's ordinal, and what it is; never a value. It repairs nothing, and may run while
the vault serves; then it asks the server. With --json each fault is an object on a line
of its own, and the last line has the counts. EXIT STATUS: 0 all well, 1 something is
wrong.`
}

// checkCounts is the last line of --json.
type checkCounts struct {
	Customers int64  `json:"customers"`
	Segments  int64  `json:"segments"`
	Indexes   int64  `json:"index_entries"`
	Logs      int    `json:"logs"`
	Entries   uint64 `json:"entries"`
	Faults    int64  `json:"faults"`
	// Unadopted rows of rights stand as they were found: no fault.
	Unadopted int `json:"unadopted"`
}

// Run checks a vault.
func (c *dbCheckCmd) Run(ctx context.Context, std Streams) error {
	var n checkCounts
	err := c.with(ctx, std, func(v *connection) error {
		fault := func(f api.CheckFault) error {
			if c.JSON {
				return json.NewEncoder(std.Out).Encode(f)
			}
			where := f.Table
			if f.Ordinal != 0 {
				where += fmt.Sprintf(", ordinal %d", f.Ordinal)
			}
			_, err := fmt.Fprintf(std.Out, "%s: %s\n", where, f.What)
			return err
		}
		var place api.CheckPlace
		b := newBar(std, "customers")
		defer b.end()
		for done := false; !done; {
			out, err := v.Check(ctx, place)
			if err != nil {
				return err
			}
			b.end()
			for _, f := range out.Faults {
				if err := fault(f); err != nil {
					return err
				}
			}
			place, done = out.Next, out.Done
			b.draw(place.Customers, min(place.Ord, out.Last), out.Last)
		}
		n.Customers, n.Segments, n.Indexes, n.Faults = place.Customers, place.Segments, place.Expected, place.Faults
		rows, err := v.Unadopted(ctx, 0)
		if err != nil {
			return err
		}
		n.Unadopted = rows.Total
		list, err := v.Brands(ctx)
		if err != nil {
			return err
		}
		for _, brand := range append(list, api.Brand{Name: "group"}) {
			out, err := v.VerifyLog(ctx, brand.Name, api.VerifyRequest{})
			if err != nil {
				out.Fault = err.Error()
			}
			if err != nil || !out.OK {
				n.Faults++
				if err := fault(api.CheckFault{Table: "log_groups", What: "the log of " + brand.Name + ": " + out.Fault}); err != nil {
					return err
				}
			}
			n.Logs, n.Entries = n.Logs+1, n.Entries+out.Size
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(std.Out).Encode(n)
	} else {
		_, err = fmt.Fprintf(std.Out, "%d customers, %d segments of purchases, %d index entries, %d logs with %d entries: %d faults\n",
			n.Customers, n.Segments, n.Indexes, n.Logs, n.Entries, n.Faults)
		if err == nil && n.Unadopted > 0 {
			_, err = fmt.Fprintf(std.Out, "%s of rights stand as they were found: cloakroom db adopt\n", counted(int64(n.Unadopted), "row"))
		}
	}
	if err == nil && n.Faults > 0 {
		err = fmt.Errorf("%s found in the database", counted(n.Faults, "fault"))
	}
	return err
}
