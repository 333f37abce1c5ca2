package follow

import (
	"maps"
	"slices"
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// tailEntries and tailCustomers bound what is kept of a log in memory. A follower
	// that falls further behind reads the log.
	tailEntries   = 8192
	tailCustomers = 100_000
)

// Feed brings what this server commits to its followers, in memory.
type Feed struct {
	mu    sync.Mutex
	tails map[record.BrandID]*tail
	woken func(record.BrandID) // nil while nobody follows
}

// NewFeed returns a feed that nobody follows yet.
func NewFeed() *Feed { return &Feed{tails: map[record.BrandID]*tail{}} }

// Committed takes the entries that this server has just committed to a log. It never
// blocks: the committer calls it after every group.
func (f *Feed) Committed(brand record.BrandID, entries []Entry) {
	if len(entries) == 0 {
		return
	}
	f.mu.Lock()
	t, woken := f.tails[brand], f.woken
	f.mu.Unlock()
	if woken == nil {
		return
	}
	if t != nil {
		t.add(entries)
	}
	woken(brand)
}

func (f *Feed) open(woken func(record.BrandID)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.woken = woken
}

func (f *Feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.woken = nil
	clear(f.tails)
}

// of returns the tail of a log, and begins it.
func (f *Feed) of(brand record.BrandID) *tail {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tails[brand]
	if t == nil {
		t = &tail{}
		f.tails[brand] = t
	}
	return t
}

// tail holds the newest entries of one log that this server committed, without a gap.
type tail struct {
	mu        sync.Mutex
	entries   []Entry
	customers int
}

// add appends entries. What other servers logged in between is not here, so a gap
// drops what precedes it.
func (t *tail) add(entries []Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.entries); n > 0 && t.entries[n-1].Index+1 != entries[0].Index {
		t.entries, t.customers = nil, 0
	}
	t.entries = append(t.entries, entries...)
	for i := range entries {
		t.customers += len(entries[i].Ords)
	}
	if len(t.entries) > tailEntries || t.customers > tailCustomers {
		t.drop()
	}
}

// drop keeps the newer half, in an array of its own so that the older one is freed.
func (t *tail) drop() {
	from := len(t.entries) / 2
	for t.customers = 0; ; from++ {
		for i := from; i < len(t.entries); i++ {
			t.customers += len(t.entries[i].Ords)
		}
		if t.customers <= tailCustomers/2 || from >= len(t.entries)-1 {
			break
		}
		t.customers = 0
	}
	t.entries = slices.Clone(t.entries[from:])
}

// end is the entry after the newest one, 0 if there is none.
func (t *tail) end() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 {
		return 0
	}
	return t.entries[len(t.entries)-1].Index + 1
}

// from returns the entries from one on, up to a number, or none if they are not here.
func (t *tail) from(index uint64, most int) []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 || index < t.entries[0].Index {
		return nil
	}
	at := index - t.entries[0].Index
	if at >= uint64(len(t.entries)) {
		return nil
	}
	list := t.entries[at:]
	return list[:min(len(list), most)] // never written again: appended to, or cloned
}

func sorted[V any](m map[record.BrandID]V) []record.BrandID {
	return slices.Sorted(maps.Keys(m))
}
