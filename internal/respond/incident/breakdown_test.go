package incident_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// living are customers of countries and regions such as "US/California".
func living(places ...string) (out []api.Fields) {
	for i, p := range places {
		country, region, _ := strings.Cut(p, "/")
		x := api.Fields{"external_id": fmt.Sprint("L-", i), "email": fmt.Sprintf("lea%d@mail.example", i), "country": country}
		if region != "" {
			x["region"] = region
		}
		out = append(out, x)
	}
	return out
}

// robbed opens incident 1 of gucci, whose customers a thief read but the last, and makes the
// first version of its scope.
func robbed(t *testing.T, h *apptest.House, thief, lead identity.Caller, customers ...api.Fields) (tokens []string) {
	ctx := t.Context()
	tokens = h.Put("gucci", customers...)
	reveal(t, h, thief, "gucci", tokens[:len(tokens)-1]...)
	_, err := h.Incident.Open(ctx, lead, "gucci", api.IncidentRequest{Title: "stolen key"})
	h.Must(err)
	_, err = h.Incident.Scope(ctx, lead, "gucci", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}})
	h.Must(err)
	return tokens
}

// counted asks for steps of a breakdown until it is whole.
func counted(ctx context.Context, d *incident.Desk, c identity.Caller, brand, id string) (x *api.BreakdownStep, steps int, err error) {
	for steps < 100 {
		x, err = d.Breakdown(ctx, c, brand, id, api.BreakdownRequest{})
		steps++
		if err != nil || x.Whole {
			return x, steps, err
		}
	}
	return nil, steps, errors.New("it never ends")
}

// A breakdown opens the customers of an approved version, country and region and nothing
// else, while the whole brand is contained and by nobody's budget; who cannot be opened or
// needs a look before is counted apart; and duties take who lives where from it.
func TestWhereTheCustomersOfAnApprovedVersionLive(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		thief := h.Person("thief", map[string]string{"gucci": access.Application})
		officer, lead := h.TwoPeople()
		people := living("IT", "IT", "FR/Bretagne", "US/California", "US/ny", "US/4 Elm Street", "US/Nowhere", "", "DE", "DE")
		people[0]["standing"], people[1]["standing"] = "deceased", "minor,do-not-write"
		tokens := robbed(t, h, thief, lead, people...)
		_, err := h.Erase.Erase(ctx, h.Local, "gucci", tokens[2], false)
		h.Must(err)

		if _, _, err := counted(ctx, h.Incident, lead, "gucci", "1"); !errors.Is(err, disclose.ErrNotApproved) {
			t.Fatalf("a version that nobody approved: %v", err)
		}
		_, err = h.Incident.ApproveScope(ctx, lead, "gucci", "1", api.ScopeApproval{})
		h.Approve(err)
		_, err = h.Contain.Contain(ctx, officer, "gucci", api.ContainRequest{Brand: true, Keep: "nothing"})
		h.Must(err)
		from := h.Size("gucci")
		before := usage(t, h, lead)

		x, _, err := counted(ctx, h.Incident, lead, "gucci", "1")
		h.Must(err)
		b := x.Parts[0]
		var got []string
		for _, p := range b.Places {
			got = append(got, fmt.Sprintf("%s/%s=%d", p.Country, p.Region, p.Records))
		}
		want := []string{"/=1", "DE/=1", "IT/=2", "US/CA=1", "US/NY=1", "US/other=2"}
		if !slices.Equal(got, want) || b.Records != 9 || b.Opened != 8 || b.Cooling != 1 || b.Erased != 0 || b.Deceased != 1 || b.Minors != 1 || b.Protected != 1 {
			t.Errorf("got %q, %+v", got, b)
		}
		opened := 0
		h.Must(h.Ledger.Scan(ctx, h.Brand("gucci"), from, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
			if e.Kind == entry.KindDisclosure {
				opened += len(ords)
				if e.Level != entry.Counted || e.Class != "scope" || e.Fields != record.Fields(record.Country, record.Region, record.Standing) {
					t.Errorf("opened by %+v", e)
				}
			}
			return nil
		}))
		if opened != 8 {
			t.Errorf("%d customers were opened", opened)
		}
		if after := usage(t, h, lead); !slices.Equal(before, after) {
			t.Errorf("a budget counted it: %v, and %v before", after, before)
		}

		// It is kept with the version, and asking again opens nobody.
		size := h.Size("gucci")
		if again, steps, err := counted(ctx, h.Incident, lead, "gucci", "1"); err != nil || steps != 1 || again.Parts[0].Entry != b.Entry || h.Size("gucci") != size {
			t.Errorf("%+v %v", again, err)
		}
		shown, err := h.Incident.Incident(ctx, lead, "gucci", "1")
		h.Must(err)
		if v := shown.Scopes[0]; len(v.Breakdown) != 1 || !slices.Equal(v.ApprovedBy, []string{"second-responder", "second-officer"}) {
			t.Errorf("the version is %+v", v)
		}

		// The next scope counts nobody who was opened to be counted.
		s, err := h.Incident.Scope(ctx, lead, "gucci", "1", api.ScopeRequest{Any: []api.ScopeFilter{{}}, Investigators: true})
		h.Must(err)
		if s.Version.Records != 9 {
			t.Errorf("a scope of everything has %d", s.Version.Records)
		}
	})
}

