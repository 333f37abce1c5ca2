package budget

import (
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const bucketMicros = int64(BucketLength / 1000)

// bucketOf returns the bucket of a time, or 0, which means never, for times before
// the first bucket and beyond the last.
func bucketOf(micros int64) uint32 {
	n := micros / bucketMicros
	if micros < 0 || n >= 1<<31 {
		return 0
	}
	return uint32(n)
}

// tally is what a bucket counts: the customers last disclosed in it, and each search of it
// that found nobody.
type tally struct {
	bucket uint32
	count  int
	absent int // of count, the searches
}

// account is what one holder took in one class. The sum over tallies, searches that found
// nobody aside, is the number of customers in last that are not yet forgotten.
type account struct {
	last    lastSeen
	tallies []tally // ascending by bucket, no zero counts
	sums    [numWindows]struct {
		from uint32 // sum counts the buckets from here on
		sum  int
	}
	horizon uint32 // buckets before it are forgotten
	swept   int    // customers in last after the last sweep
}

func newAccount() *account { return &account{} }

func (a *account) index(bucket uint32) (int, bool) {
	// Almost every change is in the newest bucket.
	if n := len(a.tallies); n > 0 && a.tallies[n-1].bucket == bucket {
		return n - 1, true
	}
	return slices.BinarySearchFunc(a.tallies, bucket, func(t tally, b uint32) int { return int(t.bucket) - int(b) })
}

func (a *account) change(bucket uint32, by int) {
	i, found := a.index(bucket)
	if !found {
		a.tallies = slices.Insert(a.tallies, i, tally{bucket: bucket})
	}
	a.tallies[i].count += by
	switch {
	case a.tallies[i].count != 0:
	case i == 0: // the oldest go first
		a.tallies = a.tallies[1:]
	default:
		a.tallies = slices.Delete(a.tallies, i, i+1)
	}
	for w := range a.sums {
		if bucket >= a.sums[w].from {
			a.sums[w].sum += by
		}
	}
}

// miss counts searches that found nobody. Each counts for itself: the log keeps nothing of
// the value that was searched for, so no two are known to be alike.
func (a *account) miss(absent int, now uint32) {
	if absent == 0 {
		return
	}
	a.change(now, absent)
	i, _ := a.index(now)
	a.tallies[i].absent += absent
}

// touch makes now the last bucket of a customer.
func (a *account) touch(ord record.Ordinal, now uint32) {
	was := a.last.get(ord)
	if was == now {
		return
	}
	if was >= a.horizon && was != 0 {
		a.change(was, -1)
	}
	a.last.set(ord, now)
	a.change(now, +1)
}

// forget drops the buckets before from. The customers in them are swept only when
// they are as many as those that stay, so a sweep costs each of them a constant.
func (a *account) forget(from uint32) {
	if from <= a.horizon {
		return
	}
	a.horizon = from
	for len(a.tallies) > 0 && a.tallies[0].bucket < from {
		a.change(a.tallies[0].bucket, -a.tallies[0].count)
	}
	if n := a.last.len(); n > 2*a.swept+64 {
		a.last.sweep(from)
		a.swept = a.last.len()
	}
}

// used returns what the buckets from from on count. It moves the
// window's sum there, forward or back, over the buckets in between only.
func (a *account) used(w Window, from uint32) int {
	s := &a.sums[w]
	i, _ := a.index(min(s.from, from))
	for ; i < len(a.tallies) && a.tallies[i].bucket < max(s.from, from); i++ {
		if from > s.from {
			s.sum -= a.tallies[i].count
		} else {
			s.sum += a.tallies[i].count
		}
	}
	s.from = from
	return s.sum
}

// overlay is what the running group adds to an account.
type overlay struct {
	ords   map[record.Ordinal]struct{} // all of them last seen in the group's bucket
	left   map[uint32]int              // customers that the group took out of an older bucket
	absent int                         // searches that found nobody
}

func newOverlay() *overlay {
	return &overlay{ords: map[record.Ordinal]struct{}{}, left: map[uint32]int{}}
}

func (o *overlay) add(a *account, d *Disclosure, now uint32) {
	o.absent += d.Absent
	for _, ord := range d.Ords {
		if _, in := o.ords[ord]; in {
			continue
		}
		o.ords[ord] = struct{}{}
		if was := (view{account: a, now: now}).last(ord); was != 0 {
			o.left[was]++
		}
	}
}

// view is an account as the running group sees it; either part may be nil.
type view struct {
	account *account
	overlay *overlay
	now     uint32
}

func (v view) last(ord record.Ordinal) uint32 {
	if v.overlay != nil {
		if _, in := v.overlay.ords[ord]; in {
			return v.now
		}
	}
	if v.account == nil {
		return 0
	}
	if at := v.account.last.get(ord); at >= v.account.horizon {
		return at
	}
	return 0
}

// used returns what the window that ends now counts: distinct customers, and searches
// that found nobody.
func (v view) used(w Window) int {
	from, n := w.from(v.now), 0
	if v.account != nil {
		n = v.account.used(w, from)
	}
	if v.overlay != nil {
		n += len(v.overlay.ords) + v.overlay.absent
		for bucket, left := range v.overlay.left {
			if bucket >= from {
				n -= left
			}
		}
	}
	return n
}

// missing returns what a disclosure adds to the window: customers that are not in it, and
// searches that found nobody.
func (v view) missing(d *Disclosure, w Window) int {
	from, n := w.from(v.now), d.Absent
	for _, ord := range d.Ords {
		if at := v.last(ord); at < from || at == 0 {
			n++
		}
	}
	return n
}

// fits returns the first bucket in which a disclosure would be accepted if nothing else
// happened, or 0 for never. Customers asked for again do not leave the window.
func (v view) fits(d *Disclosure, w Window, limit int) uint32 {
	cost := len(d.Ords) + d.Absent
	if cost > limit {
		return 0
	}
	asked := map[uint32]int{}
	for _, ord := range d.Ords {
		asked[v.last(ord)]++
	}
	from := w.from(v.now)
	others := v.used(w) - (cost - v.missing(d, w))
	if v.account != nil {
		i, _ := v.account.index(from)
		for ; i < len(v.account.tallies); i++ {
			t := v.account.tallies[i]
			if t.bucket == v.now {
				break // with the group's own, below
			}
			n := t.count - asked[t.bucket]
			if v.overlay != nil {
				n -= v.overlay.left[t.bucket]
			}
			if others -= n; others+cost <= limit {
				return t.bucket + w.buckets() + 1
			}
		}
	}
	return v.now + w.buckets() + 1
}
