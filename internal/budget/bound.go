package budget

// Bound is the loss bound of a holder: stolen now, it could take at most this many
// customers of a class from now until the end of each window.
type Bound [numWindows]uint64

// Bound returns what a thief who holds h could take, the smallest over all limits
// that would stop them. Whoever holds a credential is also stopped by its principal,
// role and brand; whoever holds a principal can make credentials, and is stopped by
// the last three; and so on. principal and role are those of h, as far as it has
// them. What was used already is not subtracted: a thief may read it again for free.
func (r *Rules) Bound(h Holder, principal uint64, role string, class Class) Bound {
	var out Bound
	for w := range numWindows {
		best, bounded := uint64(0), false
		for kind := h.Kind; kind < numKinds; kind++ {
			limits := r.Resolve(kind, principal, role, class)
			if limits == (Limits{}) {
				best, bounded = 0, true // no rule: refused
				break
			}
			for by := range numWindows {
				if !limits[by].Set {
					continue
				}
				// A span is covered by this many windows, each holding at most the limit.
				times := (w.buckets() + by.buckets() - 1) / by.buckets()
				if n := uint64(times) * uint64(limits[by].Limit); !bounded || n < best {
					best, bounded = n, true
				}
			}
		}
		out[w] = best
	}
	return out
}

// Bound returns the loss bound of a holder under the rules that hold now.
func (b *Book) Bound(h Holder, principal uint64, role string, class Class) Bound {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules.Bound(h, principal, role, class)
}
