package seal

import (
	"math/rand/v2"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Among are customers to be made among those that a write makes anyway: in the same
// step, at random places among the others' ordinals, so that nothing that is stored
// tells them apart. Of each it stands in Prepared after the puts of the write; one that
// was not taken has failed.
type Among struct {
	// Puts are customers by external ids. One whose external id somebody has is not taken.
	Puts []Put
	// Take says how many of Puts go in where the write makes so many customers.
	Take func(fresh int) int
	// Way are changes of external ids, by ordinals, with which customers give way: to the
	// write nobody has the ids that they had.
	Way []Put
	// Draw, if set, draws the places, each a number from 0 below n; nil is the process's
	// own randomness, as in every server.
	Draw func(n int) int
}

// Giving returns an Among by which others give way, too. among may be nil.
func Giving(among *Among, way []Put) *Among {
	if len(way) == 0 {
		return among
	}
	next := &Among{Way: way}
	if among != nil {
		next.Puts, next.Take, next.Draw, next.Way = among.Puts, among.Take, among.Draw, slices.Concat(way, among.Way)
	}
	return next
}

// all are the puts of a write with those among them.
func (a *Among) all(puts []Put) []Put {
	if a == nil {
		return puts
	}
	return slices.Concat(puts, a.Puts, a.Way)
}

// giving reports whether a customer gives way.
func (a *Among) giving(ord record.Ordinal) bool {
	return slices.ContainsFunc(a.Way, func(p Put) bool { return p.Ord == ord })
}

// find corrects who was found for the n puts of the write and those among them: a write
// makes room for customers that are not there, and changes none by what stands among it.
func (a *Among) find(found []asked, n int) {
	for i := range n + len(a.Puts) {
		switch {
		case found[i].ord == 0:
		case i >= n:
			found[i] = asked{err: errNotTaken}
		case len(a.Way) > 0 && a.giving(found[i].ord):
			found[i].ord = 0
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
	take := 0
	if a.Take != nil { // also where nobody can: it counts
		take = min(a.Take(own), len(others))
	}
	for _, i := range others[take:] {
		made[i] = false
		p.fail(i, errNotTaken)
	}
	draw := a.Draw
	if draw == nil {
		draw = rand.N[int]
	}
	out := make([]int, 0, own+take)
	for left, rest := own, take; left+rest > 0; {
		if draw(left+rest) < rest {
			out = append(out, others[take-rest])
			rest--
		} else {
			out = append(out, fresh[own-left])
			left--
		}
	}
	return out
}
