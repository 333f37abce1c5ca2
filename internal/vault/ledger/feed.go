package ledger

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const sqlSizes = `SELECT brand, size FROM log_heads`

// Sizes returns how many entries each log has, by one query.
func (l *Ledger) Sizes(ctx context.Context) (map[record.BrandID]uint64, error) {
	out := map[record.BrandID]uint64{}
	err := l.db.Rows(ctx, func(r db.Row) error {
		var brand, size int64
		err := r.Scan(&brand, &size)
		out[record.BrandID(brand)] = uint64(size)
		return err
	}, sqlSizes)
	if err != nil {
		return nil, fmt.Errorf("reading how long the logs are: %w", err)
	}
	return out, nil
}

// Vouch signs a text with a log's key, for what this vault writes down for itself: the
// same text always gives the same bytes, so that whoever has the key checks by signing
// again. No checkpoint and no snapshot of the log begins like what is signed.
func (l *Ledger) Vouch(ctx context.Context, brand record.BrandID, text []byte) ([]byte, error) {
	s, err := l.signer(ctx, brand)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint key of brand %d: %w", brand, err)
	}
	sig, err := s.Sign(append(fmt.Appendf(nil, "cloakroom vouches 1\n%s\n", s.Name()), text...))
	if err != nil {
		return nil, fmt.Errorf("vouching for a text: %w", err)
	}
	return sig, nil
}

// entries are those of a committed group, as reading the log gives them.
func (d *draft) entries() []follow.Entry {
	out := make([]follow.Entry, len(d.rs))
	for i, r := range d.rs {
		out[i] = follow.Entry{Index: r.index, Entry: &d.es[i], Ords: r.ords}
	}
	return out
}
