package detect

import (
	"math"
	"math/bits"
	"slices"

	"github.com/cloakroom/cloakroom/internal/record"
)

const (
	// exactUpTo is how many customers are counted exactly. Nearly all hours and days
	// of nearly all people are below it.
	exactUpTo = 256
	// registers is the size of the estimate beyond (HyperLogLog, Flajolet et al. 2007):
	// a standard error of 3 %, far below what people's days differ by. Budgets, which
	// must be exact, are counted elsewhere.
	registerBits = 10
	registers    = 1 << registerBits
)

// distinct counts distinct customers in at most about a kilobyte.
type distinct struct {
	few   []uint32 // ascending, while there are few
	many  *[registers]uint8
	known int // the count, or -1 when it must be made anew
}

func (s *distinct) clear() { *s = distinct{} }

func (s *distinct) add(ord record.Ordinal) {
	o := uint32(ord)
	if s.many == nil {
		i, there := slices.BinarySearch(s.few, o)
		if there {
			return
		}
		if len(s.few) < exactUpTo {
			s.few = slices.Insert(s.few, i, o)
			s.known = len(s.few)
			return
		}
		s.many = new([registers]uint8)
		for _, x := range s.few {
			s.put(mix(x))
		}
		s.few = nil
	}
	s.put(mix(o))
}

func (s *distinct) put(h uint64) {
	i, rank := h>>(64-registerBits), uint8(bits.LeadingZeros64(h<<registerBits|1<<(registerBits-1)))+1
	if rank > s.many[i] {
		s.many[i], s.known = rank, -1
	}
}

// mix spreads ordinals over 64 bits (the finaliser of SplitMix64).
func mix(o uint32) uint64 {
	x := uint64(o) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (s *distinct) merge(o *distinct) {
	if o.many == nil {
		for _, x := range o.few {
			s.add(record.Ordinal(x))
		}
		return
	}
	if s.many == nil {
		s.many = new([registers]uint8)
		for _, x := range s.few {
			s.put(mix(x))
		}
		s.few = nil
	}
	for i, r := range o.many {
		if r > s.many[i] {
			s.many[i], s.known = r, -1
		}
	}
}

func (s *distinct) count() int {
	if s.known >= 0 {
		return s.known
	}
	sum, empty := 0.0, 0
	for _, r := range s.many {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	n := 0.7213 / (1 + 1.079/registers) * registers * registers / sum
	if n <= 2.5*registers && empty > 0 {
		n = registers * math.Log(registers/float64(empty))
	}
	s.known = int(n + 0.5)
	return s.known
}
