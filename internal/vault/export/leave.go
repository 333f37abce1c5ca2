package export

import (
	"context"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// match says which of the next customers meet the export's filter: see seal.Match. The
// entry that logs the look at them comes first and names nobody: those who meet the
// filter are logged when they leave, and of the others nothing is known.
func (d *Desk) match(ctx context.Context, v *door.Visit, x *Export, f *seal.Filter) ([]record.Ordinal, record.Ordinal, error) {
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindExport, Who: v.Who, Purpose: x.Purpose, Fields: f.Fields(),
		Detail: entry.ExportGathered{Export: x.ID}})
	if err != nil {
		return nil, 0, err
	}
	return d.Seal.Match(ctx, r, x.Position, x.Bound, gatherCustomers, f)
}

// leavePiece is how many customers of a file are open at a time.
const leavePiece = 250

// leaving are the customers of one file: logged, and not opened yet.
type leaving struct {
	released *disclose.Released // nil: all were erased
	sealed   *seal.Unopened
	order    []record.Ordinal
}

// leave logs that customers leave with an approved export, in one entry. Those who were
// erased are left out. The grant is for access.ActExport, ActExtract or ActMasked.
func (d *Desk) leave(ctx context.Context, v *door.Visit, g access.Grant, own *seal.Extract, x *Export, order []record.Ordinal) (*leaving, error) {
	u, err := d.Seal.There(ctx, v.Brand.ID, order, g.Fields())
	if err != nil {
		return nil, err
	}
	l := &leaving{sealed: u, order: order}
	if len(u.Ords()) == 0 {
		return l, nil
	}
	l.released, err = d.Disclose.Release(ctx, u, own, ledger.Release{Grant: g, Class: budget.Export, Ticket: x.Ticket, Recipient: x.to(),
		Detail: entry.ExportPart{Export: x.ID}})
	return l, err
}

// each opens the customers, a few at a time, and hands each to fn as the grant has it.
func (l *leaving) each(ctx context.Context, fn func(c *api.Customer) error) error {
	for piece := range slices.Chunk(l.order, leavePiece) {
		part := l.sealed.Only(piece)
		if len(part.Ords()) == 0 {
			continue
		}
		customers, err := l.released.Open(ctx, part)
		if err != nil {
			return err
		}
		for i := range customers {
			if err := fn(&customers[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
