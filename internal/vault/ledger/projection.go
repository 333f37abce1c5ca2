package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// projection is what follows from the entries of one brand's log up to a size. Only
// committed entries change it; it can be dropped and replayed.
type projection struct {
	mu         sync.RWMutex // for what requests read: known, counters, rights, fates; the committer alone writes
	known      uint64       // the size that these are of
	size       uint64
	at         int64
	checkpoint []byte
	edge       map[int64]tlog.Hash // the right edge of the tree: all that appending needs
	book       *budget.Book
	counters   map[uint32]*[pageSize]uint32
	erased     entry.Set // whose key is destroyed
	cooling    entry.Set // whose key lies aside
	back       entry.Set // whose erasure was taken back
	holds      holds     // legal holds, see holds.go; written under mu
	rights     *rights.Book
	stops      stops        // by entries of this log, see stops.go
	parts      budget.Parts // of rules that are not all here yet; written under mu
	epochs     []epoch      // those that begin in this log; the committer alone asks and adds
	recent     *recent      // nil where nothing is kept: while a log is read that may be long
	moved      func()       // called when an entry takes rights away; nil while a log is read
}

const pageSize = 4096

func newProjection() *projection {
	return &projection{
		edge:     map[int64]tlog.Hash{},
		book:     budget.NewBook(nil),
		counters: map[uint32]*[pageSize]uint32{},
		rights:   rights.NewBook(),
		stops:    stops{},
		holds:    holds{},
	}
}

// counter is how many releases of a customer the log holds.
func (p *projection) counter(ord record.Ordinal) uint32 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.released(ord)
}

// releases is the counter of each of some customers, with the size of the log that they
// are of.
func (p *projection) releases(ords []record.Ordinal) (counters []uint32, size uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	counters = make([]uint32, len(ords))
	for i, ord := range ords {
		counters[i] = p.released(ord)
	}
	return counters, p.known
}

// released is counter for who holds the lock.
func (p *projection) released(ord record.Ordinal) uint32 {
	if page := p.counters[uint32(ord)/pageSize]; page != nil {
		return page[uint32(ord)%pageSize]
	}
	return 0
}

func (p *projection) count(ords []record.Ordinal) {
	for _, ord := range ords {
		page := p.counters[uint32(ord)/pageSize]
		if page == nil {
			page = new([pageSize]uint32)
			p.counters[uint32(ord)/pageSize] = page
		}
		page[uint32(ord)%pageSize]++
	}
}

// grow is the tree with leaves added that are not committed yet.
type grow struct {
	base   *projection
	size   uint64
	hashes []byte
	added  map[int64]tlog.Hash
}

func (p *projection) grow() *grow {
	return &grow{base: p, size: p.size, added: map[int64]tlog.Hash{}}
}

// ReadHashes implements tlog.HashReader over the right edge.
func (g *grow) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		h, ok := g.added[x]
		if !ok {
			if h, ok = g.base.edge[x]; !ok {
				return nil, fmt.Errorf("the stored hash %d is not at the edge of the tree", x)
			}
		}
		out[i] = h
	}
	return out, nil
}

func (g *grow) add(leaf []byte) error {
	hs, err := tlog.StoredHashes(int64(g.size), leaf, g)
	if err != nil {
		return fmt.Errorf("hashing entry %d: %w", g.size, err)
	}
	at := tlog.StoredHashCount(int64(g.size))
	for i, h := range hs {
		g.added[at+int64(i)] = h
		g.hashes = append(g.hashes, h[:]...)
	}
	g.size++
	return nil
}

func (g *grow) root() (tlog.Hash, error) { return tlog.TreeHash(int64(g.size), g) }

// adopt makes what was added part of the tree.
func (g *grow) adopt() {
	edge := map[int64]tlog.Hash{}
	for _, x := range torchwood.RightEdge(int64(g.size)) {
		if h, ok := g.added[x]; ok {
			edge[x] = h
		} else {
			edge[x] = g.base.edge[x]
		}
	}
	g.base.edge, g.base.size = edge, g.size
}

