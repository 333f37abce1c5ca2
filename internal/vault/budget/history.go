package budget

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/codec"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// History measures what holders used of their budgets in the last 30 days: it follows
// the disclosures, counts as a [Book] does, and remembers what it counted.
//
// It looks at every step, a bucket of five minutes, in which a holder took somebody, and
// at the distinct customers then in its trailing windows. Steps in which it took nobody
// are left out: nothing can be refused there, and with them the 99th percentile of
// whoever works some hours a week would be about nothing.
//
// It is used by one goroutine at a time. After 30 days without a disclosure a holder is
// forgotten.
type History struct {
	holders map[Holder]*tracks
	only    map[uint64]uint64 // the lineage of a principal that has used one alone: its tracks are the principal's
	swept   int64             // day of the last sweep
	newest  uint32            // bucket of the last disclosure
}

// Counts are distinct customers in each window.
type Counts [numWindows]uint32

// Use is what a holder used in the steps in which it took somebody.
type Use struct {
	Steps int    // how many there were
	P99   Counts // 99 of 100 steps had at most this many (nearest rank)
	Most  Counts // no step had more
	Now   Counts // in the windows that end now
}

// Uses are those of each class, and of all classes that take together: there, a customer who was
// found, seen and revealed is one, and a search that found nobody is none.
type Uses struct {
	Class    [numClasses]Use
	Together Use
}

// tracks are what is measured of one holder: each class, then all together.
type tracks [numClasses + 1]*track

// track is what is measured of one holder in one class.
type track struct {
	account
	step  uint32 // the last bucket in which it took somebody; 0: it is closed
	steps steps  // those that are over
}

// NewHistory returns a history of nothing.
func NewHistory() *History {
	return &History{holders: map[Holder]*tracks{}, only: map[uint64]uint64{}}
}

// Add counts a disclosure. They come in the order of the log.
func (h *History) Add(d Disclosure) error {
	now := bucketOf(d.At.UnixMicro())
	if now == 0 {
		return ErrNoCustomers
	}
	if err := d.count(); err != nil {
		return err
	}
	h.newest = max(h.newest, now)
	if day := dayOf(d.At.UnixMicro()); day != h.swept {
		h.swept = day
		h.forget(now)
	}
	for _, holder := range d.holders() {
		if holder.Kind == Lineage && h.alone(holder, d.Principal) {
			continue
		}
		all := h.holders[holder]
		if all == nil {
			all = &tracks{}
			h.holders[holder] = all
		}
		all.of(d.Class).add(now, d.Ords, d.Absent)
		if len(d.Ords) > 0 && d.Class.Effect() == Takes {
			all.of(numClasses).add(now, d.Ords, 0)
		}
	}
	return nil
}

// alone reports whether a lineage is the only one that its principal used so far. Most
// people have one, and it is counted once. When another comes, the first gets a copy.
func (h *History) alone(lineage Holder, principal uint64) bool {
	first, known := h.only[principal]
	switch {
	case !known:
		h.only[principal] = lineage.ID
		return true
	case first == lineage.ID:
		return true
	case first != 0:
		h.only[principal] = 0 // several
		h.holders[Holder{Kind: Lineage, ID: first}] = h.holders[Holder{Kind: Principal, ID: principal}].clone()
	}
	return false
}

func (all *tracks) clone() *tracks {
	var out tracks
	for c, t := range all {
		if t == nil {
			continue
		}
		n := *t
		n.last, n.tallies = t.last.clone(), slices.Clone(t.tallies)
		n.steps.data = slices.Clone(t.steps.data)
		out[c] = &n
	}
	return &out
}

// forget lets go of the customers whom nobody took for 30 days, of older steps, and of
// holders of which nothing is left.
func (h *History) forget(now uint32) {
	from := Month.from(now)
	for holder, all := range h.holders {
		left := false
		for c, t := range all {
			if t == nil {
				continue
			}
			t.close()
			t.account.forget(from)
			t.steps.forget(from)
			if len(t.tallies) == 0 && len(t.steps.data) == 0 {
				all[c] = nil
				continue
			}
			left = true
		}
		if left {
			continue
		}
		delete(h.holders, holder)
		if holder.Kind == Principal {
			delete(h.only, holder.ID)
		}
	}
}

func (all *tracks) of(c Class) *track {
	if all[c] == nil {
		all[c] = &track{}
	}
	return all[c]
}

func (t *track) add(now uint32, ords []record.Ordinal, absent int) {
	if now != t.step {
		t.close()
		t.account.forget(Month.from(now))
		t.step = now
	}
	for _, ord := range ords {
		t.touch(ord, now)
	}
	t.miss(absent, now)
}

// counts are the customers in the windows that end with a bucket.
func (t *track) counts(bucket uint32) (n Counts) {
	for w := range numWindows {
		n[w] = uint32(t.used(w, w.from(bucket)))
	}
	return n
}

// close counts the step that is over.
func (t *track) close() {
	if t.step != 0 {
		t.steps.add(t.step, t.counts(t.step))
		t.step = 0
	}
}

// steps are what a track had in its windows at each step, about five bytes a step.
type steps struct {
	data  []byte // varints: the buckets since the step before, and the counts
	first uint32 // the bucket that the first is counted from
	last  uint32
}

func (s *steps) add(bucket uint32, n Counts) {
	if len(s.data) == 0 {
		s.first, s.last = bucket, bucket
	}
	s.data = binary.AppendUvarint(s.data, uint64(bucket-s.last))
	for _, x := range n {
		s.data = binary.AppendUvarint(s.data, uint64(x))
	}
	s.last = bucket
}

