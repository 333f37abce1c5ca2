package intake

import (
	"context"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
)

// unchanged logs how much of a write changed nothing, before it is answered: who
// writes what is there already learns that it is there.
func (d *Desk) unchanged(ctx context.Context, v *admit.Visit, fields record.FieldSet, out *api.Written) error {
	n := 0
	for _, r := range out.Results {
		if r.Outcome == Unchanged.String() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	_, err := d.Ledger.Record(ctx, ledger.Event{
		Kind: entry.KindWrite, Who: v.Who, Fields: fields, Detail: map[string]string{"unchanged": strconv.Itoa(n)},
	})
	return err
}
