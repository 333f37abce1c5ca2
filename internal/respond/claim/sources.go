package claim

import (
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

const (
	// maxPlaces bounds the matched customers that a sample is attributed by. Of more, a
	// random part is taken, which tells sources apart as well.
	maxPlaces = 1 << 16
	// leastEntry is how many customers one entry has that is a source by itself.
	leastEntry = 10
	// maxCanaries bounds the canaries whose readers are named.
	maxCanaries = 50
)

// kept is what is known of one matched customer.
type kept struct {
	by            record.FieldSet
	after, before int64 // microseconds; 0: no bound
	joined        int64
}

// matched are the distinct customers of a sample, and what is known of some of them.
type matched struct {
	set    entry.Set
	places map[record.Ordinal]*kept
	// bar is what the mixed ordinal of a customer who is kept does not exceed.
	bar uint64
}

func newMatched() *matched {
	return &matched{places: map[record.Ordinal]*kept{}, bar: ^uint64(0)}
}

func mix(ord record.Ordinal) uint64 {
	var p print
	p.add(uint32(ord))
	return p.a
}

// add adds a matched row, and reports whether its customer is new.
func (m *matched) add(x *seal.Compared) bool {
	if m.set.Has(x.Ord) {
		return false
	}
	m.set.Add(x.Ord)
	if mix(x.Ord) > m.bar {
		return true
	}
	m.places[x.Ord] = &kept{by: x.By, after: micros(x.After), before: micros(x.Before)}
	for len(m.places) > maxPlaces {
		m.bar /= 2
		for ord := range m.places {
			if mix(ord) > m.bar {
				delete(m.places, ord)
			}
		}
	}
	return true
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// bucket gathers what one source had.
type bucket struct {
	kind, id    string
	of          uint64
	set         entry.Set
	covers      *roaring.Bitmap
	fields      record.FieldSet
	first, last time.Time
}

// gather reads a brand's log for the ways by which matched customers left.
type gather struct {
	*matched
	at      map[record.Ordinal]uint32 // place in the sources' sets
	buckets map[Name]*bucket
	canary  func(record.Ordinal) bool
	seen    map[record.Ordinal][]*bucket // of canaries of the sample
	erased  entry.Set
	news    []news
	bare    int // disclosures of matched customers whose values are erased
}

// news is how many customers joined at a time.
type news struct {
	at int64
	n  int
}

func newGather(m *matched, canary func(record.Ordinal) bool) *gather {
	g := &gather{matched: m, at: map[record.Ordinal]uint32{}, buckets: map[Name]*bucket{}, canary: canary, seen: map[record.Ordinal][]*bucket{}}
	for ord := range m.set.All() {
		if m.places[ord] != nil && !canary(ord) {
			g.at[ord] = uint32(len(g.at))
		}
	}
	return g
}

// take takes one entry in.
func (g *gather) take(index uint64, e *entry.Entry, ords []record.Ordinal) {
	switch {
	case e.Kind == entry.KindErasure || e.Kind == entry.KindErasureBegun:
		g.erased.Add(ords...)
	case e.Kind == entry.KindErasureUndone:
		g.erased.Remove(ords...)
	case e.Kind == entry.KindWrite || e.Kind == entry.KindImport:
		g.wrote(e, ords)
	case e.Kind != entry.KindDisclosure || e.Level != "clear":
		// What was masked or an extract shows no address, and a person who searched had it.
	default:
		g.disclosed(index, e, ords)
	}
}

func (g *gather) wrote(e *entry.Entry, ords []record.Ordinal) {
	if w, ok := entry.WroteOf(e.Detail); ok && w.New > 0 {
		g.news = append(g.news, news{e.At.UnixMicro(), w.New})
	}
	for _, ord := range ords {
		if k := g.places[ord]; k != nil && k.joined == 0 {
			k.joined = e.At.UnixMicro() // nobody is written before they are made
		}
	}
}

func (g *gather) disclosed(index uint64, e *entry.Entry, ords []record.Ordinal) {
	var to []*bucket
	named := func(kind, id string, of uint64) {
		n := Name{kind, id}
		b := g.buckets[n]
		if b == nil {
			b = &bucket{kind: kind, id: id, of: of, covers: roaring.New(), first: e.At}
			g.buckets[n] = b
		}
		to = append(to, b)
	}
	if p, ok := e.Detail.(entry.ExportPart); ok {
		named("export", p.Export, e.Principal)
	} else if len(ords) >= leastEntry {
		named("entry", strconv.FormatUint(index, 10), e.Principal)
	}
	if e.Lineage != 0 {
		named("credential", strconv.FormatUint(e.Lineage, 10), e.Principal)
	}
	if e.Principal != 0 {
		named("principal", strconv.FormatUint(e.Principal, 10), 0)
	}
	if e.Recipient != "" {
		named("recipient", e.Recipient, 0)
	}
	if e.Bare() {
		g.bare++
	}
	for _, b := range to {
		b.fields |= e.Fields
		b.last = e.At
		b.set.Add(ords...)
	}
	at := e.At.UnixMicro()
	for _, ord := range ords {
		if !g.matched.set.Has(ord) {
			continue
		}
		if g.canary(ord) {
			g.shown(ord, to)
			continue
		}
		k := g.places[ord]
		if k == nil {
			continue // of many matched customers a part is looked at
		}
		// A row with a value of another time was not shown by this.
		if e.Fields&k.by == 0 || k.after > at || k.before != 0 && k.before <= at {
			continue
		}
		for _, b := range to {
			b.covers.Add(g.at[ord])
		}
	}
}

func (g *gather) shown(canary record.Ordinal, to []*bucket) {
	for _, b := range to {
		if len(g.seen) < maxCanaries || g.seen[canary] != nil {
			g.seen[canary] = append(g.seen[canary], b)
		}
	}
}

// sources are those that have somebody of the sample. The fields are those of the sample.
func (g *gather) sources(fields record.FieldSet) ([]Source, []*bucket) {
	var out []Source
	var of []*bucket
	for _, b := range g.buckets {
		if b.covers.IsEmpty() {
			continue
		}
		s := Source{Names: []Name{{b.kind, b.id}}, Covers: b.covers, Size: b.set.Len(), Lacks: fields&^b.fields != 0}
		for ord := range b.set.All() {
			s.print.add(uint32(ord))
		}
		out, of = append(out, s), append(of, b)
	}
	return out, of
}
