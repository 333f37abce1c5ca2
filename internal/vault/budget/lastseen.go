package budget

import (
	"iter"
	"maps"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// pageSize customers share a page of 4 KiB: few enough that one busy page in
	// an empty range wastes little.
	pageSize = 1024
	// entryBytes is about what a customer costs in a map, with its spare room.
	entryBytes = 16
	// firstPaging is where pages are first considered; below it a map is small.
	firstPaging = 4096
)

// lastSeen holds the last bucket of each customer, 0 for never: a map while the
// customers are few or scattered, 4 bytes a customer in pages once they are dense.
// The zero value is empty.
type lastSeen struct {
	few   map[record.Ordinal]uint32    // nil once paged
	pages map[uint32]*[pageSize]uint32 // nil until paged
	n     int                          // customers with a bucket
	next  int                          // size at which paging is considered again
}

func (l *lastSeen) len() int { return l.n }

func (l *lastSeen) get(ord record.Ordinal) uint32 {
	if l.pages == nil {
		return l.few[ord]
	}
	if p := l.pages[uint32(ord)/pageSize]; p != nil {
		return p[uint32(ord)%pageSize]
	}
	return 0
}

func (l *lastSeen) set(ord record.Ordinal, bucket uint32) {
	if l.pages != nil {
		p := l.pages[uint32(ord)/pageSize]
		if p == nil {
			p = new([pageSize]uint32)
			l.pages[uint32(ord)/pageSize] = p
		}
		if p[uint32(ord)%pageSize] == 0 {
			l.n++
		}
		p[uint32(ord)%pageSize] = bucket
		return
	}
	if l.few == nil {
		l.few = map[record.Ordinal]uint32{}
	}
	l.few[ord] = bucket
	l.n = len(l.few)
	if l.n >= max(l.next, firstPaging) {
		l.next = 2 * l.n
		l.page()
	}
}

// page turns the map into pages where these are smaller.
func (l *lastSeen) page() {
	busy := map[uint32]struct{}{}
	for ord := range l.few {
		busy[uint32(ord)/pageSize] = struct{}{}
	}
	if len(busy)*pageSize*4 > len(l.few)*entryBytes {
		return
	}
	few := l.few
	l.few, l.n, l.pages = nil, 0, make(map[uint32]*[pageSize]uint32, len(busy))
	for ord, bucket := range few {
		l.set(ord, bucket)
	}
}

// sweep forgets the customers last seen before from, and goes back to a map: what
// is left may be scattered.
func (l *lastSeen) sweep(from uint32) {
	few := map[record.Ordinal]uint32{}
	for ord, bucket := range l.few {
		if bucket >= from {
			few[ord] = bucket
		}
	}
	for at, page := range l.pages {
		for i, bucket := range page {
			if bucket >= from && bucket != 0 {
				few[record.Ordinal(at*pageSize+uint32(i))] = bucket
			}
		}
	}
	*l = lastSeen{few: few, n: len(few)}
	if l.n >= firstPaging {
		l.next = 2 * l.n
		l.page()
	}
}

// clone returns a copy.
func (l *lastSeen) clone() lastSeen {
	c := *l
	c.few, c.pages = maps.Clone(l.few), maps.Clone(l.pages)
	for at, page := range c.pages {
		copied := *page
		c.pages[at] = &copied
	}
	return c
}

// all yields the customers ascending.
func (l *lastSeen) all() iter.Seq2[record.Ordinal, uint32] {
	return func(yield func(record.Ordinal, uint32) bool) {
		for _, ord := range slices.Sorted(maps.Keys(l.few)) {
			if !yield(ord, l.few[ord]) {
				return
			}
		}
		for _, at := range slices.Sorted(maps.Keys(l.pages)) {
			for i, bucket := range l.pages[at] {
				if bucket != 0 && !yield(record.Ordinal(at*pageSize+uint32(i)), bucket) {
					return
				}
			}
		}
	}
}
