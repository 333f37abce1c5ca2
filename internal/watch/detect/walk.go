package detect

import (
	"fmt"
	"math"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// walkWindow is how many of the newest distinct customers of a principal are looked
	// at together.
	walkWindow = 256
	// walkStep is how many new ones it takes to look again.
	walkStep = 32
	// walkBulk is from how many customers on an entry is looked at by itself: its own
	// list is long enough, and longer than the window can hold.
	walkBulk = 64
	// walkAlpha is how much more than by chance neighbours come together among honest
	// readers: families, and customers of one import.
	walkAlpha = 0.3
	// walkLearn is how much more of neighbours than usual is learned at a time, so that
	// a walk does not become usual while it continues.
	walkLearn = 0.05
)

// walk notices that neighbours in the vault's numbering are read more often than
// chance gives, in whatever order. A token does not tell its number, but a list that
// was made in the order of an import, or counting through customer numbers, does.
func (s *sight) walk() {
	p := s.p
	if len(s.ords) >= walkBulk {
		s.neighbours(s.ords)
		return
	}
	for _, o := range s.ords {
		if slices.Contains(p.recent, uint32(o)) {
			continue
		}
		if len(p.recent) == walkWindow {
			p.recent = append(p.recent[:0], p.recent[1:]...)
		}
		p.recent = append(p.recent, uint32(o))
		p.fresh++
	}
	if p.fresh < walkStep || len(p.recent) < walkBulk {
		return
	}
	p.fresh = 0
	sorted := make([]record.Ordinal, len(p.recent))
	for i, o := range p.recent {
		sorted[i] = record.Ordinal(o)
	}
	slices.Sort(sorted)
	s.neighbours(sorted)
}

// neighbours looks at distinct customers in ascending order.
func (s *sight) neighbours(ords []record.Ordinal) {
	p, r, rules := s.p, s.r, s.d.rules.Walk
	near, run, longest := 0, 1, 1
	for i := 1; i < len(ords); i++ {
		if int(ords[i]-ords[i-1]) <= rules.Gap {
			near++
			run++
			longest = max(longest, run)
		} else {
			run = 1
		}
	}
	n := float64(len(ords))
	chance := 1 - math.Pow(1-min(float64(rules.Gap)/s.d.space.size(), 1), n)
	own := p.walking.mean(r.walking.mean(0, 20), 2)
	mean := max(n*max(chance, own), 0.5)
	if near >= rules.Least && excess(near, mean, walkAlpha) >= rules.Sigma && p.raised[ofWalk].due(s.index, s.now.hour, hoursPerDay, p.inWeek.count(), moves) {
		s.raise(Walk, rules.Grade, len(ords),
			fmt.Sprintf("of %d customers chance makes %s neighbours in the vault's numbering, and this principal's or role's own ways %s", len(ords), figure(n*chance), figure(n*own)),
			fmt.Sprintf("%d of the last %d are neighbours, the longest run %d: somebody goes through a list", near, len(ords), longest))
	}
	share := float64(near) / n
	p.walking.learn(min(share, own+walkLearn), 0.95)
	r.walking.learn(min(share, chance+0.2), 0.999)
}
