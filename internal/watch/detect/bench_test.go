package detect

import (
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// BenchmarkObserve is the cost of one entry of a brand at work.
func BenchmarkObserve(b *testing.B) {
	var events []event
	s := newSimulation(1, 100, 30, 1, 1, 50_000)
	s.run(40, func(i uint64, e *entry.Entry, ords []record.Ordinal) {
		events = append(events, event{e: e, ords: ords})
	})
	d := New(1, rules(b), nil)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		ev := events[i%len(events)]
		d.Observe(uint64(i), ev.e, ev.ords)
	}
}
