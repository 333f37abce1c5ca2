package budget_test

import (
	"bufio"
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// bruteUse measures by the words of the definition: at every step of the last 30 days in
// which somebody was taken, whoever was taken in the buckets that the budget counts.
func bruteUse(log []logged, holds func(budget.Disclosure) bool, now time.Time) (u budget.Use) {
	bucket := func(t time.Time) int64 { return t.Unix() / 300 }
	lengths := [3]int64{12, 288, 8640}
	in := func(step, length int64) uint32 {
		seen, absent := map[record.Ordinal]bool{}, 0
		for _, e := range log {
			if b := bucket(e.at); holds(e.d) && b >= step-length && b <= step {
				absent += e.d.Absent
				for _, o := range e.d.Ords {
					seen[o] = true
				}
			}
		}
		return uint32(len(seen) + absent)
	}
	var steps []int64
	for _, e := range log {
		if b := bucket(e.at); holds(e.d) && b >= bucket(now)-8640 {
			steps = append(steps, b)
		}
	}
	steps = slices.Compact(steps)
	u.Steps = len(steps)
	for i, length := range lengths {
		var counts []uint32
		for _, step := range steps {
			counts = append(counts, in(step, length))
		}
		slices.Sort(counts)
		if n := len(counts); n > 0 {
			u.P99[i], u.Most[i] = counts[(99*n+99)/100-1], counts[n-1]
		}
		u.Now[i] = in(bucket(now), length)
	}
	return u
}

// copied is the history that comes out of what one writes.
func copied(t *rapid.T, h *budget.History) *budget.History {
	var b bytes.Buffer
	if err := h.Encode(bufio.NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	out, err := budget.DecodeHistory(bufio.NewReader(&b))
	if err != nil || b.Len() > 0 {
		t.Fatalf("%v, %d bytes are left", err, b.Len())
	}
	return out
}

// What a history measures is what its definition says, for every holder and class, also
// of histories longer than its 60 days, and of more steps than 100.
func TestAHistoryMeasuresWhatItSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var log []logged
		pace := time.Duration(rapid.Int64Range(1, 600).Draw(t, "pace")) * time.Minute
		for range rapid.IntRange(0, 250).Draw(t, "entries") {
			at = at.Add(time.Duration(rapid.Int64Range(0, 3).Draw(t, "gap")) * pace)
			d := person(t)
			d.At, d.Class = at, budget.Class(rapid.IntRange(0, 3).Draw(t, "class"))
			if d.Class == budget.Search && rapid.Bool().Draw(t, "absent") {
				d.Absent = 1
			} else if d.Class == budget.Search && rapid.Bool().Draw(t, "nobody") { // as earlier releases logged it
				d.Ords = []record.Ordinal{record.FirstNobody + record.Ordinal(len(log))}
			} else {
				for o := range rapid.IntRange(1, 3).Draw(t, "n") {
					d.Ords = append(d.Ords, record.Ordinal(10*o+rapid.IntRange(1, 9).Draw(t, "customer")))
				}
			}
			log = append(log, logged{at, d})
		}
		now := at.Add(time.Duration(rapid.Int64Range(0, 40*24).Draw(t, "idle")) * time.Hour)
		// Followed from its beginning, written down and read somewhere, and asked in between.
		h := budget.NewHistory()
		cut := rapid.IntRange(0, len(log)).Draw(t, "written after")
		for i, e := range log {
			if i == cut {
				h = copied(t, h)
				h.Measure(e.at)
			}
			if err := h.Add(e.d); err != nil {
				t.Fatal(err)
			}
		}
		if again := h.Measure(now); !reflect.DeepEqual(h.Measure(now), again) || !reflect.DeepEqual(copied(t, h).Measure(now), again) {
			t.Fatal("asked twice, or after it was written down, it measures another use")
		}
		got := h.Measure(now)
		for _, kind := range allKinds {
			holder, holds := holderOf(kind, person(t))
			for class := budget.Clear; class <= budget.Export; class++ {
				of := func(d budget.Disclosure) bool { return holds(d) && d.Class == class }
				if want := bruteUse(log, of, now); got[holder].Class[class] != want {
					t.Fatalf("%s, %s: %+v, want %+v", holder, class, got[holder].Class[class], want)
				}
			}
			persons := func(d budget.Disclosure) bool { return holds(d) && len(d.Ords) > 0 && !d.Ords[0].Nobody() }
			if want := bruteUse(log, persons, now); got[holder].Together != want {
				t.Fatalf("%s together: %+v, want %+v", holder, got[holder].Together, want)
			}
		}
	})
}
