package budget

import "time"

// Bound is the loss bound of a holder: stolen now, it could take at most this many
// distinct customers of a class from now until the end of each window.
type Bound [numWindows]uint64

// Plus returns what two can take who take different customers.
func (b Bound) Plus(o Bound) Bound {
	for w := range b {
		b[w] += o[w]
	}
	return b
}

// Min returns the smaller of two bounds in each window.
func (b Bound) Min(o Bound) Bound {
	for w := range b {
		b[w] = min(b[w], o[w])
	}
	return b
}

// Bound returns what a thief who holds h could take under every limit that would stop
// them. Whoever holds a credential is also stopped by its principal, role and brand;
// whoever holds a principal, by the last three; and so on. principal and role are those
// of h, as far as it has them.
//
// What was used already is not subtracted: a thief may read it again for free, and it is
// taken all the same. So this is exact, and not only a bound: a thief alone who takes
// whatever fits as soon as it fits takes this many, and never more.
//
// Where a season begins or ends within a window, the larger limits hold for all of it; and
// what is kept for others is for whoever has not begun, so that a thief of many has it.
// In both the bound is one that is not always reached.
func (r *Rules) Bound(h Holder, principal uint64, role string, class Class, from time.Time) Bound {
	var out Bound
	for w := range numWindows {
		tightest, some := r.tightest(h.Kind, principal, role, class, r.days(DateOf(from), DateOf(from.Add(w.Length()+BucketLength))))
		if some {
			out[w] = tightest.cover(int64(w.buckets())+1, numWindows-1) // a window can begin within a bucket
		}
	}
	return out
}

// tightest returns what stops a holder of a kind in each window, the most of some days, and
// whether anything is allowed on any of them.
func (r *Rules) tightest(kind HolderKind, principal uint64, role string, class Class, days []Date) (out Limits, some bool) {
	for _, day := range days {
		var one Limits
		refused := false
		for kind := kind; kind < numKinds; kind++ {
			limits := r.Resolve(kind, principal, role, class, day)
			refused = refused || limits == Limits{}
			for w, l := range limits {
				if t := &one[w]; l.Set && (!t.Set || l.Limit < t.Limit) {
					*t = l
				}
			}
		}
		switch {
		case refused: // no rule
		case !some:
			out, some = one, true
		default:
			out.loosen(one)
		}
	}
	return out, some
}

// loosen takes the larger of two limits of each window.
func (l *Limits) loosen(others Limits) {
	for w, o := range others {
		if l[w].Set = l[w].Set && o.Set; l[w].Set {
			l[w].Limit = max(l[w].Limit, o.Limit)
		}
	}
}

const boundless = ^uint64(0)

// cover returns the least sum of limits, up to those of a window, that together speak of
// n buckets in a row. A limit holds over every run of the buckets of its window and one
// more, so this many is the most that fits into the n buckets.
func (l *Limits) cover(n int64, w Window) uint64 {
	if n <= 0 {
		return 0
	}
	least := boundless
	if w > 0 {
		least = l.cover(n, w-1)
	}
	if !l[w].Set {
		return least
	}
	length, sum := int64(w.buckets())+1, uint64(0)
	if w == 0 {
		return uint64((n+length-1)/length) * uint64(l[w].Limit)
	}
	for n > 0 {
		n -= length
		sum += uint64(l[w].Limit)
		if rest := l.cover(n, w-1); rest != boundless {
			least = min(least, sum+rest)
		}
	}
	return least
}