// apply adds a committed group, whoever wrote it. Its hashes are computed again, so
// that a row that was changed from outside is not built upon. After an error the
// projection is of no more use. The day is the first whose disclosures budgets count.
func (p *projection) apply(g *group, o *opener, counted uint32) error {
	if g.first != p.size || g.count < 1 {
		return fmt.Errorf("entries from %d on are missing: %w", p.size, ErrTampered)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	tree := p.grow()
	last := p.at
	err := g.each(func(it item) error {
		e, ords, err := it.open()
		if err != nil {
			return err
		}
		if e.Newer() && e.Critical {
			return fmt.Errorf("entry %d is of the kind %d: %w", it.index, e.Kind, entry.ErrNewer)
		}
		if mayCount(&e) && (!e.Bare() || entry.Day(e.At) >= counted) {
			if err := o.values(&it, &e); err != nil {
				return err
			}
			if e.Bare() {
				return it.gone()
			}
		}
		if !inOrder(&e, g.at, last) {
			return fmt.Errorf("entry %d: its time is out of order: %w", it.index, ErrTampered)
		}
		if err := tree.add(it.leaf); err != nil {
			return err
		}
		return p.take(it.index, e, ords)
	})
	if err != nil {
		return err
	}
	if !bytes.Equal(tree.hashes, g.hashes) {
		return fmt.Errorf("entries %d to %d do not have the hashes stored beside them: %w", g.first, g.first+uint64(g.count)-1, ErrTampered)
	}
	tree.adopt()
	p.at, p.known = g.at, p.size
	return nil
}

// inOrder reports whether an entry may be of its group, and the group follow one of a
// time. Of a group whose values were erased only the day is left.
func inOrder(e *entry.Entry, group, last int64) bool {
	begin := entry.DayTime(entry.Day(e.At)).UnixMicro()
	switch {
	case group < last:
		return false
	case e.Bare():
		return entry.Day(fromMicros(group)) == entry.Day(e.At)
	}
	return e.At.UnixMicro() == group || begin == group && e.LeafVersion() != entry.Version1
}

// take counts one entry in the projection, budgets included.
func (p *projection) take(index uint64, e entry.Entry, ords []record.Ordinal) error {
	if err := p.note(index, e, ords); err != nil || e.Bare() {
		return err
	}
	ds, err := countsOf(&e, ords)
	if err != nil {
		return errors.Join(ErrTampered, err)
	}
	for i := range ds {
		if err := p.book.Apply(ds[i]); err != nil {
			return err
		}
	}
	return nil
}

// mayCount reports whether an entry counts in the budgets, as far as its leaf says: its
// values are needed then.
func mayCount(e *entry.Entry) bool {
	switch {
	case released(e.Kind):
		return true
	case e.Kind == entry.KindErasure, e.Kind == entry.KindErasureBegun, e.Kind == entry.KindClaim:
		return e.Class != ""
	}
	w, ok := entry.WroteOf(e.Detail)
	return ok && (e.Class != "" && w.Changed > 0 || w.Met > 0)
}

// countsOf returns what an entry counts in the budgets, by class.
func countsOf(e *entry.Entry, ords []record.Ordinal) (out []budget.Disclosure, err error) {
	if !mayCount(e) {
		return nil, nil
	}
	d := budget.Disclosure{At: e.At, Lineage: e.Lineage, Principal: e.Principal, Role: e.Role}
	if w, ok := entry.WroteOf(e.Detail); ok {
		if w.Met > 0 {
			met := d
			met.Class, met.Absent = budget.Search, w.Met
			out = append(out, met)
		}
		if e.Class == "" || w.Changed == 0 {
			return out, nil
		}
		d.Approval = w.Approval
		if ords, err = w.ChangedOf(ords); err != nil {
			return nil, err
		}
	} else if d.Absent = e.Absent() + e.Claimed(); len(ords)+d.Absent == 0 {
		return nil, nil
	} else {
		d.Approval = entry.ApprovalOf(e.Detail)
	}
	if d.Class, err = budget.ParseClass(e.Class); err != nil {
		return nil, err
	}
	d.Ords = ords
	return append(out, d), nil
}

// gathered returns the parts of budget rules of which some are to come.
func (p *projection) gathered() budget.Parts {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.parts.Clone()
}

// note is take without the budgets, which a group of our own counts by itself.
func (p *projection) note(index uint64, e entry.Entry, ords []record.Ordinal) error {
	if p.recent != nil {
		p.recent.add(index, &e, ords, p.released)
	}
	p.granted(index, &e)
	switch {
	case released(e.Kind):
		p.count(ords)
	case e.Kind == entry.KindBudget:
		rules, err := rulesOf(&p.parts, e.Detail)
		if errors.Is(err, entry.ErrNewer) {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTampered, err)
		}
		if rules != nil {
			p.book.SetRules(rules)
		}
	case erases(e.Kind):
		p.fates(e.Kind, ords)
	case e.Kind == entry.KindContainment:
		p.stops.note(e.Detail, e.At)
	case e.Kind == entry.KindEpoch:
		return p.begins(index, &e)
	case e.Kind == entry.KindHold:
		p.holds.note(index, e.Detail, ords)
	}
	return nil
}

// rulesOf reads the rules of a KindBudget entry, nil where parts of them are to come.
func rulesOf(parts *budget.Parts, d entry.Detail) (*budget.Rules, error) {
	text, whole, err := parts.Read(d)
	if err != nil || !whole {
		return nil, err
	}
	return budget.DecodeRules([]byte(text))
}
