package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// trusted is chain.suspect where no row of the index is suspected.
const trusted = math.MaxUint64

// mistrust has the index written again from an entry on.
func (c *chain) mistrust(from uint64) {
	for {
		old := c.suspect.Load()
		if old <= from || c.suspect.CompareAndSwap(old, from) {
			return
		}
	}
}

// indexSoon writes the index beside the committer if a span is due. One that fails is
// tried again after as many entries: until then more of the log is read.
func (c *chain) indexSoon(ctx context.Context) {
	size := c.proj.size
	if size < c.indexed.Load()+c.l.opts.IndexSpan && c.suspect.Load() == trusted || !c.indexing.CompareAndSwap(false, true) {
		return
	}
	c.snaps.Go(func() {
		defer c.indexing.Store(false)
		if c.writeIndex(ctx) != nil && ctx.Err() == nil {
			c.indexed.Store(max(c.indexed.Load(), size))
		}
	})
}

// writeIndex indexes what this server knows of the log and the index does not cover. A
// kill leaves whole spans, after which the next one goes on.
func (c *chain) writeIndex(ctx context.Context) error {
	key, err := c.indexKey()
	if err != nil {
		return err
	}
	start, err := c.covered(ctx, key)
	if err != nil {
		return err
	}
	start = min(start, c.suspect.Swap(trusted))
	if places, known, kept := c.proj.recently(start); kept {
		err = c.writeRecent(ctx, key, &start, places, known)
	} else {
		err = c.writeSpans(ctx, key, &start)
	}
	if err != nil {
		c.mistrust(start)
		return err
	}
	c.indexed.Store(start)
	c.proj.forget(start)
	return nil
}

// writeRecent indexes the whole spans from start on, and moves it: of the entries up to
// known, whose places were kept.
func (c *chain) writeRecent(ctx context.Context, key []byte, start *uint64, places []place, known uint64) error {
	for {
		end := *start + c.l.opts.IndexSpan // which maxRecent are too few customers to end
		if end > known {
			return nil
		}
		n := firstOf(places, end)
		sortPlaces(places[:n])
		if err := c.writeSpan(ctx, key, *start, end, places[:n]); err != nil {
			return err
		}
		*start, places = end, places[n:]
	}
}

// writeSpans is writeRecent of entries that are read back.
func (c *chain) writeSpans(ctx context.Context, key []byte, start *uint64) error {
	_, known := c.proj.releases(nil)
	// How often everybody was released before each span is asked back from what is so
	// now; where much is to be indexed, counted from the beginning, once.
	var counts *projection
	if known > *start+backlogSpans*c.l.opts.IndexSpan {
		counts = newProjection()
		err := c.l.pages(ctx, c.brand, 0, *start, sqlReadEntries, scanEntries, func(it item) error {
			e, ords, err := it.open()
			if err == nil && it.index < *start && released(e.Kind) {
				counts.count(ords)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var places []place
	return c.l.pages(ctx, c.brand, *start, known, sqlReadEntries, scanEntries, func(it item) error {
		if it.index >= known {
			return nil
		}
		e, ords, err := it.open()
		if err != nil {
			return err
		}
		for _, o := range ords {
			places = append(places, place{ord: o, index: it.index, released: released(e.Kind), alone: len(ords) == 1})
		}
		end := it.index + 1
		if end-*start < c.l.opts.IndexSpan && len(places) < spanCustomers {
			return nil
		}
		before := func(ord record.Ordinal) uint32 { return counts.counter(ord) }
		if counts == nil {
			var all entry.Set
			for _, p := range places {
				all.Add(p.ord)
			}
			then, err := c.tally(ctx, *start, &all)
			if err != nil {
				return err
			}
			before = func(ord record.Ordinal) uint32 { return then[ord] }
		}
		sortPlaces(places)
		for i := range places {
			if i == 0 || places[i].ord != places[i-1].ord {
				places[i].before = before(places[i].ord)
			}
		}
		if err := c.writeSpan(ctx, key, *start, end, places); err != nil {
			return err
		}
		if counts != nil {
			for _, p := range places {
				if p.released {
					counts.count([]record.Ordinal{p.ord})
				}
			}
		}
		*start, places = end, places[:0]
		return nil
	})
}

// covered returns how far the newest row says that the index reaches.
func (c *chain) covered(ctx context.Context, key []byte) (uint64, error) {
	var first uint64
	var data []byte
	err := c.l.db.Row(ctx, sqlNewestSpan, int64(c.brand)).Scan(&first, &data)
	if errors.Is(err, db.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the index of the log of brand %d: %w", c.brand, err)
	}
	s, err := c.openSpan(key, 0, first, data)
	if err != nil {
		return 0, nil // it is written again from the beginning
	}
	return s.end, nil
}

// sortPlaces sorts by bucket, customer and entry: as one number, whose first bits are the
// last ones of the customer's. Of large entries there are hundreds of thousands.
func sortPlaces(places []place) {
	slices.SortFunc(places, func(a, b place) int {
		if x, y := bits.RotateLeft32(uint32(a.ord), -bucketBits), bits.RotateLeft32(uint32(b.ord), -bucketBits); x != y {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(a.index, b.index)
	})
}

// writeSpan writes the rows of a span, whose places are sorted, in one transaction.
func (c *chain) writeSpan(ctx context.Context, key []byte, first, end uint64, places []place) error {
	stmts := make([]db.Stmt, indexBuckets)
	rest := places
	for b := range stmts {
		n := 0
		for n < len(rest) && bucketOf(rest[n].ord) == b {
			n++
		}
		stmts[b] = db.Stmt{SQL: sqlWriteIndex, Args: []any{int64(c.brand), b, first, c.encodeSpan(key, b, first, end, rest[:n])}}
		rest = rest[n:]
	}
	if err := c.l.db.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, stmts) }); err != nil {
		return fmt.Errorf("writing the index of the log of brand %d: %w", c.brand, err)
	}
	return nil
}
