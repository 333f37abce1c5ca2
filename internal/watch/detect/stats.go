package detect

import "math"

// logTail is the logarithm of P(X >= x) where X is negative binomial with a mean and
// variance mean + alpha*mean². Counts of people at work are never Poisson: some days
// are fuller than others.
func logTail(x int, mean, alpha float64) float64 {
	if x <= 0 {
		return 0
	}
	k := 1 / alpha // the size of the distribution
	// P(X >= x) is the regularised incomplete beta function I_q(x, k) at
	// q = mean/(mean+k).
	return logBeta(mean/(mean+k), float64(x), k)
}

// logBeta is log I_x(a, b), by the continued fraction of Lentz.
func logBeta(x, a, b float64) float64 {
	if x <= 0 {
		return math.Inf(-1)
	}
	if x >= 1 {
		return 0
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := lab - la - lb + a*math.Log(x) + b*math.Log1p(-x)
	if x > (a+1)/(a+b+2) { // the fraction converges fast on the other side only
		rest := math.Exp(front + math.Log(fraction(1-x, b, a)) - math.Log(b))
		return math.Log1p(-min(rest, 1-1e-16))
	}
	return front + math.Log(fraction(x, a, b)) - math.Log(a)
}

func fraction(x, a, b float64) float64 {
	const (
		tiny  = 1e-300
		close = 1e-12
		most  = 10_000 // enough for counts of millions
	)
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	h := d
	for m := 1.0; m < most; m++ {
		up := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/away(1+up*d), away(1+up/c)
		h *= d * c
		up = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/away(1+up*d), away(1+up/c)
		h *= d * c
		if math.Abs(d*c-1) < close {
			break
		}
	}
	return h
}

// sigmas is the z of a normal distribution whose upper tail has that logarithm of a
// probability.
func sigmas(logP float64) float64 {
	const far = -30 // beyond it 1-2p is 1 in floating point
	if logP > far {
		return math.Sqrt2 * math.Erfinv(max(min(1-2*math.Exp(logP), 1), -1+1e-16))
	}
	z := math.Sqrt(-2 * logP)
	for range 4 { // log of the tail ~ -z²/2 - log(z sqrt(2 pi))
		z = math.Sqrt(-2 * (logP + math.Log(z) + 0.5*math.Log(2*math.Pi)))
	}
	return z
}

// excess is how far above the mean a count is, in sigmas.
func excess(x int, mean, alpha float64) float64 { return sigmas(logTail(x, mean, alpha)) }

// score is a count as a standard normal number: the z of the middle of its own step
// in the distribution. Unlike (x-mean)/sd it is not skewed where the mean is small.
func score(x int, mean, alpha float64) float64 {
	p, q := math.Exp(logTail(x, mean, alpha)), math.Exp(logTail(x+1, mean, alpha))
	mid := (p + q) / 2
	return max(min(math.Sqrt2*math.Erfinv(max(min(1-2*mid, 1-1e-16), -1+1e-16)), scoreBound), -scoreBound)
}

// scoreBound keeps one wild hour from being the whole of a mean: that is the rule
// surge's business.
const scoreBound = 4

// atMost is the count that one in about a thousand exceeds.
func atMost(mean, alpha float64) int {
	low, high := 0, 1
	for logTail(high, mean, alpha) > logRare {
		low, high = high, 2*high
	}
	for high-low > 1 {
		if mid := low + (high-low)/2; logTail(mid, mean, alpha) > logRare {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

const logRare = -6.9 // one in 1,000

// spread estimates alpha of counts from how far they lay from what was expected.
type spread struct {
	Over, Square, Weight float32 // sums of (x-mean)²-mean, of mean², and of 1, fading
}

const (
	priorWeight = 12    // of alpha's prior, in typical counts
	spreadFade  = 0.995 // per count
)

func (s *spread) learn(x int, mean float64) {
	// A wild count teaches little, so that a theft does not make the next one usual.
	d := min(float64(x), mean+6*math.Sqrt(mean+mean*mean)) - mean
	s.Over = s.Over*spreadFade + float32(d*d-mean)
	s.Square = s.Square*spreadFade + float32(mean*mean)
	s.Weight = s.Weight*spreadFade + 1
}

func (s *spread) alpha(prior, least float64) float64 {
	if s.Weight == 0 || s.Square == 0 {
		return prior
	}
	typical := priorWeight * float64(s.Square/s.Weight)
	a := (float64(s.Over) + prior*typical) / (float64(s.Square) + typical)
	return max(min(a, 20), least)
}

// level is a fading mean.
type level struct {
	Sum, Weight float32
}

func (l *level) learn(x, fade float64) {
	l.Sum = l.Sum*float32(fade) + float32(x)
	l.Weight = l.Weight*float32(fade) + 1
}

// mean is the level, drawn towards a prior as if that had been seen n times.
func (l *level) mean(prior, n float64) float64 {
	return (float64(l.Sum) + prior*n) / (float64(l.Weight) + n)
}

// clip bounds what a count teaches, so that a theft is not learned as usual at once.
func clip(x int, mean, alpha float64) float64 {
	return min(float64(x), mean+3*math.Sqrt(mean+alpha*mean*mean)+2)
}
