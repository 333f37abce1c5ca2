package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// replay verifies a log, and that it continues a checkpoint.
func (r *restore) replay(ctx context.Context, brand record.BrandID, older []byte) error {
	report, err := r.restored.Ledger.Verify(ctx, brand, older)
	if err == nil && report.Incomplete() {
		err = entry.ErrNewer
	}
	return err
}

// kept holds a log against the checkpoints that the caller kept, and marks them as used. It
// notes the newest known of those that the backup does not have all entries of.
func (r *restore) kept(ctx context.Context, l *Log, read *LogRead, used []bool) error {
	vkey, err := r.restored.Ledger.VerifierKey(ctx, l.Brand)
	if err != nil {
		return err
	}
	var lost []byte
	most := int64(0)
	for i, cp := range r.Checkpoints {
		line, _, _ := strings.Cut(string(cp), "\n")
		if name, _ := entry.SplitOrigin(line); name != r.origin+"/"+l.Name {
			continue
		}
		used[i] = true
		tree, err := ledger.CheckpointRoot(vkey, cp)
		if err != nil {
			return fmt.Errorf("the checkpoint of %s that you kept: %w", l.Name, err)
		}
		err = r.replay(ctx, l.Brand, cp)
		behind := errors.Is(err, evidence.ErrShorter)
		switch {
		case err == nil:
			read.Kept = max(read.Kept, uint64(tree.N))
		case r.AcceptLoss && (behind || errors.Is(err, evidence.ErrOlder)):
			if tree.N > most {
				most, lost = tree.N, cp
			}
		case behind && uint64(tree.N) > l.Size:
			return fmt.Errorf("the log of %s has %d entries in this backup, and the checkpoint that you kept %d: the last %d, and any erasure among them, are not in it. Take a newer log (--log-from), or add --accept-loss, knowing that", l.Name, l.Size, tree.N, uint64(tree.N)-l.Size)
		default:
			return fmt.Errorf("the log of %s: %w", l.Name, err)
		}
	}
	// What the directory has seen names what is missing, and stops nobody.
	var seen []byte
	newest := most
	for _, cp := range r.restored.Kept {
		if tree, err := ledger.CheckpointRoot(vkey, cp); err == nil && tree.N > newest {
			newest, seen = tree.N, cp
		}
	}
	if seen != nil {
		switch err := r.replay(ctx, l.Brand, seen); {
		case errors.Is(err, evidence.ErrShorter), errors.Is(err, evidence.ErrOlder):
			most, lost = newest, seen
		case err != nil:
			return fmt.Errorf("the log of %s: %w", l.Name, err)
		}
	}
	if lost != nil {
		read.Missing = uint64(max(0, most-int64(l.Size)))
		r.lost[l.Brand] = lost
	}
	return nil
}

// beginEpochs begins a new epoch of every log, before anything else is logged: what the
// vault logged after the backup is lost, and the servers of the old one do not take what
// comes for its continuation.
func (r *restore) beginEpochs(ctx context.Context) error {
	for i, l := range r.log.Logs {
		b := ledger.Beginning{Cause: entry.CauseRestore, By: entry.ByOwner}
		if cp := r.lost[l.Brand]; cp != nil {
			b.Kept = [][]byte{cp}
		}
		n, err := r.restored.Ledger.BeginEpoch(ctx, identity.Who{Brand: l.Brand}, b)
		if err != nil {
			return fmt.Errorf("beginning a new epoch of the log of %s: %w", l.Name, err)
		}
		r.report.Logs[i].Epoch = n
	}
	return nil
}
