package contain_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
)

// each runs a test on both engines.
func each(t *testing.T, test func(t *testing.T, p *people)) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		p := &people{House: h}
		responder := map[string]string{"gucci": "incident-responder"}
		p.ines, p.rhea = p.Person("ines", responder), p.Person("rhea", responder)
		p.thief, p.spare = p.Person("thief", map[string]string{"gucci": "support-agent"}), p.Key("thief")
		test(t, p)
	})
}

// The person who made a containment undoes it alone within 30 minutes, by any of their keys.
// Later it takes two people, as it does for anybody else.
func TestItsMakerUndoesAloneForHalfAnHour(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *people) {
		ctx := t.Context()
		req := api.ContainRequest{Lineage: p.thief.Credential}
		c, err := p.Contain.Contain(ctx, p.ines, "gucci", req)
		p.Must(err)
		asked, err := p.Contain.UndoContainment(ctx, p.rhea, "gucci", c.ID, false)
		if err != nil || !asked.Ended.IsZero() || p.enters(t, p.thief) == nil {
			t.Fatalf("another person alone: %+v, %v", asked, err)
		}
		from := p.Size("gucci")
		done, err := p.Contain.UndoContainment(ctx, p.Key("ines"), "gucci", c.ID, false)
		if err != nil || done.Ended.IsZero() || done.EndedBy != "ines" || done.AskedBy != "ines" {
			t.Fatalf("its maker: %+v, %v", done, err)
		}
		p.Must(p.enters(t, p.thief))
		if got := p.changes(from); !slices.Equal(got, []string{"undo", "resume"}) {
			t.Errorf("the log has %v", got)
		}
		if _, err := p.Contain.UndoContainment(ctx, p.ines, "gucci", c.ID, false); !errors.Is(err, containment.ErrState) {
			t.Errorf("a second time: %v", err)
		}

		c, err = p.Contain.Contain(ctx, p.ines, "gucci", req)
		p.Must(err)
		p.Later(containment.AloneWithin)
		late, err := p.Contain.UndoContainment(ctx, p.ines, "gucci", c.ID, false)
		if err != nil || !late.Ended.IsZero() || p.enters(t, p.thief) == nil {
			t.Errorf("its maker, after 30 minutes: %+v, %v", late, err)
		}
		done, err = p.Contain.UndoContainment(ctx, p.rhea, "gucci", c.ID, true)
		if err != nil || done.EndedBy != "rhea" {
			t.Errorf("two people: %+v, %v", done, err)
		}
	})
}

// What two people stopped is not lifted by one of them: neither at the door nor in the log.
func TestAloneNobodyLiftsWhatAnotherStopped(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *people) {
		ctx := t.Context()
		req := api.ContainRequest{Lineage: p.thief.Credential}
		one, err := p.Contain.Contain(ctx, p.ines, "gucci", req)
		p.Must(err)
		two, err := p.Contain.Contain(ctx, p.rhea, "gucci", req)
		if err != nil || two.ID == one.ID || two.By != "rhea" {
			t.Fatalf("another's: %+v, %v", two, err)
		}
		from := p.Size("gucci")
		_, err = p.Contain.UndoContainment(ctx, p.ines, "gucci", one.ID, false)
		p.Must(err)
		if got := p.changes(from); !slices.Equal(got, []string{"undo"}) {
			t.Errorf("the log has %v", got)
		}
		if err := p.enters(t, p.thief); !errors.Is(err, containment.ErrContained) {
			t.Errorf("the thief: %v", err)
		}
		if undone, err := p.Contain.UndoContainment(ctx, p.ines, "gucci", two.ID, false); err != nil || !undone.Ended.IsZero() {
			t.Errorf("another's containment alone: %+v, %v", undone, err)
		}

		// Once it cannot be undone alone, it serves everybody.
		p.Later(containment.AloneWithin)
		again, err := p.Contain.Contain(ctx, p.ines, "gucci", req)
		if err != nil || again.ID != two.ID {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

// A rule contains for an alarm, although a person did, while that person could undo it alone.
func TestARuleDoesNotRelyOnWhatOnePersonMayUndo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *people) {
		ctx := t.Context()
		alarmed, err := p.DB.Now(ctx)
		p.Must(err)
		brand := p.Brand("gucci")
		counts := func() int64 {
			now, err := p.DB.Now(ctx)
			p.Must(err)
			id, err := p.Disclose.Door.Contained.Since(ctx, brand, p.thief.Lineage, alarmed, now)
			p.Must(err)
			return id
		}
		contains := func() int64 {
			c, err := p.Contain.Contain(ctx, p.ines, "gucci", api.ContainRequest{Lineage: p.thief.Credential})
			p.Must(err)
			return c.ID
		}
		id := contains()
		if counts() != 0 {
			t.Error("one that its maker may undo alone counts")
		}
		_, err = p.Contain.UndoContainment(ctx, p.ines, "gucci", id, false)
		p.Must(err)
		p.Later(time.Hour)
		if counts() != 0 {
			t.Error("one that its maker undid alone counts")
		}
		id = contains()
		p.Later(containment.AloneWithin)
		if counts() != id {
			t.Error("one that takes two people does not count")
		}
		_, err = p.Contain.UndoContainment(ctx, p.ines, "gucci", id, false)
		p.Must(err)
		_, err = p.Contain.UndoContainment(ctx, p.rhea, "gucci", id, true)
		p.Must(err)
		if counts() != id {
			t.Error("one that two people undid does not count")
		}
	})
}
