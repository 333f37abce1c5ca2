package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// ErrNoEntry is returned for an index beyond the log, a size beyond it, or a path
// that names no tile of it.
var ErrNoEntry = fault.New(fault.NotFound, "the log has no such entry")

// Checkpoint returns the newest signed checkpoint of a brand.
func (l *Ledger) Checkpoint(ctx context.Context, brand record.BrandID) ([]byte, error) {
	_, cp, err := l.head(ctx, brand)
	return cp, err
}

// Size returns how many entries a brand's log has.
func (l *Ledger) Size(ctx context.Context, brand record.BrandID) (uint64, error) {
	n, _, err := l.head(ctx, brand)
	return n, err
}

// SizeIn is Size inside a transaction: in that of [Ledger.Change], the index of the entry
// that it logs.
func (l *Ledger) SizeIn(ctx context.Context, q db.Queryer, brand record.BrandID) (uint64, error) {
	n, _, _, err := l.headIn(ctx, q, brand)
	return n, err
}

func (l *Ledger) head(ctx context.Context, brand record.BrandID) (size uint64, cp []byte, err error) {
	size, _, cp, err = l.headAt(ctx, brand)
	return size, cp, err
}

func (l *Ledger) headAt(ctx context.Context, brand record.BrandID) (size uint64, at int64, cp []byte, err error) {
	return l.headIn(ctx, l.db, brand)
}

func (l *Ledger) headIn(ctx context.Context, q db.Queryer, brand record.BrandID) (size uint64, at int64, cp []byte, err error) {
	err = q.Row(ctx, sqlReadHead, int64(brand)).Scan(&size, &at, &cp)
	if errors.Is(err, db.ErrNoRows) {
		return 0, 0, nil, ErrNoLog
	}
	if err != nil {
		return 0, 0, nil, fmt.Errorf("reading the head of the log of brand %d: %w", brand, err)
	}
	return size, at, cp, nil
}

// CheckpointRoot verifies a checkpoint, of whichever epoch, with a verifier key of its log
// and returns its tree.
func CheckpointRoot(vkey string, checkpoint []byte) (tlog.Tree, error) {
	cp, err := evidence.OpenCheckpoint(vkey, checkpoint)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("verifying the checkpoint: %w", err)
	}
	return cp.Tree, nil
}

// rows reads hashes and leaves from the groups that hold them. It keeps the hashes that
// it was asked for and some of the groups that it read, and so serves one answer only.
type rows struct {
	ctx    context.Context
	l      *Ledger
	brand  record.BrandID
	kept   map[uint64]*group
	hashes map[int64]tlog.Hash
}

// maxKept bounds the groups that rows keeps.
const maxKept = 64

func (l *Ledger) rows(ctx context.Context, brand record.BrandID) *rows {
	return &rows{ctx, l, brand, map[uint64]*group{}, map[int64]tlog.Hash{}}
}

func (r *rows) group(index uint64) (*group, error) {
	for _, g := range r.kept {
		if index >= g.first && index-g.first < uint64(g.count) {
			return g, nil
		}
	}
	var g group
	err := g.scan(r.l.db.Row(r.ctx, sqlReadGroup, int64(r.brand), index))
	if errors.Is(err, db.ErrNoRows) {
		return nil, ErrNoEntry
	}
	if err != nil {
		return nil, fmt.Errorf("reading entry %d: %w", index, err)
	}
	if index-g.first >= uint64(g.count) {
		return nil, ErrNoEntry
	}
	if len(r.kept) == maxKept {
		clear(r.kept)
	}
	r.kept[g.first] = &g
	return &g, nil
}

// ReadHashes implements tlog.HashReader.
func (r *rows) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if h, ok := r.hashes[x]; ok {
			out[i] = h
			continue
		}
		level, n := tlog.SplitStoredHashIndex(x)
		g, err := r.group(uint64(n+1)<<level - 1) // the leaf that completed this subtree
		if err != nil {
			return nil, err
		}
		if out[i], err = g.hash(x); err != nil {
			return nil, err
		}
		r.hashes[x] = out[i]
	}
	return out, nil
}

func (r *rows) item(index uint64) (item, error) {
	g, err := r.group(index)
	if err != nil {
		return item{}, err
	}
	var found item
	err = g.each(func(it item) error {
		if it.index == index {
			found = it
		}
		return nil
	})
	return found, err
}

// Entry returns an entry and its leaf as it was hashed.
func (l *Ledger) Entry(ctx context.Context, brand record.BrandID, index uint64) (entry.Entry, []byte, error) {
	it, err := l.rows(ctx, brand).item(index)
	if err != nil {
		return entry.Entry{}, nil, err
	}
	e, _, err := l.prover(ctx, brand).open(&it)
	return e, it.leaf, err
}

