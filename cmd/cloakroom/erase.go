package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

type eraseCmd struct {
	forBrand
	Yes        bool   `help:"Erase; without it, only show what would be erased."`
	Now        bool   `help:"Ask to destroy the key without a cooling time; a second person approves it."`
	ByCustomer bool   `name:"by-customer" help:"The customer asked for it and was proven to be them: print a code with which they alone take it back."`
	Ticket     string `help:"Ticket of the request, with --now." placeholder:"TICKET"`
	Token      string `arg:"" help:"Customer token."`
}

// Help is the long help text.
func (eraseCmd) Help() string {
	return `From now on nobody reads, finds or counts the customer. Their key lies aside for the
brand's cooling time (cloakroom erasure cooling), in which the erasure can be taken back:
by two people, or, where the customer asked for it (--by-customer), by the customer alone,
with the code that this prints once and an address of theirs.

Then the key, the records and the former values are destroyed. A copy of the data tables without customer_keys
is dead with that. A full copy of the database from before still opens with root.key until both keys were replaced since:
cloakroom key rotate --brand B, then cloakroom key rotate-root.`
}

// Run erases a customer, or says that it would.
func (c *eraseCmd) Run(ctx context.Context, std Streams) error {
	if !c.Yes {
		would := map[string]any{"dry_run": true, "brand": c.Brand, "token": c.Token}
		return c.print(std, would, func(w io.Writer) {
			fmt.Fprintf(w, "Would erase %s of %s: the key, the records, the indexes, the former values. Until the cooling time is over it can be taken back, afterwards not. Add --yes to do it.\n", c.Token, c.Brand)
			fmt.Fprintln(w, "Full copies of the database from before, older copies of customer_keys too, open until the keys are rotated: cloakroom key rotate, key rotate-root.")
		})
	}
	if c.Now {
		call := func(v *connection) (*api.ErasuresDone, error) {
			return v.EraseNow(ctx, c.Brand, api.EraseNow{Tokens: []string{c.Token}, Ticket: c.Ticket})
		}
		return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.ErasuresDone) {
			fmt.Fprintf(w, "the keys of %d customers of %s are destroyed\n", len(out.Tokens), out.Brand)
		})
	}
	call := func(v *connection) (*api.Erased, error) {
		if c.ByCustomer {
			return v.EraseFor(ctx, c.Brand, c.Token)
		}
		return v.Erase(ctx, c.Brand, c.Token)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Erased) {
		fmt.Fprintf(w, "erased %s; logged as entry %d of %s\n", out.Token, out.Receipt.Entry, out.Receipt.Brand)
		if !out.Due.IsZero() {
			fmt.Fprintf(w, "nobody can read or find them; the key is destroyed on %s, and until then the erasure can be taken back\n", out.Due.Format(time.DateOnly))
		}
		if out.Held {
			fmt.Fprintln(w, "a legal hold keeps the key beyond that day: the data is restricted (GDPR Art. 18), and destroyed when the hold is released; tell the customer so")
		}
		if out.TakeBackCode != "" {
			fmt.Fprintf(w, "take-back code, shown once, for the confirmation to the customer: %s\n", out.TakeBackCode)
		}
	})
}

type erasureCmd struct {
	List     erasureListCmd     `cmd:"" help:"List erasures that can still be taken back."`
	Undo     erasureUndoCmd     `cmd:"" help:"Ask to take back what staff erased; a second person approves it."`
	TakeBack erasureTakeBackCmd `cmd:"" name:"take-back" help:"Take back what a customer asked for, with their code and address."`
	Cooling  erasureCoolingCmd  `cmd:"" help:"The setting cooling_days alone: see settings."`

	Tombstones erasureTombstonesCmd `cmd:"" help:"The setting tombstone_days alone: see settings."`
	Withheld   withheldCmd          `cmd:"" help:"Decide about rows that were kept out."`
}

type erasureListCmd struct{ forBrand }

