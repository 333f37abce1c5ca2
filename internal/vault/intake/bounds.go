package intake

import (
	"context"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// A write counts in two budgets: existing customers whose stored profile changes in that
// of writes, and rows whose answer tells whether somebody is a customer in that of
// searches. New customers and new purchases are free. So that no refusal tells one from
// the other either:
//
//   - a write is refused before anybody is looked for where there is no room for one row;
//   - one with room for each of its rows is refused, if others take that room meanwhile,
//     whoever its rows are;
//   - one in between pays a search before it looks, and then counts as it is: its refusal
//     tells one thing about all of its rows, and that is what the search bought.

// room asks for the room that a write needs, and pays the search where there is not room
// for each of its rows. paid says that this write has paid.
func (w *pending) room(ctx context.Context, paid bool) ([]ledger.Room, bool, error) {
	rooms := func(n int) (out []ledger.Room) {
		for _, c := range w.rooms {
			out = append(out, ledger.Room{Class: c, N: n})
		}
		return out
	}
	all, one := rooms(w.rows), rooms(1)
	l := w.d.Ledger
	switch err := l.Fits(ctx, w.v.Who, all, w.rows); {
	case paid:
		return one, true, nil
	case err == nil:
		return all, false, nil
	case !ledger.Refused(err):
		return nil, false, err
	}
	if err := l.Fits(ctx, w.v.Who, one, w.rows); err != nil {
		if ledger.Refused(err) {
			l.RefusedByBudget(ctx, w.v.Who, w.kind.String(), err)
		}
		return nil, false, err
	}
	_, err := l.Record(ctx, ledger.Event{Kind: entry.KindWrite, Who: w.v.Who, Ticket: w.ticket, Fields: w.fields, Rooms: one, Rows: w.rows,
		Detail: entry.Written{Wrote: entry.Wrote{Met: 1, Tried: w.rows}}})
	return one, true, err
}

// log logs what was prepared: whom it concerns, and what it counts.
func (w *pending) log(ctx context.Context, rooms []ledger.Room) (err error) {
	ords := w.p.Ords()
	ch := w.p.Changes()
	d := entry.Wrote{New: ch.Made, Changed: len(ch.Profile), Mails: ch.Mails, Unchanged: w.p.Unchanged()}
	ev := ledger.Event{Kind: w.kind, Who: w.v.Who, Ticket: w.ticket, Fields: w.fields, Ords: ords, Rooms: rooms}
	if len(ords) > 0 {
		ev.Commit = w.p.Commitment(w.fields)
	}
	d.Withheld, d.Unkept = w.p.Stays()
	d.Returned, d.Relationship = w.p.Returned(), w.relationship
	switch {
	case w.owner:
		d.By = entry.ByOwner
	case w.under != nil:
		d.By, d.Approval, ev.Rows, ev.Most = entry.ByApproval, w.under.ID, w.rows, w.under.Limits()
	case w.bounded:
		ev.Rows = w.rows
		for i := range w.rows {
			if w.tells(i) {
				d.Met++
			}
		}
	}
	if len(ch.Profile) > 0 && (w.bounded || w.under != nil) {
		ev.Class = budget.Write.String()
	}
	d.Who = entry.Who(ch.Profile, ords)
	d.Mark = w.d.mark(w.v.Brand.ID, w.mixing.met)
	switch w.kind {
	case entry.KindImport:
		ev.Detail = entry.Imported{Wrote: d}
	default:
		ev.Detail = entry.Written{Wrote: d}
	}
	if len(ords) == 0 && d.Met == 0 && d.Unchanged == 0 && len(rooms) == 0 && w.under == nil && d.Withheld == 0 {
		return nil
	}
	w.receipt, err = w.d.Ledger.Record(ctx, ev)
	return err
}

// mark seals how many canaries a write met.
func (d *Desk) mark(brand record.BrandID, met int) string {
	if d.Canaries == nil {
		return ""
	}
	return d.Canaries.Mark(brand, met)
}
