package campaign

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// onLetters are the fields that a letter needs.
var onLetters = record.Fields(record.GivenName, record.FamilyName, record.Street, record.PostalCode, record.City, record.Region, record.Country)

func (d *Desk) printText(ctx context.Context, o change.Order, p printer) (out change.Text, err error) {
	j, err := d.job(ctx, o.Who.Brand, p.ID)
	if err != nil {
		return out, err
	}
	out.Title = fmt.Sprintf("Hand the names and addresses of people without working mail in campaign %d to %s", j.ID, p.Recipient)
	lines, _, err := d.figures(ctx, j)
	out.Lines = append(lines, "country of the print house: "+p.Country, "fields: "+onLetters.String())
	return out, err
}

func (d *Desk) applyPrint(ctx context.Context, o change.Order, p printer) (*api.MailJob, error) {
	j, err := d.job(ctx, o.Who.Brand, p.ID)
	if err != nil {
		return nil, err
	}
	if j.State != message.Running {
		return nil, message.ErrState
	}
	j.Printer = p.Recipient + "\n" + p.Country
	if err := d.move(ctx, j, message.Running, o.Who, "print-house", o.Ticket); err != nil {
		return nil, err
	}
	return d.shown(revision.Unbound(ctx), j)
}

// PrintHouse asks another person to approve the print house of the letters.
func (d *Desk) PrintHouse(ctx context.Context, c identity.Caller, brand string, id uint64, req api.PrintRequest) (*api.MailJob, error) {
	v, j, err := d.mine(ctx, c, brand, id, api.JobStepRequest{Ticket: req.Ticket})
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("recipient", req.Recipient); err != nil {
		return nil, err
	}
	if req.Country != "" {
		if req.Country, err = record.ReadCountry(req.Country); err != nil {
			return nil, err
		}
	}
	if j.State != message.Running {
		return nil, message.ErrState
	}
	return d.print.Do(ctx, v, req.Ticket, printer{id, req.Recipient, req.Country})
}

// Letters hands a page of letters to the print house that two people approved: logged
// first, to it as recipient, and marked as handed before the page leaves.
func (d *Desk) Letters(ctx context.Context, c identity.Caller, brand string, id uint64, req api.PrintRequest) (*api.PrintPage, error) {
	v, j, err := d.mine(ctx, c, brand, id, api.JobStepRequest{Ticket: req.Ticket})
	if err != nil {
		return nil, err
	}
	if j.Printer == "" || j.Printer != req.Recipient+"\n"+req.Country {
		return nil, ErrPrinter
	}
	if err := d.Messages.Holds(ctx, j); err != nil {
		return nil, err
	}
	set, err := d.members(ctx, j)
	if err != nil {
		return nil, err
	}
	own, err := message.Domain(v.Brand.Settings.MailFrom)
	if err != nil {
		return nil, err
	}
	t, err := d.Messages.Template(ctx, j.Brand, j.Template, j.Version, own)
	if err != nil {
		return nil, err
	}
	g, err := d.grant(ctx, j, onLetters|t.Fields())
	if err != nil {
		return nil, err
	}
	list, err := d.Messages.Store.Letters(ctx, id, record.Ordinal(req.After), letterPiece)
	if err != nil {
		return nil, err
	}
	out := &api.PrintPage{Letters: []api.Letter{}}
	var ords []record.Ordinal
	by := map[record.Ordinal]message.Letter{}
	for _, l := range list {
		if !set.Has(l.Ord) {
			return nil, message.ErrForged
		}
		ords, by[l.Ord] = append(ords, l.Ord), l
	}
	if len(list) == letterPiece {
		out.Next = uint64(list[len(list)-1].Ord)
	}
	u, err := d.Disclose.Seal.There(ctx, j.Brand, ords, g.Fields())
	if err != nil || len(u.Ords()) == 0 {
		return out, err
	}
	var r *disclose.Released
	if r, err = d.Disclose.Release(ctx, u, nil, ledger.Release{Grant: g, Class: budget.Campaign, Ticket: req.Ticket, Most: most(j),
		Recipient: ledger.Recipient{Name: req.Recipient, Country: req.Country},
		Detail:    entry.Mailed{Job: j.ID, Template: j.Versioned(), Campaign: true, Print: true}}); err != nil {
		return nil, err
	}
	customers, err := r.Open(ctx, u)
	if err != nil {
		return nil, err
	}
	there := u.Ords()
	var handed []message.Letter
	for i := range customers {
		l := by[there[i]]
		text, code, err := d.Messages.Store.Text(ctx, t, id, l.Ord, l.Version, &customers[i], &v.Brand)
		if err != nil {
			return nil, err
		}
		fields := api.Fields{}
		for _, f := range onLetters.List() {
			if x := customers[i].Fields[f.String()]; x != "" {
				fields[f.String()] = x
			}
		}
		out.Letters = append(out.Letters, api.Letter{Row: uint64(l.Ord), Why: l.Why, Code: code, Fields: fields, Subject: text.Subject, Text: text.Text})
		handed = append(handed, l)
	}
	unbound := revision.Unbound(ctx)
	now, err := d.DB.Now(unbound)
	if err != nil {
		return nil, err
	}
	err = d.DB.Tx(unbound, func(q db.Queryer) error {
		_, err := d.Messages.Store.Print(unbound, q, id, handed, message.Handed, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Printed says that letters were printed, or came back.
func (d *Desk) Printed(ctx context.Context, c identity.Caller, brand string, id uint64, req api.PrintedRequest) (*api.PrintedAnswer, error) {
	v, j, err := d.mine(ctx, c, brand, id, api.JobStepRequest{})
	if err != nil {
		return nil, err
	}
	to := map[string]int{"printed": message.Printed, "returned": message.Returned}[req.As]
	if to == 0 {
		return nil, message.ErrState
	}
	var list []message.Letter
	for _, row := range req.Rows {
		if row == 0 || row >= uint64(record.FirstNobody) {
			return nil, message.ErrNone
		}
		n, err := d.Messages.Newest(ctx, id, record.Ordinal(row))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, message.ErrNone
		}
		list = append(list, message.Letter{Ord: record.Ordinal(row), Version: n})
	}
	out := &api.PrintedAnswer{}
	ev := message.Step(j, v.Who, req.As)
	_, err = d.Changes.Make(ctx, ev, func(q db.Queryer, at time.Time) error {
		n, err := d.Messages.Store.Print(ctx, q, id, list, to, at)
		out.Letters = n
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