// Inclusion proves that an entry is in the tree of a size.
func (l *Ledger) Inclusion(ctx context.Context, brand record.BrandID, index, size uint64) (tlog.RecordProof, error) {
	prove, err := l.Inclusions(ctx, brand, size)
	if err != nil {
		return nil, err
	}
	return prove(index)
}

// Inclusions returns what proves that entries are in the tree of a size: one answer's,
// because it keeps what the proofs have in common.
func (l *Ledger) Inclusions(ctx context.Context, brand record.BrandID, size uint64) (func(index uint64) (tlog.RecordProof, error), error) {
	if err := l.within(ctx, brand, size); err != nil {
		return nil, err
	}
	r := l.rows(ctx, brand)
	return func(index uint64) (tlog.RecordProof, error) {
		if index >= size {
			return nil, ErrNoEntry
		}
		return tlog.ProveRecord(int64(size), int64(index), r)
	}, nil
}

// Consistency proves that the tree of a size continues that of an older one.
func (l *Ledger) Consistency(ctx context.Context, brand record.BrandID, older, size uint64) (tlog.TreeProof, error) {
	if err := l.within(ctx, brand, size); err != nil {
		return nil, err
	}
	if older < 1 || older > size {
		return nil, ErrNoEntry
	}
	return tlog.ProveTree(int64(size), int64(older), l.rows(ctx, brand))
}

func (l *Ledger) within(ctx context.Context, brand record.BrandID, size uint64) error {
	n, err := l.Size(ctx, brand)
	if err == nil && size > n {
		return ErrNoEntry
	}
	return err
}

// Tile returns what C2SP tlog-tiles serves under a path: "checkpoint",
// "tile/<level>/<index>[.p/<width>]" or "tile/entries/<index>[.p/<width>]".
func (l *Ledger) Tile(ctx context.Context, brand record.BrandID, path string) ([]byte, error) {
	if path == "checkpoint" {
		return l.Checkpoint(ctx, brand)
	}
	t, err := torchwood.ParseTilePath(path)
	if err != nil || !strings.HasPrefix(path, "tile/") {
		return nil, ErrNoEntry
	}
	r := l.rows(ctx, brand)
	if t.L >= 0 {
		if err := l.within(ctx, brand, uint64(t.N<<t.H+int64(t.W))<<(t.L*t.H)); err != nil {
			return nil, err
		}
		return tlog.ReadTileData(t, r)
	}
	var out []byte
	for i := range t.W {
		it, err := r.item(uint64(t.N<<t.H + int64(i)))
		if err != nil {
			return nil, err
		}
		out = appendLeaf(out, it.leaf)
	}
	return out, nil
}

// Scan hands every entry from an index on, with its customers, to fn. It streams.
func (l *Ledger) Scan(ctx context.Context, brand record.BrandID, from uint64, fn func(index uint64, e entry.Entry, ords []record.Ordinal) error) error {
	size, err := l.Size(ctx, brand)
	if err != nil {
		return err
	}
	o := l.opener(ctx, l.db, brand)
	return l.pages(ctx, brand, from, size, sqlReadEntries, scanEntries, func(it item) error {
		e, ords, err := o.open(&it)
		if err != nil {
			return err
		}
		return fn(it.index, e, ords)
	})
}

const sqlGroupOf = `SELECT coalesce(max(first), 0) FROM log_groups WHERE brand = $1 AND first <= $2`

// pages hands fn the entries from an index on, up to a size of the log, by pages of
// groups. What sql does not read of the groups is missing in the items.
func (l *Ledger) pages(ctx context.Context, brand record.BrandID, from, size uint64, sql string, scan func(db.Row, *group) error, fn func(it item) error) error {
	if from >= size {
		return nil
	}
	var next uint64
	if err := l.db.Row(ctx, sqlGroupOf, int64(brand), from).Scan(&next); err != nil {
		return fmt.Errorf("reading the log of brand %d: %w", brand, err)
	}
	for next < size {
		before := next
		var page []group // read whole, so that fn may read too without a second connection
		err := l.db.Rows(ctx, func(r db.Row) error {
			var g group
			err := scan(r, &g)
			page = append(page, g)
			return err
		}, sql, int64(brand), next, pageGroups)
		if err != nil {
			return fmt.Errorf("reading the log of brand %d: %w", brand, err)
		}
		for i := range page {
			g := &page[i]
			if g.first != next {
				return fmt.Errorf("entries from %d on are missing: %w", next, ErrTampered)
			}
			next += uint64(g.count)
			err := g.each(func(it item) error {
				if it.index < from {
					return nil
				}
				return fn(it)
			})
			if err != nil {
				return err
			}
		}
		if next == before {
			return fmt.Errorf("reading the log of brand %d: entries from %d on are missing: %w", brand, next, ErrTampered)
		}
	}
	return nil
}

