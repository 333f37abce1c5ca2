package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

const sqlSizes = `SELECT h.brand, (SELECT max(t.size) FROM log_tips t WHERE t.brand = h.brand) FROM log_heads h`

// Sizes returns how many entries each log has, by one query.
func (l *Ledger) Sizes(ctx context.Context) (map[record.BrandID]uint64, error) {
	out := map[record.BrandID]uint64{}
	err := l.db.Rows(ctx, func(r db.Row) error {
		var brand int64
		var size *int64 // none of a log whose newest rows somebody removed
		err := r.Scan(&brand, &size)
		if size != nil {
			out[record.BrandID(brand)] = uint64(*size)
		}
		return err
	}, sqlSizes)
	if err != nil {
		return nil, fmt.Errorf("reading how long the logs are: %w", err)
	}
	return out, nil
}

// Secret derives a secret from a log's key for one use: what this vault writes down for
// itself is sealed under it, so that it cannot be read or changed from outside. It is the
// hash of a signature that nobody sees, over a text that no checkpoint and no snapshot of
// the log begins like; Ed25519 signatures are deterministic.
func (l *Ledger) Secret(ctx context.Context, brand record.BrandID, use string) (secret [32]byte, err error) {
	s, err := l.signer(ctx, brand)
	if err != nil {
		return secret, fmt.Errorf("reading the checkpoint key of brand %d: %w", brand, err)
	}
	sig, err := s.Sign(fmt.Appendf(nil, "cloakroom secret 1\n%s\n%s\n", s.Name(), use))
	if err != nil {
		return secret, fmt.Errorf("deriving a secret of brand %d: %w", brand, err)
	}
	return sha256.Sum256(sig), nil
}

// CountsOf returns what an entry counts in the budgets, by class: nothing for one whose
// values are erased.
func CountsOf(e follow.Entry) []budget.Disclosure {
	if e.Bare() {
		return nil
	}
	out, err := countsOf(e.Entry, e.Ords)
	if err != nil { // the projection of the log fails at it
		return nil
	}
	return out
}

// entries are those of a committed group, as reading the log gives them.
func (d *draft) entries() []follow.Entry {
	out := make([]follow.Entry, len(d.rs))
	for i, r := range d.rs {
		out[i] = follow.Entry{Index: r.index, Entry: &d.es[i], Ords: r.ords}
	}
	return out
}
