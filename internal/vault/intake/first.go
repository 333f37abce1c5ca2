package intake

import (
	"context"
	"sync/atomic"

	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// firstLoad is an import into a vault without customers: those that it brings are not
// looked for. One who is there all the same, twice in the file or from another import,
// is found when the database refuses the second row of one external id, and ends that.
type firstLoad struct{ on atomic.Bool }

// sealed seals customers. At the first attempt of a first load it looks for none.
func (w *pending) sealed(ctx context.Context, puts []seal.Put, among *seal.Among) (*seal.Prepared, error) {
	if w.first != nil && w.first.on.Load() {
		if !w.unseen {
			w.unseen = true
			return w.d.Seal.PrepareNew(ctx, w.v.Brand.ID, puts, among)
		}
		w.first.on.Store(false)
	}
	return w.d.Seal.PrepareAmong(ctx, w.v.Brand.ID, puts, among)
}
