package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Leaf is an entry with what lies beside it, so that a reader without the vault can hold
// the one against the other.
type Leaf struct {
	Index    uint64
	Leaf     []byte // as it was hashed
	Values   []byte // of the entry, unsealed; nil where they are erased, and in version 1
	Salt     []byte // of the list of customers
	Subjects []byte // the list, encoded
	Entry    entry.Entry
	Ords     []record.Ordinal
}

// Leaves hands fn every entry below a size of a brand's log, with what lies beside it. The
// bytes are good until fn returns.
func (l *Ledger) Leaves(ctx context.Context, brand record.BrandID, size uint64, fn func(x *Leaf) error) error {
	if err := l.within(ctx, brand, size); err != nil {
		return err
	}
	o := l.opener(ctx, l.db, brand)
	err := l.pages(ctx, brand, 0, size, sqlReadEntries, scanEntries, func(it item) error {
		if it.index >= size { // logged since
			return errEnough
		}
		e, ords, err := o.open(&it)
		if err != nil {
			return err
		}
		x := &Leaf{Index: it.index, Leaf: it.leaf, Values: it.plain, Entry: e, Ords: ords}
		if len(it.encoded) > 0 {
			x.Salt, x.Subjects = it.salt[:], it.encoded
		}
		return fn(x)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

var errEnough = errors.New("enough of the log was read")

const sqlKeptCheckpoints = `SELECT checkpoint FROM log_checkpoints WHERE brand = $1 AND size > 0 AND size < $2 ORDER BY size DESC LIMIT $3`

// Kept returns the newest checkpoints that a log kept of sizes below one, at most so many.
func (l *Ledger) Kept(ctx context.Context, brand record.BrandID, size uint64, most int) (out [][]byte, err error) {
	err = l.db.Rows(ctx, func(r db.Row) error {
		var cp []byte
		err := r.Scan(&cp)
		out = append(out, cp)
		return err
	}, sqlKeptCheckpoints, int64(brand), size, most)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoints that were kept: %w", err)
	}
	return out, nil
}

// LogKey returns the public key of a log's first epoch, as text. With package evidence it
// verifies every epoch.
func (l *Ledger) LogKey(ctx context.Context, brand record.BrandID) (string, error) {
	return l.verifierKey(ctx, brand)
}

// ErrNotEvidence is returned for a text that the key of a log must not sign.
var ErrNotEvidence = fault.New(fault.Internal, "not the manifest of evidence")

// SignManifest signs the manifest of a file of evidence with the key of a log. The key also
// signs checkpoints, whose first line is the name of a log: a manifest's first line is
// evidence.ManifestHeader, so that no reader takes one for the other.
func (l *Ledger) SignManifest(ctx context.Context, brand record.BrandID, text string) ([]byte, error) {
	if !strings.HasPrefix(text, evidence.ManifestHeader+"\n") {
		return nil, ErrNotEvidence
	}
	s, err := l.signer(ctx, brand)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint key of brand %d: %w", brand, err)
	}
	return note.Sign(&note.Note{Text: text}, s)
}