// Run lists erasures that cool.
func (c *erasureListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Erasures, error) {
		all := &api.Erasures{Erasures: []api.Cooling{}}
		for after := uint64(0); ; {
			page, err := v.Erasures(ctx, c.Brand, after, 0)
			if err != nil {
				return nil, err
			}
			all.Erasures = append(all.Erasures, page.Erasures...)
			if after = page.Next; after == 0 {
				return all, nil
			}
		}
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list *api.Erasures) {
		for _, x := range list.Erasures {
			who := "two people take it back"
			if x.ByCustomer {
				who = "the customer takes it back"
			}
			destroyed := "destroyed " + x.Due.Format(time.DateOnly)
			if x.Held {
				destroyed = "kept by a legal hold"
			}
			fmt.Fprintf(w, "%s\tbegun %s\t%s\t%s\n", x.Token, x.Begun.Format(time.DateOnly), destroyed, who)
		}
		fmt.Fprintf(w, "%d erasures can still be taken back\n", len(list.Erasures))
	})
}

type erasureUndoCmd struct {
	forBrand
	Tokens []string `arg:"" optional:"" name:"token" help:"Customer tokens."`
	From   uint64   `name:"from-entry" help:"All whose erasure staff began by entries of the log from this one." placeholder:"N"`
	To     uint64   `name:"to-entry" help:"The last such entry." placeholder:"N"`
	Ticket string   `help:"Ticket of the request." placeholder:"TICKET"`
}

// Help is the long help text.
func (erasureUndoCmd) Help() string {
	return `Takes back erasures that cool, also many at once: those that an attacker began. What
customers asked for is left; they take it back themselves. The command exits with status 5
until a second person has approved the change.`
}

// Run asks to take erasures back.
func (c *erasureUndoCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.ErasuresDone, error) {
		return v.UndoErasures(ctx, c.Brand, api.ErasureUndo{Tokens: c.Tokens, FromEntry: c.From, ToEntry: c.To, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.ErasuresDone) {
		fmt.Fprintf(w, "%d customers of %s are there again\n", len(out.Tokens), out.Brand)
	})
}

type erasureTakeBackCmd struct {
	forBrand
	Code    string `required:"" help:"The code of the confirmation; - reads it from standard input."`
	Address string `required:"" help:"The customer's e-mail address, phone number or postal code; - reads it from standard input after the code."`
	Country string `help:"For a phone number without its country." placeholder:"CC"`
}

// Help is the long help text.
func (erasureTakeBackCmd) Help() string {
	return `The customer sends back the code of their confirmation and names an address that the
vault had of them. Both must be right: a wrong pair is answered as for a stranger.

Example: cloakroom erasure take-back --brand gucci --code - --address - < answer.txt`
}

// Run takes an erasure back.
func (c *erasureTakeBackCmd) Run(ctx context.Context, std Streams) error {
	in := bufio.NewScanner(std.In)
	for _, v := range []*string{&c.Code, &c.Address} {
		if *v == "-" && in.Scan() {
			*v = strings.TrimSpace(in.Text())
		}
	}
	call := func(v *connection) (*api.Erased, error) {
		return v.TakeBackErasure(ctx, c.Brand, api.TakeBackRequest{Code: c.Code, Address: c.Address, Country: c.Country})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Erased) {
		fmt.Fprintf(w, "%s is there again; logged as entry %d of %s\n", out.Token, out.Receipt.Entry, out.Receipt.Brand)
	})
}

type erasureCoolingCmd struct {
	forBrand
	Days *int `help:"Set it: 0 to 21 days; 0 destroys keys at once." placeholder:"N"`
}

// Run shows or sets the cooling time.
func (c *erasureCoolingCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.ErasureCooling, error) {
		if c.Days != nil {
			return v.SetErasureCooling(ctx, c.Brand, api.ErasureCooling{Days: *c.Days})
		}
		return v.ErasureCooling(ctx, c.Brand)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.ErasureCooling) {
		fmt.Fprintf(w, "keys of erased customers of %s lie aside for %d days\n", c.Brand, out.Days)
	})
}
