package intake

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// hints count the faults of a file that are one: a whole column without a time zone is
// mended in the mapping, not two thousand times in the file. They are safe for concurrent
// use: rows are read ahead of the report.
type hints struct {
	mu sync.Mutex
	of map[hintKey]int64
}

type hintKey struct{ field, reason string }

func (h *hints) add(_ string, f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = map[hintKey]int64{}
	}
	if len(h.of) < maxNames { // attributes can have any name
		h.of[hintKey{f.Field, f.Reason}]++
	}
}

// hinted are the errors that hints exist for.
func hinted() []error {
	return []error{errNoZone, errOrder, errSerial, errMarks, errNobody, errCountry}
}

// texts are the hints for a file of which so many rows were read.
func (h *hints) texts(read int64) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, n := range h.of {
		for _, err := range hinted() {
			if err.Error() == key.reason {
				at := hintOf(err)
				out = append(out, fmt.Sprintf("%s of %s %s %s: %s", grouped(n), grouped(read), key.field, at.what, at.do))
			}
		}
	}
	slices.Sort(out)
	return out
}

// grouped writes a number with commas, as people read it.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && c != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}
