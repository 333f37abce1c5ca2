package intake

import (
	"context"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// TakenError is returned where customers that were to be new are there already. At has
// their places in what was to be written.
type TakenError struct{ At []int }

func (*TakenError) Error() string { return "a customer of this external id is there already" }

// Fresh makes customers that must not be there yet, for a visit that was let do so, as
// any import does: checked, logged, sealed. Before they are there for anybody, known is
// told their ordinals, in the order of puts; again with others where a write has to be
// prepared anew. Ordinals that come to nothing are never another customer's.
func (d *Desk) Fresh(ctx context.Context, v *door.Visit, puts []seal.Put, known func(context.Context, []record.Ordinal) error) (ledger.Receipt, error) {
	w := d.puts(v, puts)
	w.kind, w.plain = entry.KindImport, true
	for i := range puts {
		puts[i].Returns = true // invented
	}
	prepare := w.prepare
	w.prepare = func(ctx context.Context) (*seal.Prepared, error) {
		p, err := prepare(ctx)
		if err != nil {
			return nil, err
		}
		ords := make([]record.Ordinal, len(puts))
		var taken TakenError
		for i := range puts {
			switch ords[i] = p.Ord(i); {
			case p.Err(i) != nil:
				return nil, p.Err(i)
			case p.Outcome(i) != seal.Created:
				taken.At = append(taken.At, i)
			}
		}
		if len(taken.At) > 0 {
			return nil, &taken
		}
		return p, known(ctx, ords)
	}
	if err := w.begin(ctx); err != nil {
		return ledger.Receipt{}, err
	}
	return w.receipt, w.finish(ctx)
}
