package containment

import (
	"errors"
	"testing"
	"time"
)

func TestMayUndo(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	c := Containment{At: at}
	undoers := []Undoer{{7, []uint64{70, 71}}, {8, []uint64{80}}}
	for _, x := range []struct {
		name               string
		principal, lineage uint64
		registered, now    time.Time
		may                bool
	}{
		{"there before", 7, 71, at.Add(-time.Minute), at.Add(time.Minute), true},
		{"made for it", 7, 70, at.Add(time.Minute), at.Add(2 * time.Minute), false},
		{"made for it, a day ago", 7, 70, at.Add(time.Minute), at.Add(25 * time.Hour), true},
		{"made for it, and the clock went back", 7, 70, at.Add(time.Minute), at.Add(-time.Hour), false},
		{"there before, and the clock went back", 7, 70, at.Add(-time.Minute), at.Add(-time.Hour), true},
		{"by another's credential", 7, 80, at.Add(-time.Hour), at, false},
		{"who may not contain", 9, 90, at.Add(-time.Hour), at, false},
	} {
		if err := c.MayUndo(undoers, x.principal, x.lineage, x.registered, x.now); (err == nil) != x.may || err != nil && !errors.Is(err, ErrUndoer) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}