// each hands fn every step, oldest first, with the bytes from it on.
func (s *steps) each(fn func(bucket uint32, n Counts, from []byte) bool) {
	bucket := s.first
	for data := s.data; len(data) > 0; {
		from := data
		next := func() uint32 {
			x, size := binary.Uvarint(data)
			data = data[max(size, 1):] // a size of 0 is unreachable: we wrote them
			return uint32(x)
		}
		bucket += next()
		var n Counts
		for w := range n {
			n[w] = next()
		}
		if !fn(bucket, n, from) {
			return
		}
	}
}

// forget drops the steps before a bucket.
func (s *steps) forget(before uint32) {
	if len(s.data) == 0 || s.first >= before {
		return
	}
	kept := steps{}
	s.each(func(bucket uint32, n Counts, from []byte) bool {
		if bucket < before {
			return true
		}
		_, gap := binary.Uvarint(from)
		kept = steps{data: append([]byte{0}, from[gap:]...), first: bucket, last: s.last}
		return false
	})
	*s = kept
}

// Measure returns what each holder used in the 30 days up to a time, which is not before
// the newest disclosure. The history goes on after it.
func (h *History) Measure(now time.Time) map[Holder]Uses {
	to := max(bucketOf(now.UnixMicro()), h.newest)
	out := make(map[Holder]Uses, len(h.holders))
	for holder, all := range h.holders {
		var u Uses
		for c, t := range all {
			switch {
			case t == nil:
			case c < int(numClasses):
				u.Class[c] = t.use(to)
			default:
				u.Together = t.use(to)
			}
		}
		if u != (Uses{}) {
			out[holder] = u
		}
	}
	for principal, lineage := range h.only {
		if u, used := out[Holder{Kind: Principal, ID: principal}]; used && lineage != 0 {
			out[Holder{Kind: Lineage, ID: lineage}] = u
		}
	}
	return out
}

// kept is how many of the largest counts it takes to know the 99th percentile of the
// steps of 30 days.
var kept = int(Month.buckets()+1)/100 + 1

func (t *track) use(now uint32) Use {
	var u Use
	var top [numWindows][]uint32 // the largest counts, ascending
	from := Month.from(now)
	take := func(bucket uint32, n Counts, _ []byte) bool {
		if bucket < from {
			return true
		}
		u.Steps++
		for w := range n {
			list := top[w]
			if len(list) == kept {
				if n[w] <= list[0] {
					continue
				}
				list = slices.Delete(list, 0, 1)
			}
			i, _ := slices.BinarySearch(list, n[w])
			top[w] = slices.Insert(list, i, n[w])
		}
		return true
	}
	t.steps.each(take)
	if t.step != 0 {
		take(t.step, t.counts(t.step), nil)
	}
	for w := range numWindows {
		if list := top[w]; len(list) > 0 {
			// Of n counts the one of rank ceil(0.99 n) has n/100 above it.
			u.Most[w], u.P99[w] = list[len(list)-1], list[len(list)-1-u.Steps/100]
		}
	}
	u.Now = t.counts(now)
	return u
}

// Encode writes the history, so that DecodeHistory gives one that measures alike.
func (h *History) Encode(w *bufio.Writer) error {
	codec.Put(w, uint64(h.swept), uint64(h.newest), uint64(len(h.only)))
	for _, principal := range slices.Sorted(maps.Keys(h.only)) {
		codec.Put(w, principal, h.only[principal])
	}
	codec.Put(w, uint64(len(h.holders)))
	keys := slices.SortedFunc(maps.Keys(h.holders), func(x, y Holder) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.ID, y.ID), cmp.Compare(x.Role, y.Role))
	})
	for _, holder := range keys {
		codec.Put(w, uint64(holder.Kind), holder.ID)
		codec.PutText(w, holder.Role)
		for _, t := range h.holders[holder] {
			if t == nil {
				codec.Put(w, 0)
				continue
			}
			codec.Put(w, 1, uint64(t.step), uint64(t.steps.first), uint64(t.steps.last), uint64(len(t.steps.data)))
			w.Write(t.steps.data)
			t.account.encode(w)
		}
	}
	return w.Flush() // the first error of all writes
}

// DecodeHistory reads what Encode wrote. It reads no further.
func DecodeHistory(r *bufio.Reader) (*History, error) {
	in := newReader(r)
	h := NewHistory()
	h.swept, h.newest = int64(in.Number(1<<40)), uint32(in.Number(1<<31))
	for range in.Number(1 << 40) {
		if in.Err() != nil {
			break
		}
		principal := in.Number(1<<64 - 1)
		h.only[principal] = in.Number(1<<64 - 1)
	}
	for range in.Number(1 << 40) {
		if in.Err() != nil {
			break
		}
		holder := Holder{Kind: HolderKind(in.Number(uint64(Approval))), ID: in.Number(1<<64 - 1)}
		holder.Role = string(in.Text(maxSnapshotText))
		all := &tracks{}
		for c := range all {
			if in.Number(1) == 0 {
				continue
			}
			t := &track{step: uint32(in.Number(1<<31 - 1))}
			t.steps.first, t.steps.last = uint32(in.Number(1<<31-1)), uint32(in.Number(1<<31-1))
			t.steps.data = in.Text(maxSnapshotText)
			t.account = *in.account(true)
			all[c] = t
		}
		h.holders[holder] = all
	}
	return h, in.fault()
}
