package intake

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// rejects writes the file of refused rows.
type rejects struct {
	w     *csv.Writer // nil: nobody wants it
	began bool
}

func newRejects(w io.Writer) *rejects {
	if w == nil {
		return &rejects{}
	}
	return &rejects{w: csv.NewWriter(w)}
}

func (r *rejects) write(file string, line int64, f Fault) error {
	if r.w == nil {
		return nil
	}
	if !r.began {
		r.began = true
		if err := r.w.Write([]string{"file", "line", "field", "code", "reason"}); err != nil {
			return fmt.Errorf("writing rejects: %w", err)
		}
	}
	if err := r.w.Write([]string{file, strconv.FormatInt(line, 10), f.Field, f.Code, f.Reason}); err != nil {
		return fmt.Errorf("writing rejects: %w", err)
	}
	return nil
}

func (r *rejects) flush() error {
	if r.w == nil {
		return nil
	}
	r.w.Flush()
	if err := r.w.Error(); err != nil {
		return fmt.Errorf("writing rejects: %w", err)
	}
	return nil
}

// sums adds amounts by currency and number of decimals. They can pass 64 bits.
type sums struct {
	of   map[sumKey]*sum
	last sumKey // of the amount before, and its sum: mostly the next one's too
	sum  *sum
}

type sumKey struct {
	currency string
	scale    uint8
}

// sum is the two parts together.
type sum struct {
	large big.Int
	small int64
}

func newSums() *sums { return &sums{of: map[sumKey]*sum{}} }

func (s *sums) add(p *record.Purchase) {
	key := sumKey{p.Currency, p.Amount.Scale}
	if s.sum == nil || s.last != key {
		s.turn(key)
	}
	t := s.sum
	units := p.Amount.Units
	if units > 0 && t.small > math.MaxInt64-units || units < 0 && t.small < math.MinInt64-units {
		t.large.Add(&t.large, big.NewInt(t.small))
		t.small = 0
	}
	t.small += units
}

// turn turns to the sum of another currency or number of decimals.
func (s *sums) turn(key sumKey) {
	key.currency = strings.Clone(key.currency) // not the file that it was read from
	t := s.of[key]
	if t == nil {
		t = &sum{}
		s.of[key] = t
	}
	s.last, s.sum = key, t
}

// texts returns each currency's sum with the decimals of the finest amount in it.
func (s *sums) texts() map[string]string {
	scales := map[string]uint8{}
	for k := range s.of {
		scales[k.currency] = max(scales[k.currency], k.scale)
	}
	totals := map[string]*big.Int{}
	for k, t := range s.of {
		units := new(big.Int).Add(&t.large, big.NewInt(t.small))
		units.Mul(units, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scales[k.currency]-k.scale)), nil))
		if totals[k.currency] == nil {
			totals[k.currency] = new(big.Int)
		}
		totals[k.currency].Add(totals[k.currency], units)
	}
	out := make(map[string]string, len(totals))
	for currency, units := range totals {
		scale := int(scales[currency])
		digits := new(big.Int).Abs(units).String()
		if pad := scale + 1 - len(digits); pad > 0 {
			digits = strings.Repeat("0", pad) + digits
		}
		if cut := len(digits) - scale; scale > 0 {
			digits = digits[:cut] + "." + digits[cut:]
		}
		if units.Sign() < 0 {
			digits = "-" + digits
		}
		out[currency] = digits
	}
	return out
}
