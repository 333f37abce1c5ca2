package containment

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func TestMayUndo(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	c := Containment{At: at}
	undoers := []Undoer{{Principal: 7, Lineages: []uint64{70, 71}}, {Principal: 8, Lineages: []uint64{80}}}
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

// Only the person who made a containment undoes it alone, soon after, by the clock under
// which it was made. A rule is nobody.
func TestMayUndoAlone(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	undoers := []Undoer{{Principal: 0, Lineages: []uint64{0}}, {Principal: 7, Lineages: []uint64{70, 71}}, {Principal: 8, Lineages: []uint64{80}}}
	for _, x := range []struct {
		name                   string
		by, principal, lineage uint64
		after                  time.Duration
		may                    bool
	}{
		{"its maker", 7, 7, 70, 0, true},
		{"its maker with another key", 7, 7, 71, AloneWithin - 1, true},
		{"its maker with another's key", 7, 7, 80, 0, false},
		{"its maker, too late", 7, 7, 70, AloneWithin, false},
		{"its maker, and the clock went back", 7, 7, 70, -1, false},
		{"its maker, who may not contain any more", 9, 9, 90, 0, false},
		{"another", 7, 8, 80, 0, false},
		{"a person, for a rule", 0, 7, 70, 0, false},
		{"nobody, for a rule", 0, 0, 0, 0, false},
	} {
		c := Containment{At: at, By: x.by}
		if c.MayUndoAlone(undoers, x.principal, x.lineage, at.Add(-time.Hour), at.Add(x.after)) != x.may {
			t.Errorf("%s: want %v", x.name, x.may)
		}
	}
}

// The one responder of the group contains an administrator of it, also one who may contain;
// a responder's stolen key does not contain the other responders.
func TestTheLastResponderContainsAnAdministrator(t *testing.T) {
	responder, other, admin := Undoer{Principal: 1, Lineages: []uint64{1}}, Undoer{Principal: 2, Lineages: []uint64{2}}, Undoer{Principal: 3, Lineages: []uint64{3}, Administers: true}
	by := func(target uint64, undoers ...Undoer) bool {
		return locksOut(Containment{Brand: record.Group, Kind: Principal, Target: target, By: 1}, nil, undoers)
	}
	if by(3, responder, admin) {
		t.Error("an administrator who may contain cannot be contained")
	}
	if !by(2, responder, other, admin) {
		t.Error("a responder contains the only other one")
	}
	if !by(1, responder, admin) {
		t.Error("the last responder contains themselves")
	}
}
