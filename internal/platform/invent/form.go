package invent

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// form returns an id with its number blanked, if it is letters around one number, and
// the number; of any other kind of id it blanks every sign, and there is no number.
func form(id string) (string, uint64) {
	from := strings.IndexAny(id, "0123456789")
	if from >= 0 {
		to := from
		for to < len(id) && id[to] >= '0' && id[to] <= '9' {
			to++
		}
		if n, err := strconv.ParseUint(id[from:to], 10, 60); err == nil && !strings.ContainsAny(id[to:], "0123456789") {
			return id[:from] + strings.Repeat("#", to-from) + id[to:], n
		}
	}
	b := []byte(id)
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
			b[i] = 'x' // a digit of sixteen, most likely
		case c >= 'A' && c <= 'F':
			b[i] = 'X'
		case c >= 'g' && c <= 'z':
			b[i] = 'a'
		case c >= 'G' && c <= 'Z':
			b[i] = 'A'
		}
	}
	return string(b), 0
}

// fill draws an id of a form.
func (l *Likeness) fill(r *rand.Rand, form string) string {
	if digits := strings.Count(form, "#"); digits > 0 {
		from := strings.IndexByte(form, '#')
		low, high := uint64(1), uint64(1)
		for range digits {
			high *= 10
		}
		if s := l.numbers[form]; s != nil && s.high > s.low {
			if s.n*4 < s.high-s.low {
				low, high = s.low, s.high+1 // between the others
			} else {
				// They stand close: above them, so far that those who come next are not there soon.
				low = s.high + 1
				for far := uint64(1); far < high; far *= 10 {
					if far > 1000*s.high {
						high = far
						break
					}
				}
			}
		}
		n := strconv.FormatUint(low+r.Uint64N(max(high, low+1)-low), 10)
		if len(n) < digits {
			n = strings.Repeat("0", digits-len(n)) + n
		}
		return form[:from] + n + form[from+digits:]
	}
	b := []byte(form)
	for i, c := range b {
		switch c {
		case 'x':
			b[i] = "0123456789abcdef"[r.IntN(16)]
		case 'X':
			b[i] = "0123456789ABCDEF"[r.IntN(16)]
		case 'a':
			b[i] = byte('a' + r.IntN(26))
		case 'A':
			b[i] = byte('A' + r.IntN(26))
		}
	}
	return string(b)
}

// ExternalID draws a number of the form that the others have.
func (l *Likeness) ExternalID(r *rand.Rand) string {
	f, ok := l.ids.draw(r, 1)
	if !ok {
		f = "C#########"
	}
	return l.fill(r, f)
}

// Renumber returns another external id of the form that one has: of numbers a higher one.
func Renumber(r *rand.Rand, id string) string {
	f, n := form(id)
	l := NewLikeness()
	digits := strings.Count(f, "#")
	if digits == 0 {
		return l.fill(r, f)
	}
	next := strconv.FormatUint(n+1+r.Uint64N(9*n+1000), 10)
	if len(next) > digits {
		return l.fill(r, f) // anywhere: above there is no room
	}
	from := strings.IndexByte(f, '#')
	return f[:from] + strings.Repeat("0", digits-len(next)) + next + f[from+digits:]
}