// Disclosure is one entry that concerns a customer, with what proving it takes.
type Disclosure struct {
	Index    uint64
	Entry    entry.Entry
	Leaf     []byte
	Ords     []record.Ordinal // all customers of the entry, ascending
	Counters []uint32         // of each: how many releases came before
	values   []byte           // of the entry, unsealed; nil where they are erased
}

// Released reports whether the entry released fields.
func (d *Disclosure) Released() bool { return released(d.Entry.Kind) }

const sqlReadEntries = `SELECT first, count, entries, subjects, vals FROM log_groups WHERE brand = $1 AND first >= $2 ORDER BY first LIMIT $3`

func scanEntries(r db.Row, g *group) error {
	return r.Scan(&g.first, &g.count, &g.leaves, &g.subjects, &g.values)
}

// walk hands fn every entry from an index on whose list of customers has one of a set,
// with the list. It decodes no other, and holds each list against its entry.
func (l *Ledger) walk(ctx context.Context, brand record.BrandID, from, size uint64, wanted *entry.Set, fn func(it item, e entry.Entry, ords []record.Ordinal) error) error {
	return l.pages(ctx, brand, from, size, sqlReadEntries, scanEntries, func(it item) error {
		if len(it.encoded) == 0 {
			return nil
		}
		digest := entry.SubjectsDigest(it.salt, it.encoded)
		if !bytes.Contains(it.leaf, digest[:]) {
			return fmt.Errorf("entry %d: its list of customers is not the one that was logged: %w", it.index, ErrTampered)
		}
		switch met, err := wanted.Meets(it.encoded); {
		case err != nil:
			return fmt.Errorf("entry %d: %w: %w", it.index, ErrTampered, err)
		case !met:
			return nil
		}
		e, ords, err := it.open()
		if err != nil {
			return err
		}
		return fn(it, e, ords)
	})
}

