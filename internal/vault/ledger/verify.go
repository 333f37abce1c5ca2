package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// tiles serves a brand's log as of one checkpoint.
type tiles struct {
	l          *Ledger
	brand      record.BrandID
	checkpoint []byte
}

// ReadFile implements evidence.Source.
func (t tiles) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if path == "checkpoint" {
		return t.checkpoint, nil
	}
	b, err := t.l.Tile(ctx, t.brand, path)
	if errors.Is(err, ErrNoEntry) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return b, err
}

const sqlBeyondHead = `SELECT count(*) FROM log_groups g WHERE g.brand = $1 AND g.first >= (SELECT max(t.size) FROM log_tips t WHERE t.brand = $1)`

const sqlListCheckpoints = `SELECT size, checkpoint FROM log_checkpoints WHERE brand = $1 ORDER BY size`

// Report is what Verify found.
type Report struct {
	evidence.Report
	Erased uint64 // entries whose values are erased
}

// Verify replays a brand's log from its first entry: the tree against its signed
// checkpoint, against every checkpoint that was kept, and against the caller's older
// one if it is not nil; and the list of customers and the values of every entry against
// the digests that the entry carries.
func (l *Ledger) Verify(ctx context.Context, brand record.BrandID, older []byte) (Report, error) {
	var report Report
	vkey, err := l.verifierKey(ctx, brand)
	if err != nil {
		return report, err
	}
	_, at, cp, err := l.headAt(ctx, brand)
	if err != nil {
		return report, err
	}
	if report.Report, err = evidence.Verify(ctx, tiles{l, brand, cp}, vkey, older, nil); err != nil {
		return report, err
	}
	if report.Erased, err = l.beside(ctx, brand, report.Size, erasableAt(at)); err != nil {
		return report, err
	}
	var beyond int64
	if err := l.db.Row(ctx, sqlBeyondHead, int64(brand)).Scan(&beyond); err != nil {
		return report, fmt.Errorf("reading what lies beyond the head: %w", err)
	}
	if beyond > 0 {
		return report, fmt.Errorf("%d groups of entries lie beyond the head, where nobody signed them: %w", beyond, ErrTampered)
	}
	type kept struct {
		size uint64
		cp   []byte
	}
	var all []kept
	err = l.db.Rows(ctx, func(r db.Row) error {
		var k kept
		err := r.Scan(&k.size, &k.cp)
		all = append(all, k)
		return err
	}, sqlListCheckpoints, int64(brand))
	if err != nil {
		return report, fmt.Errorf("reading the checkpoints that were kept: %w", err)
	}
	for _, k := range all {
		tree, err := CheckpointRoot(vkey, k.cp)
		if err != nil {
			return report, fmt.Errorf("the checkpoint kept at %d: %w: %w", k.size, ErrTampered, err)
		}
		root, err := tlog.TreeHash(tree.N, l.rows(ctx, brand))
		if err != nil || root != tree.Hash || uint64(tree.N) != k.size {
			return report, errors.Join(fmt.Errorf("the checkpoint kept at %d is not of these entries: %w", k.size, ErrTampered), err)
		}
	}
	return report, nil
}

// beside holds what lies beside the leaves against them, and counts the entries whose
// values are erased: none of a day that is not before the one given may be.
func (l *Ledger) beside(ctx context.Context, brand record.BrandID, size uint64, erasable uint32) (erased uint64, err error) {
	o := l.opener(ctx, l.db, brand)
	err = l.pages(ctx, brand, 0, size, sqlReadEntries, scanEntries, func(it item) error {
		if it.index >= size { // logged meanwhile
			return nil
		}
		bare, err := beside(o, &it, erasable)
		if bare {
			erased++
		}
		return err
	})
	return erased, err
}

// beside holds what lies beside one leaf against it, and reports whether its values are
// erased.
func beside(o *opener, it *item, erasable uint32) (erased bool, err error) {
	e, _, err := o.open(it)
	switch {
	case errors.Is(err, entry.ErrNewer):
		return false, nil // a report says so
	case err != nil:
		return false, err
	case e.Bare() && entry.Day(e.At) >= erasable:
		return false, it.gone()
	case e.Bare():
		return true, nil
	case it.plain == nil:
		return false, nil
	}
	if err := e.Check(it.plain); err != nil {
		return false, fmt.Errorf("entry %d: %w: %w", it.index, ErrTampered, err)
	}
	return false, nil
}

// WriteTiles writes a brand's log into a directory as C2SP tlog-tiles has it, with
// the verifier key beside it in log.vkey. It writes the checkpoint last, so that what
// a kill leaves behind is no log that seems whole. progress may be nil.
func (l *Ledger) WriteTiles(ctx context.Context, brand record.BrandID, dir string, progress func(done, all int)) error {
	vkey, err := l.VerifierKey(ctx, brand)
	if err != nil {
		return err
	}
	cp, err := l.Checkpoint(ctx, brand)
	if err != nil {
		return err
	}
	return WriteTiles(ctx, tiles{l, brand, cp}, vkey, dir, progress)
}

// WriteTiles copies a log from any source, after reading its checkpoint with the key.
func WriteTiles(ctx context.Context, src evidence.Source, vkey, dir string, progress func(done, all int)) error {
	cp, err := src.ReadFile(ctx, "checkpoint")
	if err != nil {
		return err
	}
	tree, err := CheckpointRoot(vkey, cp)
	if err != nil {
		return err
	}
	want := tlog.NewTiles(torchwood.TileHeight, 0, tree.N)
	for i, n := int64(0), (tree.N+torchwood.TileWidth-1)/torchwood.TileWidth; i < n; i++ {
		want = append(want, tlog.Tile{H: torchwood.TileHeight, L: -1, N: i, W: int(min(torchwood.TileWidth, tree.N-i*torchwood.TileWidth))})
	}
	for i, t := range want {
		if err := copyFile(ctx, src, dir, torchwood.TilePath(t)); err != nil {
			return err
		}
		if progress != nil {
			progress(i+1, len(want))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	for name, b := range map[string][]byte{"log.vkey": []byte(vkey + "\n"), "checkpoint": cp} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("writing the log: %w", err)
		}
	}
	return nil
}

func copyFile(ctx context.Context, src evidence.Source, dir, name string) error {
	b, err := src.ReadFile(ctx, name)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(path.Dir(name))), 0o755); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), b, 0o644); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}
