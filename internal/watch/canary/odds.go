package canary

import "math"

// Odds is how likely it is that somebody who reads n customers drawn at random meets a
// canary, where a share rate of all are canaries: 1-(1-rate)^n.
func Odds(n int, rate float64) float64 {
	if rate >= 1 && n > 0 {
		return 1
	}
	return -math.Expm1(float64(n) * math.Log1p(-rate))
}
