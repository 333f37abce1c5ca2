package contain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/respond/contain"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// people are two responders and a thief with two keys.
type people struct {
	*apptest.House
	ines, rhea, thief, spare identity.Caller
}

func newPeople(t *testing.T) *people {
	p := &people{House: apptest.Open(t)}
	responder := map[string]string{"gucci": "incident-responder"}
	p.ines, p.rhea = p.Person("ines", responder), p.Person("rhea", responder)
	p.thief, p.spare = p.Person("thief", map[string]string{"gucci": "support-agent"}), p.Key("thief")
	return p
}

func (p *people) enters(t *testing.T, c identity.Caller) error {
	_, err := p.Disclose.Door.Enter(t.Context(), c, "gucci")
	return err
}

// changes are the containment entries of gucci's log from an index on, without numbers.
func (p *people) changes(from uint64) (out []string) {
	for _, line := range p.Logged("gucci", from) {
		if rest, ok := strings.CutPrefix(line, "containment "); ok {
			for word := range strings.FieldsSeq(rest) {
				if change, ok := strings.CutPrefix(word, "change="); ok {
					out = append(out, change)
				}
			}
		}
	}
	return out
}

// A containment is logged before it holds and after; asked for again it is the same one,
// and the log has no more of it.
func TestContainOnceAndAgain(t *testing.T) {
	p := newPeople(t)
	ctx, from := t.Context(), p.Size("gucci")
	req := api.ContainRequest{Lineage: p.thief.Credential, Ticket: "CASE-1"}
	c, err := p.Contain.Contain(ctx, p.ines, "gucci", req)
	if err != nil || c.TookMillis < 1 || c.By != "ines" || !slices.Equal(c.Principals, []string{"thief"}) || c.Credentials != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := p.enters(t, p.thief); !errors.Is(err, containment.ErrContained) {
		t.Errorf("the thief: %v", err)
	}
	p.Must(p.enters(t, p.spare))
	if got := p.changes(from); !slices.Equal(got, []string{"stop", "contain", "contained"}) {
		t.Errorf("the log has %v", got)
	}
	from = p.Size("gucci")
	again, err := p.Contain.Contain(ctx, p.ines, "gucci", req)
	if err != nil || again.ID != c.ID || again.By != "ines" || p.Size("gucci") != from {
		t.Errorf("%+v, %v, with %q", again, err, p.Logged("gucci", from))
	}
	if x, err := p.Contain.Containment(ctx, p.rhea, "gucci", c.ID); err != nil || x.Target != p.thief.Lineage {
		t.Errorf("%+v, %v", x, err)
	}
}

// A dry run says whom it would stop, and stops nobody.
func TestADryRunStopsNobody(t *testing.T) {
	p := newPeople(t)
	from := p.Size("gucci")
	c, err := p.Contain.Contain(t.Context(), p.ines, "gucci", api.ContainRequest{Principal: "thief", DryRun: true})
	if err != nil || c.ID != 0 || c.Credentials != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	p.Must(p.enters(t, p.thief))
	if list, err := p.Contain.Containments(t.Context(), p.ines, "gucci"); err != nil || len(list) != 0 || p.Size("gucci") != from {
		t.Errorf("%+v, %v, with %q", list, err, p.Logged("gucci", from))
	}
}

// Whom a role's containment stops are those who have the role, with their usable keys.
func TestARoleIsStoppedWithItsKeys(t *testing.T) {
	p := newPeople(t)
	p.Person("amy", map[string]string{"group": "support-agent"})
	p.Person("ben", map[string]string{"group": "support-agent", "gucci": "marketing"})
	if _, err := p.Admin.Revoke(t.Context(), p.Local, p.spare.Lineage); err != nil {
		t.Fatal(err)
	}
	c, err := p.Contain.Contain(t.Context(), p.ines, "gucci", api.ContainRequest{Role: "support-agent", DryRun: true})
	if err != nil || c.Credentials != 2 || !slices.Equal(c.Principals, []string{"thief", "amy"}) {
		t.Errorf("%+v, %v", c, err)
	}
}

