package intake

import (
	"context"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// unchanged logs how much of a write changed nothing, before it is answered: who
// writes what is there already learns that it is there.
func (w *pending) unchanged(ctx context.Context) error {
	n := w.p.Unchanged()
	if n == 0 {
		return nil
	}
	_, err := w.d.Ledger.Record(ctx, ledger.Event{
		Kind: entry.KindWrite, Who: w.v.Who, Fields: w.fields, Detail: entry.Unchanged{Count: n},
	})
	return err
}
