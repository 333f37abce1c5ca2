package intake

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/record"
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

func (r *rejects) write(file string, rej *Reject) error {
	if r.w == nil {
		return nil
	}
	if !r.began {
		r.began = true
		if err := r.w.Write([]string{"file", "line", "field", "code", "reason"}); err != nil {
			return fmt.Errorf("writing rejects: %w", err)
		}
	}
	if err := r.w.Write([]string{file, strconv.FormatInt(rej.Line, 10), rej.Field, rej.Code, rej.Reason}); err != nil {
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

// sums adds amounts by currency. They can pass 64 bits.
type sums struct {
	by map[string]*sum
}

type sum struct {
	units big.Int // at record.MaxScale
	scale uint8   // the finest that was added
}

func (s *sums) add(p record.Purchase) {
	if s.by == nil {
		s.by = map[string]*sum{}
	}
	t := s.by[p.Currency]
	if t == nil {
		t = &sum{}
		s.by[p.Currency] = t
	}
	t.scale = max(t.scale, p.Amount.Scale)
	units := big.NewInt(p.Amount.Units)
	t.units.Add(&t.units, units.Mul(units, power(record.MaxScale-p.Amount.Scale)))
}

// texts returns each sum with the decimals of the finest amount in it.
func (s *sums) texts() map[string]string {
	out := make(map[string]string, len(s.by))
	for currency, t := range s.by {
		units := new(big.Int).Quo(&t.units, power(record.MaxScale-t.scale))
		digits := new(big.Int).Abs(units).String()
		if pad := int(t.scale) + 1 - len(digits); pad > 0 {
			digits = strings.Repeat("0", pad) + digits
		}
		if cut := len(digits) - int(t.scale); t.scale > 0 {
			digits = digits[:cut] + "." + digits[cut:]
		}
		if units.Sign() < 0 {
			digits = "-" + digits
		}
		out[currency] = digits
	}
	return out
}

func power(n uint8) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}