func usage(t *testing.T, h *apptest.House, c identity.Caller) []budget.Used {
	t.Helper()
	out, err := h.Ledger.Usage(t.Context(), h.Brand("gucci"), budget.Holder{Kind: budget.Principal, ID: c.Principal})
	h.Must(err)
	return out
}

// Duties take who lives where from the breakdown of the newest version. What a person states
// stands in its place for the jurisdictions that it names, and for no other.
func TestDutiesTakeResidentsFromTheBreakdown(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	thief := h.Person("thief", map[string]string{"gucci": access.Application})
	_, lead := h.TwoPeople()
	robbed(t, h, thief, lead, living("IT", "IT", "FR", "US/Texas", "DE")...)
	_, err := h.Incident.ApproveScope(ctx, lead, "gucci", "1", api.ScopeApproval{})
	h.Approve(err)
	_, _, err = counted(ctx, h.Incident, lead, "gucci", "1")
	h.Must(err)
	given := func() (out []string) {
		x, err := h.Incident.Duties(ctx, lead, "gucci", "1", api.DutiesRequest{})
		h.Must(err)
		for _, g := range x.Controllers[0].Given {
			if place, _, ok := strings.Cut(g.Statement, "="); ok && strings.ToUpper(place) == place {
				out = append(out, g.Statement)
			}
		}
		return out
	}
	if got, want := given(), []string{"FR=1", "IT=2", "US-TX=1"}; !slices.Equal(got, want) {
		t.Errorf("residents are %q", got)
	}
	_, err = h.Incident.Fact(ctx, lead, "gucci", "1", api.FactRequest{Name: "residents", Text: "IT=1"})
	h.Must(err)
	if got, want := given(), []string{"FR=1", "US-TX=1", "IT=1"}; !slices.Equal(got, want) {
		t.Errorf("with a fact, residents are %q", got)
	}
}

// A count that a kill cuts resumes on another server where the log says that it was, and
// comes to the same.
func TestABreakdownResumes(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		thief := h.Person("thief", map[string]string{"gucci": access.Application})
		_, lead := h.TwoPeople()
		var places []string
		for i := range 24 {
			places = append(places, []string{"IT", "FR", "DE"}[i%3])
		}
		robbed(t, h, thief, lead, living(append(places, "ES")...)...)
		_, err := h.Incident.ApproveScope(ctx, lead, "gucci", "1", api.ScopeApproval{})
		h.Approve(err)
		slow := func(d *incident.Desk) { d.CountAtOnce, d.Step = 5, time.Nanosecond }
		slow(h.Incident)
		for want := 5; want <= 10; want += 5 {
			x, err := h.Incident.Breakdown(ctx, lead, "gucci", "1", api.BreakdownRequest{})
			h.Must(err)
			if x.Done != want || x.Of != 24 || x.Whole {
				t.Fatalf("%+v", x)
			}
		}
		if h.DB.Engine() == db.Postgres {
			other := h.Beside()
			slow(other.Incident)
			x, err := other.Incident.Breakdown(ctx, lead, "gucci", "1", api.BreakdownRequest{})
			h.Must(err)
			if x.Done != 10 { // what the last entry names may not have been counted, so it is again
				t.Errorf("another server is at %d", x.Done)
			}
		}
		h.Restart()
		slow(h.Incident)
		x, steps, err := counted(ctx, h.Incident, lead, "gucci", "1")
		h.Must(err)
		if steps > 5 {
			t.Errorf("it took %d steps more", steps)
		}
		for _, p := range x.Parts[0].Places {
			if p.Records != 8 {
				t.Errorf("%+v", x.Parts[0].Places)
			}
		}
	})
}
