package detect

import (
	"math"
	"math/bits"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
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

// distinct counts distinct customers in at most about a kilobyte, and searches that found
// nobody.
type distinct struct {
	few    []uint32 // ascending, while there are few
	many   *sketch
	absent int // the searches, no two of which are one
}

// sketch is the estimate. The sum of 2^-rank is kept as it changes, exactly, in units
// of 2^-sumBits, so that counting costs nothing.
type sketch struct {
	rank  [registers]uint8
	sum   uint64
	empty int
}

const sumBits = 53 // 1,024 registers of rank 0 fit

func newSketch(few []uint32) *sketch {
	k := &sketch{sum: registers << sumBits, empty: registers}
	for _, x := range few {
		k.put(mix(x))
	}
	return k
}

func (k *sketch) put(h uint64) {
	rank := uint8(bits.LeadingZeros64(h<<registerBits|1<<(64-sumBits))) + 1
	k.raise(int(h>>(64-registerBits)), rank)
}

func (k *sketch) raise(i int, rank uint8) {
	old := k.rank[i]
	if rank <= old {
		return
	}
	if old == 0 {
		k.empty--
	}
	k.rank[i] = rank
	k.sum -= 1<<(sumBits-old) - 1<<(sumBits-rank)
}

func (k *sketch) count() int {
	n := 0.7213 / (1 + 1.079/registers) * registers * registers / (float64(k.sum) / (1 << sumBits))
	if n <= 2.5*registers && k.empty > 0 {
		n = registers * math.Log(registers/float64(k.empty))
	}
	return int(n + 0.5)
}

func (s *distinct) clear() { *s = distinct{} }

func (s *distinct) add(ord record.Ordinal) {
	o := uint32(ord)
	if s.many != nil {
		s.many.put(mix(o))
		return
	}
	i, there := slices.BinarySearch(s.few, o)
	switch {
	case there:
	case len(s.few) < exactUpTo:
		s.few = slices.Insert(s.few, i, o)
	default:
		s.many, s.few = newSketch(append(s.few, o)), nil
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
	s.absent += o.absent
	if o.many == nil {
		for _, x := range o.few {
			s.add(record.Ordinal(x))
		}
		return
	}
	if s.many == nil {
		s.many, s.few = newSketch(s.few), nil
	}
	for i, r := range o.many.rank {
		s.many.raise(i, r)
	}
}

func (s *distinct) count() int {
	if s.many == nil {
		return len(s.few) + s.absent
	}
	return s.many.count() + s.absent
}
