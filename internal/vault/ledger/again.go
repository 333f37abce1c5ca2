package ledger

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Released returns the receipt of a release that was logged before, with what its entry
// says: for what leaves later than its entry, such as mail in a queue, on any server and
// after a restart. The entry is held against the signed checkpoint: one that somebody wrote
// into the database releases nothing.
func (l *Ledger) Released(ctx context.Context, brand record.BrandID, index uint64) (Receipt, entry.Entry, error) {
	var none entry.Entry
	cp, err := l.Checkpoint(ctx, brand)
	if err != nil {
		return Receipt{}, none, err
	}
	vkey, err := l.LogKey(ctx, brand)
	if err != nil {
		return Receipt{}, none, err
	}
	tree, err := CheckpointRoot(vkey, cp)
	if err != nil {
		return Receipt{}, none, err
	}
	it, err := l.rows(ctx, brand).item(index)
	if err != nil {
		return Receipt{}, none, err
	}
	proof, err := l.Inclusion(ctx, brand, index, uint64(tree.N))
	if err != nil {
		return Receipt{}, none, err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(it.leaf)); err != nil {
		return Receipt{}, none, fmt.Errorf("entry %d is not in the signed log: %w", index, ErrTampered)
	}
	e, ords, err := l.prover(ctx, brand).open(&it)
	if err != nil {
		return Receipt{}, none, err
	}
	if !released(e.Kind) || e.Bare() {
		return Receipt{}, none, ErrNotLogged
	}
	return Receipt{brand: brand, kind: e.Kind, index: index, size: uint64(tree.N), at: e.At, fields: e.Fields, ords: ords}, e, nil
}
