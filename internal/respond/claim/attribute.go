package claim

import (
	"cmp"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// Source is a way by which a list may have left: an export, a large disclosure, or all that
// a credential, a person or a recipient was shown.
type Source struct {
	Names []Name
	// Size is how many distinct customers it has, those of the sample or not.
	Size int
	// Covers are the places of the matched rows that it has, at a time when the values of
	// the row were in force.
	Covers *roaring.Bitmap
	// Lacks: the sample has fields that it never showed.
	Lacks bool
	// print is one for equal sets: those cannot be told apart.
	print print
}

// Name is one name of a source. Sources of the same customers share one hypothesis.
type Name struct {
	Kind string // export, entry, credential, principal or recipient
	ID   string
}

// print is a fingerprint of a set that does not hang on the order of its members.
type print struct {
	n    int
	a, b uint64
}

func (p *print) add(ord uint32) {
	x := uint64(ord) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	p.n, p.a, p.b = p.n+1, p.a+x, p.b^(x*x|1)
}

// Sample is what a model needs of a sample.
type Sample struct {
	// Customers is how many customers the brand has.
	Customers int
	// Matched are the distinct customers of the sample, Foreign the distinct rows that are
	// nobody's.
	Matched, Foreign int
}

// Found is one hypothesis with its weight.
type Found struct {
	Source  *Source
	Covered int     // of the matched customers
	Weight  float64 // posterior
}

// Answer is a posterior over the sources and none of them.
type Answer struct {
	// Ranked are the sources with a weight worth naming, the likeliest first.
	Ranked []Found
	// Set is how many of the first of them together have nearly all the weight of the
	// sources: the answer. 0 where none of ours explains the sample.
	Set int
	// Ours is the weight of all sources together; Elsewhere that of our customers in a list
	// that no source explains; Foreign that of a list of somebody else's.
	Ours, Elsewhere, Foreign float64
}

const (
	// enough is the weight at which an answer is given at all.
	enough = 0.95
	// mass is how much of the weight of the sources the answer has: the right one is left
	// out once in a hundred times at most, if the model holds.
	mass = 0.99
	// lacking is how much less likely a source is that never showed what the sample has.
	lacking = 0.02
	// named is the least weight that is worth naming.
	named = 0.001
	// MaxRanked bounds the sources that are named.
	MaxRanked = 20
)

// noises are how many of the matched rows may come from elsewhere, with what is believed of
// each before: most leaks are clean, and some are mixed to mislead.
var noises = [...]struct{ share, prior float64 }{
	{0.001, 0.2}, {0.01, 0.2}, {0.03, 0.2}, {0.1, 0.15}, {0.2, 0.1}, {0.35, 0.08}, {0.5, 0.05}, {0.7, 0.02},
}

// What is believed before of where a list comes from. A claim to have our data is more often
// false than true.
const (
	priorOurs      = 0.4
	priorElsewhere = 0.1
	priorForeign   = 0.5
)

// Attribute weighs every source against the others and against none. A source's set explains
// a matched row with 1 in its size, the whole brand with 1 in all customers: so a large set
// that has everybody explains less than the small one that the sample was taken from, and
// of nested sets the smallest that covers the sample wins.
//
// A foreign list that happens to have customers of ours has them from anywhere, or from the
// part of our customers that its own people are like, such as those of a country; each
// source's set stands for such a part, too. What tells them apart is how many of the rows
// are nobody's.
func Attribute(s Sample, sources []Source) Answer {
	groups := tied(sources)
	var a Answer
	if s.Matched == 0 || s.Customers == 0 {
		a.Foreign = 1
		return a
	}
	n := float64(max(s.Customers, s.Matched))
	leak, chance := betaBinomial(s.Foreign, s.Matched, 1, 4), betaBinomial(s.Foreign, s.Matched, 4, 1)
	k := math.Log(float64(max(len(groups), 1)))
	logs := make([]float64, len(groups))
	elsewhere := math.Log(priorElsewhere) + leak
	foreign := math.Log(priorForeign/2) + chance
	for i := range groups {
		g := &groups[i]
		covered := int(g.Covers.GetCardinality())
		ratio := likelihood(covered, s.Matched, float64(max(g.Size, covered, 1)), n)
		logs[i] = math.Log(priorOurs) - k + ratio + leak
		if g.Lacks {
			logs[i] += math.Log(lacking)
		}
		foreign = addLogs(foreign, math.Log(priorForeign/2)-k+math.Log(min(float64(g.Size)/n, 1))+ratio+chance)
	}
	total := addLogs(elsewhere, foreign)
	for _, l := range logs {
		total = addLogs(total, l)
	}
	a.Elsewhere, a.Foreign = math.Exp(elsewhere-total), math.Exp(foreign-total)
	for i := range groups {
		w := math.Exp(logs[i] - total)
		a.Ours += w
		if w >= named {
			a.Ranked = append(a.Ranked, Found{&groups[i], int(groups[i].Covers.GetCardinality()), w})
		}
	}
	slices.SortStableFunc(a.Ranked, func(x, y Found) int { return cmp.Compare(y.Weight, x.Weight) })
	if a.Ours >= enough {
		sum := 0.0
		for a.Set < len(a.Ranked) && sum < mass*a.Ours {
			sum += a.Ranked[a.Set].Weight
			a.Set++
		}
	}
	a.Ranked = a.Ranked[:min(len(a.Ranked), max(MaxRanked, a.Set))]
	return a
}

// likelihood is the logarithm of how much likelier the matched rows are, drawn from a set of
// a size that has some of them, than drawn from all customers: over every share of noise.
func likelihood(covered, matched int, size, customers float64) float64 {
	out := math.Inf(-1)
	for _, noise := range noises {
		l := math.Log(noise.prior) + float64(covered)*math.Log((1-noise.share)*customers/size+noise.share)
		if covered < matched {
			l += float64(matched-covered) * math.Log(noise.share)
		}
		out = addLogs(out, l)
	}
	return out
}

// tied joins the sources with the same customers, which nothing can tell apart.
func tied(sources []Source) []Source {
	at := map[print]int{}
	out := make([]Source, 0, len(sources))
	for i := range sources {
		s := sources[i]
		if s.Covers == nil || s.Covers.IsEmpty() {
			continue // it is as if it was not there
		}
		j, there := at[s.print]
		if !there || s.print.n == 0 {
			at[s.print] = len(out)
			s.Names = slices.Clone(s.Names)
			out = append(out, s)
			continue
		}
		o := &out[j]
		o.Names = append(o.Names, s.Names...)
		o.Lacks = o.Lacks && s.Lacks
		if s.Covers.GetCardinality() > o.Covers.GetCardinality() {
			o.Covers = s.Covers
		}
	}
	return out
}

// Residual is the answer for the rows that the first answer leaves over: a second source,
// where there are enough of them.
func Residual(s Sample, sources []Source, first Answer) (Answer, int) {
	if first.Set == 0 {
		return Answer{}, 0
	}
	all := roaring.New()
	for i := range sources {
		if sources[i].Covers != nil {
			all.Or(sources[i].Covers)
		}
	}
	for _, f := range first.Ranked[:first.Set] {
		all.AndNot(f.Source.Covers)
	}
	left := s.Matched - int(first.Ranked[0].Source.Covers.GetCardinality())
	if left < leftOver || all.IsEmpty() {
		return Answer{}, left
	}
	rest := make([]Source, 0, len(sources))
	for i := range sources {
		if sources[i].Covers == nil {
			continue
		}
		x := sources[i]
		x.Covers = roaring.And(x.Covers, all)
		rest = append(rest, x)
	}
	a := Attribute(Sample{Customers: s.Customers, Matched: left}, rest)
	return a, left
}

// leftOver is how many rows a second source must explain to be looked for.
const leftOver = 10

// betaBinomial is the logarithm of the chance that of n rows, foreign are nobody's, where
// their share is believed to be as Beta(a, b), without the factor that all share.
func betaBinomial(foreign, matched int, a, b float64) float64 {
	return lbeta(float64(foreign)+a, float64(matched)+b) - lbeta(a, b)
}

func lbeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

func addLogs(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
