package ledger

import (
	"slices"
	"sort"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// recent are the customers of the newest entries, which the committer knows anyway: so
// that they are indexed without reading those entries back. The projection's lock guards
// it.
type recent struct {
	from, to uint64  // the entries that places are of
	places   []place // in the order of the log
}

const (
	// keptEntry is of how many customers an entry is kept at most. Reading back costs by
	// the entry and keeping by the customer: what many large ones need is read.
	keptEntry = 8
	// maxRecent bounds what is kept: several spans of single releases. Beyond it, which is
	// where the index cannot be written, everything is forgotten and read back later.
	maxRecent = keptEntry * DefaultIndexSpan
)

// add keeps an entry's customers, whose counters are those before it.
func (r *recent) add(index uint64, e *entry.Entry, ords []record.Ordinal, counter func(record.Ordinal) uint32) {
	if len(ords) > keptEntry {
		*r = recent{from: index + 1, to: index + 1}
		return
	}
	if index != r.to || len(r.places)+len(ords) > maxRecent {
		r.from, r.places = index, nil
	}
	r.to = index + 1
	for _, ord := range ords {
		r.places = append(r.places, place{ord, counter(ord), index, released(e.Kind), len(ords) == 1})
	}
}

// firstOf returns the position of the first of places in the order of the log that is of
// an entry or of a later one.
func firstOf(places []place, index uint64) int {
	return sort.Search(len(places), func(i int) bool { return places[i].index >= index })
}

// recently returns the places of all entries from one on, if they are kept, and up to
// which entry that is.
func (p *projection) recently(from uint64) (places []place, known uint64, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if r := p.recent; r != nil && r.from <= from && from <= r.to && r.to == p.known {
		return slices.Clone(r.places[firstOf(r.places, from):]), p.known, true
	}
	return nil, 0, false
}

// forget drops what is kept of the entries before one.
func (p *projection) forget(before uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.recent; r != nil && r.from < before {
		r.places = slices.Clone(r.places[firstOf(r.places, before):])
		r.from = min(before, r.to)
	}
}
