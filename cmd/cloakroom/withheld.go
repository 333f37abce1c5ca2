package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

type erasureTombstonesCmd struct {
	forBrand
	Days *int `help:"Set it: 0 to 3650 days after the key is destroyed; 0 keeps nobody out." placeholder:"N"`
}

// Help is the long help text.
func (erasureTombstonesCmd) Help() string {
	return `A tombstone is a keyed hash of an erased customer's external id, e-mail address or phone
number. Rows with one of them stay out of the vault. A shorter time needs a second person;
customers whose keys are destroyed already keep theirs.`
}

// Run shows or sets the time of tombstones.
func (c *erasureTombstonesCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.ErasureTombstones, error) {
		if c.Days != nil {
			return v.SetErasureTombstones(ctx, c.Brand, api.ErasureTombstones{Days: *c.Days})
		}
		return v.ErasureTombstones(ctx, c.Brand)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.ErasureTombstones) {
		fmt.Fprintf(w, "erased customers of %s are kept out for %d days\n", c.Brand, out.Days)
	})
}

type withheldCmd struct {
	List   withheldListCmd   `cmd:"" help:"List rows that were kept out."`
	Admit  withheldAdmitCmd  `cmd:"" help:"Write rows as they were sent."`
	Refuse withheldRefuseCmd `cmd:"" help:"Drop rows, and keep out later ones of their external ids."`
}

type withheldListCmd struct{ forBrand }

// Help is the long help text.
func (withheldListCmd) Help() string {
	return `A row with the external id of an erased customer stays out permanently; of it the vault keeps
the external id alone. A row with only their e-mail address or phone number may be of
somebody else, such as a spouse: it waits here for 30 days, and a person admits or refuses
it. The list is logged. It needs the right to erase (role data-protection-officer).`
}

// Run lists rows that were kept out.
func (c *withheldListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.WithheldRows, error) {
		all := &api.WithheldRows{Rows: []api.WithheldRow{}}
		for after := ""; ; {
			page, err := v.Withheld(ctx, c.Brand, after, 0)
			if err != nil {
				return nil, err
			}
			all.Rows = append(all.Rows, page.Rows...)
			if after = page.Next; after == "" {
				return all, nil
			}
		}
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list *api.WithheldRows) {
		waiting := 0
		for _, x := range list.Rows {
			who, state := x.ExternalID, "stays out"
			if x.Existing {
				who = x.Token
			}
			if x.Admissible {
				waiting++
				state = "admit or refuse it"
			}
			fmt.Fprintf(w, "%s\t%s\tsame %s\tsince %s\t%s\n", x.ID, who, strings.Join(x.Matches, ", "), x.Since.Format(time.DateOnly), state)
		}
		fmt.Fprintf(w, "%d rows were withheld, %d of them wait for a decision\n", len(list.Rows), waiting)
	})
}

type withheldAdmitCmd struct {
	forBrand
	IDs    []string `arg:"" name:"id" help:"Ids of withheld rows."`
	Reason string   `required:"" help:"Why they are customers. It is logged." placeholder:"TEXT"`
	Ticket string   `help:"Ticket of the request." placeholder:"TICKET"`
}

// Run admits rows.
func (c *withheldAdmitCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.WithheldDecided, error) {
		return v.AdmitWithheld(ctx, c.Brand, api.WithheldDecision{IDs: c.IDs, Reason: c.Reason, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.WithheldDecided) {
		fmt.Fprintf(w, "%d rows of %s were written\n", out.Rows, c.Brand)
	})
}

type withheldRefuseCmd struct {
	forBrand
	IDs    []string `arg:"" name:"id" help:"Ids of withheld rows."`
	Ticket string   `help:"Ticket of the request." placeholder:"TICKET"`
}

// Run refuses rows.
func (c *withheldRefuseCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.WithheldDecided, error) {
		return v.RefuseWithheld(ctx, c.Brand, api.WithheldDecision{IDs: c.IDs, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.WithheldDecided) {
		fmt.Fprintf(w, "%d rows of %s were dropped\n", out.Rows, c.Brand)
	})
}
