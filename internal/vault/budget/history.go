package budget

import (
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// History measures what holders used of their budgets over the last 30 days: a replay of
// disclosures that counts as a [Book] does, and remembers what it counted.
//
// It looks at every step, a bucket of five minutes, in which a holder took somebody, and
// at the distinct customers then in its trailing windows. Steps in which it took nobody
// are left out: nothing can be refused there, and with them the 99th percentile of
// whoever works some hours a week would be about nothing.
//
// A window that ends 30 days ago reaches 30 days further back: a History wants the
// disclosures from [History.From] on, oldest first.
type History struct {
	from, to uint32 // the first and last bucket that is measured
	holders  map[Holder]*tracks
	only     map[uint64]uint64 // the lineage of a principal that has used one alone: its tracks are the principal's
	swept    int64             // day of the last sweep
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

// Uses are those of each class, and of all classes together: there, a customer who was
// found, seen and revealed is one, and a search that found nobody is none.
type Uses struct {
	Class    [numClasses]Use
	Together Use
}

// tracks are what is measured of one holder: each class, then all together.
type tracks [numClasses + 1]*track

// kept is how many of the largest counts it takes to know the 99th percentile of the
// steps of 30 days.
var kept = int(Month.buckets()+1)/100 + 1

// track is what is measured of one holder in one class.
type track struct {
	account
	step  uint32 // the last bucket in which it took somebody
	steps int
	top   [numWindows][]uint32 // the largest counts, ascending
}

// NewHistory returns a history of the 30 days that end now.
func NewHistory(now time.Time) *History {
	to := bucketOf(now.UnixMicro())
	return &History{from: Month.from(to), to: to, holders: map[Holder]*tracks{}, only: map[uint64]uint64{}}
}

// From is the time from which on the history wants disclosures.
func (h *History) From() time.Time {
	return time.UnixMicro(int64(Month.from(h.from)) * bucketMicros).UTC()
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
		all.of(d.Class).add(h.from, now, d.Ords, d.Absent)
		if len(d.Ords) > 0 {
			all.of(numClasses).add(h.from, now, d.Ords, 0)
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
		for w := range n.top {
			n.top[w] = slices.Clone(t.top[w])
		}
		out[c] = &n
	}
	return &out
}

// forget lets go of the customers whom nobody took for 30 days.
func (h *History) forget(now uint32) {
	for _, all := range h.holders {
		for _, t := range all {
			if t == nil {
				continue
			}
			t.close(h.from)
			if t.account.forget(Month.from(now)); len(t.tallies) == 0 {
				t.account = account{}
			}
		}
	}
}

func (all *tracks) of(c Class) *track {
	if all[c] == nil {
		all[c] = &track{}
	}
	return all[c]
}

func (t *track) add(from, now uint32, ords []record.Ordinal, absent int) {
	if now != t.step {
		t.close(from)
		t.account.forget(Month.from(now))
		t.step = now
	}
	for _, ord := range ords {
		t.touch(ord, now)
	}
	t.miss(absent, now)
}

// close counts the step that is over.
func (t *track) close(from uint32) {
	if t.step < from || t.step == 0 {
		return
	}
	t.steps++
	for w := range numWindows {
		n := uint32(t.used(w, w.from(t.step)))
		top := t.top[w]
		if len(top) == kept {
			if n <= top[0] {
				continue
			}
			top = slices.Delete(top, 0, 1)
		}
		i, _ := slices.BinarySearch(top, n)
		t.top[w] = slices.Insert(top, i, n)
	}
	t.step = 0
}

// Measure ends the history and returns what each holder used.
func (h *History) Measure() map[Holder]Uses {
	out := make(map[Holder]Uses, len(h.holders))
	for holder, all := range h.holders {
		var u Uses
		for c, t := range all {
			if t == nil {
				continue
			}
			t.close(h.from)
			if c < int(numClasses) {
				u.Class[c] = t.use(h.to)
			} else {
				u.Together = t.use(h.to)
			}
		}
		out[holder] = u
	}
	for principal, lineage := range h.only {
		if lineage != 0 {
			out[Holder{Kind: Lineage, ID: lineage}] = out[Holder{Kind: Principal, ID: principal}]
		}
	}
	return out
}

func (t *track) use(now uint32) Use {
	u := Use{Steps: t.steps}
	for w := range numWindows {
		u.Now[w] = uint32(t.used(w, w.from(now)))
		if top := t.top[w]; len(top) > 0 {
			// Of n counts the one of rank ceil(0.99 n) has n/100 above it.
			u.Most[w], u.P99[w] = top[len(top)-1], top[len(top)-1-t.steps/100]
		}
	}
	return u
}
