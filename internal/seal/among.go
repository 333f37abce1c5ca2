package seal

import "math/rand/v2"

// Among are customers to be made among those that a write makes anyway: in the same
// step, at random places among the others' ordinals, so that nothing that is stored
// tells them apart. Of each it stands in Prepared after the puts of the write; one that
// was not taken has failed.
type Among struct {
	// Puts are customers by external ids. One whose external id somebody has is not taken.
	Puts []Put
	// Take says how many go in where the write makes so many customers.
	Take func(fresh int) int
}

// taken are those of all puts whose external ids nobody has: a write makes room for
// customers that are not there, and changes none by what stands among it.
func (a *Among) taken(found []asked, n int) {
	for i := n; i < len(found); i++ {
		if found[i].ord != 0 {
			found[i] = asked{err: errNotTaken}
		}
	}
}

// place returns who is made, in the order of their ordinals: of fresh those of the write
// itself, which are below n, and at random places among them as many others as are
// taken.
func (a *Among) place(p *Prepared, fresh []int, made []bool, n int) []int {
	own := 0
	for own < len(fresh) && fresh[own] < n {
		own++
	}
	others := fresh[own:]
	take := min(a.Take(own), len(others))
	for _, i := range others[take:] {
		made[i] = false
		p.fail(i, errNotTaken)
	}
	out := make([]int, 0, own+take)
	for left, rest := own, take; left+rest > 0; {
		if rand.N(left+rest) < rest {
			out = append(out, others[take-rest])
			rest--
		} else {
			out = append(out, fresh[own-left])
			left--
		}
	}
	return out
}