const (
	sqlKeepCommitment  = `INSERT INTO log_commitments (brand, entry, ord, hash) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	sqlReadCommitments = `SELECT ord, hash FROM log_commitments WHERE brand = $1 AND entry = $2`
)

// Kept is the commitment of a customer who is about to be erased, in an entry that
// concerns others too: their proofs need it, and it says nothing without the key.
type Kept struct {
	Entry uint64
	Hash  [32]byte
}

// lookedUpAtOnce is for up to how many customers the index is asked, one after another.
// More are found sooner by reading the log once for all of them.
const lookedUpAtOnce = 64

// Commitments returns what Keep needs of the entries from an index on, for customers whose
// log keys are given, and up to which size of the log it looked. Of few customers it looks
// up what the log's index covers; the rest it reads once for all of them. There, how often
// a customer was released until then follows from how often it was until now.
func (l *Ledger) Commitments(ctx context.Context, brand record.BrandID, from uint64, logKeys map[record.Ordinal][]byte) (kept map[record.Ordinal][]Kept, size uint64, err error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, 0, err
	}
	all := slices.Sorted(maps.Keys(logKeys))
	totals, known := c.proj.releases(all)
	if size, err = l.Size(ctx, brand); err != nil { // not before: it must reach as far as the counts
		return nil, 0, err
	}
	kept = map[record.Ordinal][]Kept{}
	unread := slices.Repeat([]uint64{from}, len(all)) // of each, what the index has not covered
	if from+l.opts.IndexSpan <= size && len(all) <= lookedUpAtOnce {
		for i, ord := range all {
			list, covered, err := c.indexedCommitments(ctx, ord, from, size, logKeys[ord])
			if err != nil {
				return nil, 0, err
			}
			if len(list) > 0 {
				kept[ord] = list
			}
			unread[i] = max(from, covered)
		}
	}
	start := known // other servers may have logged what this one has not read
	for _, at := range unread {
		start = min(start, at)
	}
	type found struct {
		ord   record.Ordinal
		index uint64
		e     *entry.Entry
		since uint32 // releases from start on that came before
	}
	var list []found
	since, sinceKnown := make([]uint32, len(all)), make([]uint32, len(all))
	var wanted entry.Set
	wanted.Add(all...)
	o := l.prover(ctx, brand)
	err = l.walk(ctx, brand, start, size, &wanted, func(it item, e entry.Entry, ords []record.Ordinal) error {
		for _, ord := range ords {
			i, ok := slices.BinarySearch(all, ord)
			if !ok {
				continue
			}
			if len(ords) > 1 && it.index >= unread[i] {
				if err := o.values(&it, &e); err != nil {
					return err
				}
				if !proves(&e) {
					continue
				}
				list = append(list, found{ord, it.index, &e, since[i]})
			}
			if released(e.Kind) {
				since[i]++
				if it.index < known {
					sinceKnown[i]++
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	for _, f := range list {
		i, _ := slices.BinarySearch(all, f.ord)
		kept[f.ord] = append(kept[f.ord], Kept{f.index, entry.Commitment(logKeys[f.ord], f.e.Committed(totals[i]-sinceKnown[i]+f.since))})
	}
	return kept, size, nil
}

// Keep stores commitments, inside the transaction that erases the customer. Of entries
// that come after the erasure's own, whoever logs them keeps it.
func (l *Ledger) Keep(ctx context.Context, q db.Queryer, brand record.BrandID, ord record.Ordinal, kept []Kept) error {
	stmts := make([]db.Stmt, len(kept))
	for i, k := range kept {
		stmts[i] = keepStmt(brand, ord, k)
	}
	return q.Batch(ctx, stmts)
}

func keepStmt(brand record.BrandID, ord record.Ordinal, k Kept) db.Stmt {
	return db.Stmt{SQL: sqlKeepCommitment, Args: []any{int64(brand), k.Entry, int64(ord), k.Hash[:]}}
}

// Proof shows a customer in an entry.
type Proof struct {
	Position   int
	Commitment [32]byte
	Path       [][32]byte
	// Of an entry of version 2, see [entry.WithReader] and [entry.Entry.Show]:
	Core   [32]byte
	Reader [16]byte // the customer's pseudonym of the reader
	Shown  []entry.Shown
}

// Prove returns the path from a customer's commitment to the root of an entry.
// logKeys are those of the entry's customers; those who were erased are read from
// what was kept. With [ErrNoCommitment] and [ErrValuesErased] it returns what can still be
// shown: the customer's place, and values of the entry.
func (l *Ledger) Prove(ctx context.Context, brand record.BrandID, d Disclosure, ord record.Ordinal, logKeys map[record.Ordinal][]byte) (Proof, error) {
	kept := map[record.Ordinal][32]byte{}
	err := l.db.Rows(ctx, func(r db.Row) error {
		var o int64
		var h []byte
		if err := r.Scan(&o, &h); err != nil {
			return err
		}
		if len(h) == 32 { // else it is as good as missing
			kept[record.Ordinal(o)] = [32]byte(h)
		}
		return nil
	}, sqlReadCommitments, int64(brand), d.Index)
	if err != nil {
		return Proof{}, fmt.Errorf("reading the commitments of entry %d: %w", d.Index, err)
	}
	p := Proof{Position: slices.Index(d.Ords, ord)}
	if p.Position < 0 {
		return Proof{}, fmt.Errorf("entry %d has no such customer: %w", d.Index, ErrTampered)
	}
	if d.values != nil { // what the customer's line shows, and nothing else
		if p.Shown, err = d.Entry.Show(d.values, entry.ShownAt, entry.ShownTicket); err != nil {
			return Proof{}, err
		}
	}
	if !proves(&d.Entry) {
		return p, fmt.Errorf("entry %d: %w", d.Index, ErrValuesErased)
	}
	all := make([][32]byte, len(d.Ords))
	for i, o := range d.Ords {
		if key, ok := logKeys[o]; ok {
			all[i] = entry.Commitment(key, d.Entry.Committed(d.Counters[i]))
		} else {
			all[i] = kept[o]
		}
	}
	if entry.Root(all) != d.Entry.Root {
		return p, fmt.Errorf("entry %d: %w", d.Index, ErrNoCommitment)
	}
	p.Commitment = all[p.Position]
	if p.Path, err = entry.Prove(all, p.Position); err != nil || d.Entry.LeafVersion() == entry.Version1 {
		return p, err
	}
	if key, ok := logKeys[ord]; ok {
		p.Core, p.Reader = entry.Core(key, d.Entry.Committed(d.Counters[p.Position])), entry.Pseudonym(key, d.Entry.Reader)
	}
	return p, nil
}

// Usage returns what a holder used of its budgets, as the log stands on this server.
func (l *Ledger) Usage(ctx context.Context, brand record.BrandID, h budget.Holder) ([]budget.Used, error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, err
	}
	now, err := l.db.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the database's clock: %w", err)
	}
	return c.proj.book.Usage(h, now), nil
}

// Rules returns the newest budget rules that a brand's log holds: those that this
// server knows of, or newer ones that another has logged since.
func (l *Ledger) Rules(ctx context.Context, brand record.BrandID) (*budget.Rules, error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, err
	}
	_, known := c.proj.releases(nil)
	rules, parts := c.proj.book.Rules(), c.proj.gathered() // of known, or newer
	err = l.Scan(ctx, brand, known, func(_ uint64, e entry.Entry, _ []record.Ordinal) (err error) {
		if e.Kind == entry.KindBudget {
			var next *budget.Rules
			if next, err = rulesOf(&parts, e.Detail); next != nil {
				rules = next
			}
		}
		return err
	})
	return rules, err
}
