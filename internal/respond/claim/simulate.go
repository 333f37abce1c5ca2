package claim

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// ErrSimulate is joined to errors of a file that no leak can be made of.
var ErrSimulate = fault.New(fault.Invalid, "no leak can be made of this file")

// Leak says how a sample is made of an export: for practice, and to know what a claim
// answers.
type Leak struct {
	Share   float64 // of the rows that leak
	Noise   float64 // invented rows, for each that leaks
	Altered float64 // of the rows that leak, those whose values are altered, except identifiers
	Recase  bool    // every value in another case
	Seed    uint64
}

// Leaked counts what a leak has.
type Leaked struct {
	Read, Rows, Noise, Altered int
}

// Simulate makes a leak of an export in CSV. The same seed makes the same leak.
func Simulate(w io.Writer, export io.Reader, l Leak) (out Leaked, err error) {
	for _, x := range [...]float64{l.Share, l.Noise, l.Altered} {
		if !(x >= 0 && x <= 1) && x != l.Noise || x < 0 || x > 100 {
			return out, fmt.Errorf("%w: share and altered are from 0 to 1, noise is from 0", ErrSimulate)
		}
	}
	r := rand.New(rand.NewPCG(l.Seed, 0x636c61696d))
	in, to := csv.NewReader(export), csv.NewWriter(w)
	in.FieldsPerRecord, in.LazyQuotes = -1, true
	head, err := in.Read()
	if err != nil {
		return out, errors.Join(ErrSimulate, fmt.Errorf("reading the header: %w", err))
	}
	if err := to.Write(head); err != nil {
		return out, err
	}
	for {
		row, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return out, errors.Join(ErrSimulate, fmt.Errorf("reading row %d: %w", out.Read+1, err))
		}
		out.Read++
		if r.Float64() >= l.Share {
			continue
		}
		if r.Float64() < l.Altered {
			out.Altered++
			alter(r, head, row)
		}
		recase(r, row, l.Recase)
		if err := to.Write(row); err != nil {
			return out, err
		}
		out.Rows++
		for n := l.Noise; r.Float64() < n; n-- {
			out.Noise++
			if err := to.Write(invented(r, head, out.Noise)); err != nil {
				return out, err
			}
		}
	}
	to.Flush()
	return out, to.Error()
}

// identifier reports whether a column leads to its customer.
func identifier(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "mail") || strings.Contains(name, "phone") || strings.HasSuffix(name, "id") || strings.Contains(name, "token")
}

// alter writes another value into each column that leads to nobody.
func alter(r *rand.Rand, head, row []string) {
	for i := range row {
		if i < len(head) && !identifier(head[i]) && row[i] != "" {
			row[i] += strconv.Itoa(1 + r.IntN(9))
		}
	}
}

func recase(r *rand.Rand, row []string, is bool) {
	if !is {
		return
	}
	for i := range row {
		if r.IntN(2) == 0 {
			row[i] = strings.ToUpper(row[i])
		} else {
			row[i] = strings.ToLower(row[i])
		}
	}
}

// invented is a row of nobody.
func invented(r *rand.Rand, head []string, n int) []string {
	out := make([]string, len(head))
	for i, name := range head {
		switch name = strings.ToLower(name); {
		case strings.Contains(name, "mail"):
			out[i] = fmt.Sprintf("nobody%d.%06d@nowhere.example", n, r.IntN(1_000_000))
		case strings.Contains(name, "phone"):
			out[i] = fmt.Sprintf("+1555%07d", r.IntN(10_000_000))
		case identifier(name):
			out[i] = fmt.Sprintf("X-%d-%06d", n, r.IntN(1_000_000))
		default:
			out[i] = "Nobody"
		}
	}
	return out
}