// What is not to be stopped is refused before anything is logged of it.
func TestWhatIsNotContained(t *testing.T) {
	p := newPeople(t)
	p.Person("far", map[string]string{"balenciaga": "support-agent"})
	nobody := p.Person("alice", map[string]string{"gucci": "support-agent"})
	for _, c := range []struct {
		name string
		who  identity.Caller
		req  api.ContainRequest
		want error
	}{
		{"nothing named", p.ines, api.ContainRequest{}, contain.ErrRequest},
		{"two things named", p.ines, api.ContainRequest{Brand: true, AllExports: true}, contain.ErrRequest},
		{"oneself", p.ines, api.ContainRequest{Principal: "ines"}, contain.ErrRequest},
		{"an unknown role", p.ines, api.ContainRequest{Role: "emperor"}, contain.ErrRequest},
		{"somebody elsewhere", p.ines, api.ContainRequest{Principal: "far"}, containment.ErrReach},
		{"nobody of the name", p.ines, api.ContainRequest{Principal: "nobody"}, containment.ErrReach},
		{"the local administrator", p.ines, api.ContainRequest{Principal: identity.LocalAdministrator}, containment.ErrReach},
	} {
		from := p.Size("gucci")
		if _, err := p.Contain.Contain(t.Context(), c.who, "gucci", c.req); !errors.Is(err, c.want) || len(p.changes(from)) != 0 {
			t.Errorf("%s: %v, with %q", c.name, err, p.Logged("gucci", from))
		}
	}
	var denied *access.DeniedError
	if _, err := p.Contain.Contain(t.Context(), nobody, "gucci", api.ContainRequest{Principal: "thief"}); !errors.As(err, &denied) {
		t.Errorf("without the right: %v", err)
	}
}

// Somebody else than the one who contains must be left to undo it.
func TestSomebodyIsLeft(t *testing.T) {
	p := newPeople(t)
	from := p.Size("gucci")
	if _, err := p.Contain.Contain(t.Context(), p.ines, "gucci", api.ContainRequest{Principal: "rhea"}); !errors.Is(err, containment.ErrLast) {
		t.Errorf("the last other responder: %v", err)
	}
	if got := p.changes(from); len(got) != 0 {
		t.Errorf("the log has %v", got)
	}
	p.Must(p.enters(t, p.rhea))
}

// Undoing takes two people, and both steps are in the log.
func TestUndoingTakesTwo(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	c, err := p.Contain.Contain(ctx, p.ines, "gucci", api.ContainRequest{Lineage: p.thief.Credential})
	p.Must(err)
	from := p.Size("gucci")
	if _, err := p.Contain.UndoContainment(ctx, p.rhea, "gucci", c.ID, true); !errors.Is(err, containment.ErrState) {
		t.Errorf("confirmed before it was asked for: %v", err)
	}
	if _, err := p.Contain.UndoContainment(ctx, p.ines, "gucci", 4711, false); !errors.Is(err, containment.ErrNone) {
		t.Errorf("an unknown one: %v", err)
	}
	_, err = p.Contain.UndoContainment(ctx, p.rhea, "gucci", c.ID, false)
	p.Must(err)
	if _, err := p.Contain.UndoContainment(ctx, p.rhea, "gucci", c.ID, true); !errors.Is(err, containment.ErrState) || p.enters(t, p.thief) == nil {
		t.Errorf("one person alone: %v", err)
	}
	done, err := p.Contain.UndoContainment(ctx, p.ines, "gucci", c.ID, true)
	if err != nil || done.AskedBy != "rhea" || done.EndedBy != "ines" {
		t.Errorf("%+v, %v", done, err)
	}
	p.Must(p.enters(t, p.thief))
	if got := p.changes(from); !slices.Equal(got, []string{"undo-ask", "undo", "resume"}) {
		t.Errorf("the log has %v", got)
	}
}

// Where a log cannot be passed, the error says that the target is stopped all the same.
func TestAnOutcomeIsSaid(t *testing.T) {
	p := newPeople(t)
	p.Contain.PassWait = time.Nanosecond
	var out *containment.OutcomeError
	_, err := p.Contain.Contain(t.Context(), p.ines, "gucci", api.ContainRequest{Lineage: p.thief.Credential})
	if !errors.As(err, &out) || out.ID == 0 || !slices.Equal(out.Logs, []string{"gucci"}) {
		t.Fatalf("got %v", err)
	}
	if err := p.enters(t, p.thief); !errors.Is(err, containment.ErrContained) {
		t.Errorf("the thief: %v", err)
	}
	p.Contain.PassWait = 0
	if c, err := p.Contain.Contain(t.Context(), p.ines, "gucci", api.ContainRequest{Lineage: p.thief.Credential}); err != nil || c.ID != out.ID {
		t.Errorf("sent again: %+v, %v", c, err)
	}
}
