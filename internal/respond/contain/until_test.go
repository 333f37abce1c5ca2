package contain_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/respond/contain"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
)

// A containment with an end is over when the database's clock says so, without anybody, also
// on a server that was restarted. To extend it is another containment.
func TestAContainmentEndsByItself(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *people) {
		ctx := t.Context()
		const hours = 3600
		list := func() []api.Containment {
			t.Helper()
			list, err := p.Contain.Containments(ctx, p.ines, "gucci")
			p.Must(err)
			return list
		}
		contains := func(seconds int64) *api.Containment {
			t.Helper()
			c, err := p.Contain.Contain(ctx, p.ines, "gucci", api.ContainRequest{Lineage: p.thief.Credential, ForSeconds: seconds})
			p.Must(err)
			return c
		}
		for _, seconds := range []int64{-1, 59, 90*24*hours + 1} {
			_, err := p.Contain.Contain(ctx, p.ines, "gucci", api.ContainRequest{Lineage: p.thief.Credential, ForSeconds: seconds})
			if !errors.Is(err, contain.ErrRequest) {
				t.Errorf("for %d s: %v", seconds, err)
			}
		}
		one := contains(2 * hours)
		if left := one.Until.Sub(one.At); left < 2*time.Hour-time.Minute || left > 2*time.Hour+time.Second || !one.Until.Equal(one.Until.Truncate(time.Second)) {
			t.Errorf("it ends at %v, made at %v", one.Until, one.At)
		}
		two := contains(3 * hours)
		if two.ID == one.ID || !two.Until.After(one.Until) {
			t.Errorf("extended: %+v", two)
		}
		if same := contains(hours); same.ID == 0 || same.TookMillis != 0 {
			t.Errorf("a shorter one: %+v", same)
		}
		p.Later(2*time.Hour + time.Minute)
		if err := p.enters(t, p.thief); !errors.Is(err, containment.ErrContained) {
			t.Errorf("the extension: %v", err)
		}
		if _, err := p.Contain.UndoContainment(ctx, p.ines, "gucci", one.ID, false); !errors.Is(err, containment.ErrState) {
			t.Errorf("undone after it ended: %v", err)
		}
		p.Later(time.Hour)
		p.Must(p.enters(t, p.thief))
		p.Restart()
		p.Must(p.enters(t, p.thief))
		for _, c := range list() {
			if !c.Ended.Equal(c.Until) || c.EndedBy != "" {
				t.Errorf("listed: %+v", c)
			}
		}

		// The next containment notes that they ended, in a way that the log knows.
		three := contains(0)
		if l := list(); len(l) != 3 || !l[2].Ended.Equal(one.Until) || !l[1].Ended.Equal(two.Until) || !l[0].Ended.IsZero() || !l[0].Until.IsZero() {
			t.Errorf("listed: %+v", l)
		}
		if covered := contains(hours); covered.ID != three.ID {
			t.Errorf("one without an end serves: %+v", covered)
		}
		p.Restart()
		if err := p.enters(t, p.thief); !errors.Is(err, containment.ErrContained) {
			t.Errorf("contained again: %v", err)
		}
		p.Must(p.enters(t, p.spare))
	})
}

// One that ends by itself is undone before, like any; what stops the same target until
// another time stays.
func TestAnEndDoesNotTakeAnotherWithIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *people) {
		ctx := t.Context()
		short, err := p.Contain.Contain(ctx, p.ines, "gucci", api.ContainRequest{Principal: "thief", ForSeconds: 600})
		p.Must(err)
		long, err := p.Contain.Contain(ctx, p.ines, "gucci", api.ContainRequest{Principal: "thief"})
		p.Must(err)
		from := p.Size("gucci")
		_, err = p.Contain.UndoContainment(ctx, p.ines, "gucci", short.ID, false)
		p.Must(err)
		if got := p.changes(from); !slices.Equal(got, []string{"undo", "resume"}) || p.enters(t, p.thief) == nil {
			t.Errorf("the log has %v", got)
		}
		_, err = p.Contain.UndoContainment(ctx, p.ines, "gucci", long.ID, false)
		p.Must(err)
		p.Must(p.enters(t, p.thief))
	})
}

// A containment that keeps more does not weaken another of the same role, and neither ends
// with the other: in the log as at the door.
func TestTheStricterContainmentHolds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *people) {
		ctx := t.Context()
		contains := func(keep string, log ...string) int64 {
			t.Helper()
			from := p.Size("gucci")
			c, err := p.Contain.Contain(ctx, p.ines, "gucci", api.ContainRequest{Role: "support-agent", Keep: keep})
			p.Must(err)
			if got := p.changes(from); !slices.Equal(got, log) {
				t.Errorf("%s: the log has %v, want %v", keep, got, log)
			}
			return c.ID
		}
		undo := func(id int64, log ...string) {
			t.Helper()
			from := p.Size("gucci")
			_, err := p.Contain.UndoContainment(ctx, p.ines, "gucci", id, false)
			p.Must(err)
			if got := p.changes(from); !slices.Equal(got, log) {
				t.Errorf("%d undone: the log has %v, want %v", id, got, log)
			}
		}
		nothing := contains("nothing", "stop", "contain", "contained")
		masked := contains("masked", "contain", "contained")
		tokens := contains("tokens", "contain", "contained")
		undo(masked, "undo")
		undo(nothing, "undo", "stop")
		undo(tokens, "undo", "resume")
	})
}
