package evidence

import (
	"context"
	"errors"
	"fmt"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// replay reads a log once, from its first entry to its last. What it finds wrong
// with an entry or a tile it keeps until the end: only the root says whether that
// was done before the signing or after.
type replay struct {
	src   Source
	key   *key
	head  torchwood.Checkpoint
	older *torchwood.Checkpoint
	each  func(index uint64, e Entry) error

	tree      tree
	brand     record.BrandID
	report    Report
	root      tlog.Hash
	olderRoot tlog.Hash
	marked    bool  // olderRoot is that of the older checkpoint's size
	entry     error // the first entry that is not valid
	tile      error // the first tile that is not the one computed
}

func newReplay(src Source, key *key, head torchwood.Checkpoint, each func(uint64, Entry) error) *replay {
	return &replay{src: src, key: key, head: head, each: each, report: Report{
		Origin: head.Origin, Size: uint64(head.N), Counts: map[Kind]uint64{},
	}}
}

// run reads everything. Its errors are those after which nothing more can be read;
// verdict has the others.
func (r *replay) run(ctx context.Context) error {
	if err := r.mark(); err != nil {
		return err
	}
	for r.tree.size < r.head.N {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.bundle(ctx); err != nil {
			return err
		}
	}
	for _, row := range r.tree.partial() {
		if err := r.check(ctx, row); err != nil {
			return err
		}
	}
	var err error
	r.root, err = r.tree.root()
	if err != nil {
		return fmt.Errorf("computing the root: %w", err)
	}
	return nil
}

// mark keeps the root at the size of the older checkpoint.
func (r *replay) mark() error {
	if r.older == nil || r.tree.size != r.older.N {
		return nil
	}
	var err error
	if r.olderRoot, err = r.tree.root(); err != nil {
		return fmt.Errorf("computing the root of the first %d entries: %w", r.older.N, err)
	}
	r.marked = true
	return nil
}

// bundle reads the next entry bundle.
func (r *replay) bundle(ctx context.Context) error {
	first := r.tree.size
	width := min(torchwood.TileWidth, r.head.N-first)
	t := tlog.Tile{H: torchwood.TileHeight, L: -1, N: first / torchwood.TileWidth, W: int(width)}
	rest, path, full, err := readTile(ctx, r.src, t, r.head.N)
	if err != nil {
		return err
	}
	for range width {
		at := r.tree.size
		var leaf []byte
		if leaf, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return fmt.Errorf("%w: %s ends inside entry %d; it should have %d entries from %d on: %w", ErrEntry, path, at, width, first, err)
		}
		if err := r.leaf(uint64(at), leaf, path); err != nil {
			return err
		}
		filled, err := r.tree.add(tlog.RecordHash(leaf))
		if err != nil {
			return fmt.Errorf("adding entry %d to the tree: %w", at, err)
		}
		for _, row := range filled {
			if err := r.check(ctx, row); err != nil {
				return err
			}
		}
		if err := r.mark(); err != nil {
			return err
		}
	}
	if len(rest) > 0 && !full {
		return fmt.Errorf("%w: %s has %d bytes after its last entry %d, which no checkpoint covers", ErrEntry, path, len(rest), r.tree.size-1)
	}
	return nil
}

// leaf reads one entry. After the first that is not valid the others are only
// hashed.
func (r *replay) leaf(at uint64, leaf []byte, path string) error {
	if r.entry != nil {
		return nil
	}
	e, err := entry.Unmarshal(leaf)
	switch {
	case errors.Is(err, entry.ErrNewer):
		r.report.Newer++
		r.report.Critical++
		return nil
	case err != nil:
		r.entry = fmt.Errorf("%w: entry %d in %s cannot be read: %w", ErrEntry, at, path, err)
	case !r.report.First.IsZero() && e.Brand != r.brand:
		r.entry = fmt.Errorf("%w: entry %d in %s is of brand %d, those before it of brand %d", ErrEntry, at, path, e.Brand, r.brand)
	case e.At.Before(r.report.Last) && (e.LeafVersion() == entry.Version1 || entry.Day(e.At) < entry.Day(r.report.Last)):
		r.entry = fmt.Errorf("%w: entry %d in %s is of %s, before the entry that it follows, of %s", ErrEntry, at, path, stamp(e.At), stamp(r.report.Last))
	}
	if d, ok := e.Detail.(entry.EpochBegun); ok && r.entry == nil {
		if err := r.begin(at, d); err != nil {
			r.entry = fmt.Errorf("%w: entry %d in %s: %w", ErrEntry, at, path, err)
		}
	}
	if r.entry != nil {
		return nil
	}
	if r.report.First.IsZero() {
		r.report.First = e.At
	}
	r.brand, r.report.Last = e.Brand, e.At
	r.report.Counts[e.Kind]++
	if e.Newer() {
		if r.report.Newer++; e.Critical {
			r.report.Critical++
		}
	}
	if r.each == nil {
		return nil
	}
	return r.each(at, e)
}

// check compares a stored hash tile with the one computed from the entries.
func (r *replay) check(ctx context.Context, want row) error {
	stored, path, full, err := readTile(ctx, r.src, want.tile, r.head.N)
	if err != nil {
		return err
	}
	size := len(want.hashes) * tlog.HashSize
	if full && len(stored) > size {
		stored = stored[:size]
	}
	i := want.compare(stored)
	switch {
	case r.tile != nil || i < 0 && len(stored) == size:
	case len(stored) != size:
		r.tile = fmt.Errorf("%s has %d bytes in place of %d", path, len(stored), size)
	case want.tile.L == 0:
		at := want.tile.N*torchwood.TileWidth + int64(i)
		r.tile = fmt.Errorf("%s has another hash for entry %d than the one that stands in tile/entries", path, at)
	default:
		r.tile = fmt.Errorf("hash %d of %s is not the one that its entries give", i, path)
	}
	return nil
}

// verdict is what the whole reading amounts to. That the files are not what was
// signed comes before what is in them.
func (r *replay) verdict() error {
	switch {
	case r.root != r.head.Hash:
		return r.notSigned(r.marked && r.olderRoot != r.older.Hash)
	case r.entry == nil && r.origin() != r.head.Origin:
		r.entry = fmt.Errorf("%w: the checkpoint is of %s, and the last epoch that the entries begin is %s", ErrEntry, r.head.Origin, r.origin())
	}
	if err := r.continues(); err != nil {
		return err
	}
	switch {
	case r.entry != nil:
		return fmt.Errorf("it was signed so: %w", r.entry)
	case r.tile != nil:
		return fmt.Errorf("%w: the entries are, but the hash tiles are not: %w", ErrRoot, r.tile)
	}
	return nil
}

func (r *replay) notSigned(older bool) error {
	err := fmt.Errorf("%w: its %d entries give the root %s, and %s was signed", ErrRoot, r.head.N, r.root, r.head.Hash)
	switch {
	case older:
		err = fmt.Errorf("%w; already the first %d entries are not those of the older checkpoint", err, r.older.N)
	case r.marked:
		err = fmt.Errorf("%w; the first %d entries are still those of the older checkpoint", err, r.older.N)
	}
	if r.tile != nil {
		err = fmt.Errorf("%w; %w", err, r.tile)
	}
	if r.entry != nil {
		err = fmt.Errorf("%w; %w", err, r.entry)
	}
	return err
}
