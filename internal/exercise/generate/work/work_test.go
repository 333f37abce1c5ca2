package work

import (
	"reflect"
	"testing"
)

func days(t *testing.T, seed uint64) (out []Event) {
	t.Helper()
	p := New(seed, Staff{Associates: 20, Agents: 5, Applications: 1, Campaigns: 1, Letter: 100}, 3000)
	known := uint32(3000)
	last := int64(-1)
	err := p.Hours(0, 14, func(day, hour int, events []Event) error {
		for _, e := range events {
			if e.At < last || e.At < int64(day)*Day+int64(hour)*Hour {
				t.Fatalf("day %d hour %d: an event at %d after one at %d", day, hour, e.At, last)
			}
			last = e.At
			if e.Act == Join {
				known = max(known, e.Customers[0])
			}
			if e.Act == Fulfil && e.Customers[0] > known+50 {
				t.Fatalf("an order of customer %d, and the newest is %d", e.Customers[0], known)
			}
			e.By = nil
			out = append(out, e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEqualSeedsHaveEqualDays(t *testing.T) {
	a, b, c := days(t, 1), days(t, 1), days(t, 2)
	if len(a) < 5000 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d events and %d, or others", len(a), len(b))
	}
	if reflect.DeepEqual(a, c) {
		t.Error("another seed gave the same days")
	}
	acts := map[Act]int{}
	for _, e := range a {
		acts[e.Act]++
	}
	for act := Search; act <= Send; act++ {
		if acts[act] == 0 {
			t.Errorf("nobody did %d: %v", act, acts)
		}
	}
}
