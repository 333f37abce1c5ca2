package record

import (
	"errors"
	"strconv"
	"strings"
)

// Amount is an exact decimal amount of money: Units divided by ten to the Scale.
// Scale is at most [MaxScale]. The scale is kept as given, so that "12.50" is
// returned as "12.50".
type Amount struct {
	Units int64
	Scale uint8
}

// MaxScale is the greatest number of decimals of an [Amount]; ISO 4217 needs 4.
const MaxScale = 9

// ErrAmount is returned for text that is not a decimal amount.
var ErrAmount = errors.New("not a decimal amount such as 12.50 (a point as separator, no thousands separators, no currency sign)")

// ParseAmount reads a decimal number with an optional sign.
func ParseAmount(s string) (Amount, error) {
	whole, frac, point := strings.Cut(s, ".")
	if point && frac == "" || len(frac) > MaxScale {
		return Amount{}, ErrAmount
	}
	for _, r := range frac {
		if r < '0' || r > '9' {
			return Amount{}, ErrAmount
		}
	}
	units, err := strconv.ParseInt(whole+frac, 10, 64)
	if err != nil || whole == "" || whole == "-" || whole == "+" {
		return Amount{}, ErrAmount
	}
	return Amount{Units: units, Scale: uint8(len(frac))}, nil
}

// String returns the amount with exactly Scale decimals.
func (a Amount) String() string {
	s := strconv.FormatInt(a.Units, 10)
	if a.Scale == 0 {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if pad := int(a.Scale) + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	cut := len(s) - int(a.Scale)
	return sign + s[:cut] + "." + s[cut:]
}
