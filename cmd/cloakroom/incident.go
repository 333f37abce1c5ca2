package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// incidentCmd keeps incidents.
type incidentCmd struct {
	Open  incidentOpenCmd  `cmd:"" help:"Open an incident, from an alarm, a report, or by hand."`
	List  incidentListCmd  `cmd:"" help:"List incidents, newest first."`
	Show  incidentShowCmd  `cmd:"" help:"Show an incident: facts, versions of its scope, timeline."`
	Fact  incidentFactCmd  `cmd:"" help:"Record a fact, or correct one; the old value stays."`
	Scope incidentScopeCmd `cmd:"" help:"Count whose data is concerned, as the next version of the scope."`
	Close incidentCloseCmd `cmd:"" help:"Close an incident and freeze its report."`
}

type incidentOpenCmd struct {
	forBrand
	Title  string   `help:"What it is called." required:"" placeholder:"TEXT"`
	Alarm  string   `help:"Alarm that it is opened from." placeholder:"ID"`
	Report bool     `help:"Somebody reported it."`
	Lead   string   `help:"Who leads (default: you)." placeholder:"NAME"`
	Of     []string `help:"With --brand group: the brands that are concerned." placeholder:"BRAND"`
	Ticket string   `help:"Case number." placeholder:"TEXT"`
}

// Run opens an incident.
func (c *incidentOpenCmd) Run(ctx context.Context, std Streams) error {
	req := api.IncidentRequest{Title: c.Title, Alarm: c.Alarm, Lead: c.Lead, Brands: c.Of, Ticket: c.Ticket}
	if c.Report {
		if c.Alarm != "" {
			return &usageError{"--report and --alarm do not go together"}
		}
		req.Source = "report"
	}
	call := func(v *connection) (*api.Incident, error) { return v.OpenIncident(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Incident) {
		fmt.Fprintf(w, "incident %s is open, led by %s\n", x.ID, x.Lead)
		fmt.Fprintf(w, "Next: cloakroom incident fact --brand %s %s aware --when TIME; cloakroom incident scope --brand %s %s --lineage NUMBER\n", c.Brand, x.ID, c.Brand, x.ID)
	})
}

type incidentListCmd struct{ forBrand }

// Run lists incidents.
func (c *incidentListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Incident, error) { return v.Incidents(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Incident) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no incidents")
			return
		}
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "INCIDENT\tOPENED\tLEAD\tSTATE\tRECORDS\tTITLE")
		for i := range list {
			x := &list[i]
			state, records := "open", "not counted"
			if !x.Closed.IsZero() {
				state = "closed"
			}
			if n := len(x.Scopes); n > 0 {
				records = fmt.Sprint(x.Scopes[n-1].Records)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", x.ID, stamp(x.Opened), x.Lead, state, records, x.Title)
		}
		t.Flush()
	})
}

// stamp shows a time of the log.
func stamp(at time.Time) string { return at.UTC().Format(time.DateTime) }

type incidentShowCmd struct {
	forBrand
	ID string `arg:"" help:"Number of the incident; group-3 for one of the group."`
}

// Run shows an incident.
func (c *incidentShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Incident, error) { return v.Incident(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, printIncident)
}

func printIncident(w io.Writer, x *api.Incident) {
	fmt.Fprintf(w, "incident %s of %s: %s\n", x.ID, x.Owner, x.Title)
	fmt.Fprintf(w, "opened %s by %s, from: %s; lead: %s; brands: %s\n", stamp(x.Opened), x.OpenedBy, strings.TrimSpace(x.Source+" "+x.Alarm), x.Lead, strings.Join(x.Brands, ", "))
	if x.Part {
		fmt.Fprintln(w, "This is your brand's part.")
	}
	if !x.Closed.IsZero() {
		fmt.Fprintf(w, "closed %s by %s: %s\n", stamp(x.Closed), x.ClosedBy, x.Summary)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if len(x.Facts) > 0 {
		fmt.Fprintln(t, "\nFACT\tWHEN\tSAID BY\tRECORDED\tENTRY\tTEXT")
	}
	for i := range x.Facts {
		f := &x.Facts[i]
		when, text := "", f.Text
		if !f.When.IsZero() {
			when = stamp(f.When)
		}
		switch {
		case f.Replaced:
			text = "(replaced) " + text
		case f.Concurrent:
			text = "(a second correction of one version) " + text
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\n", f.Name, when, f.Said, stamp(f.At), f.Entry, text)
	}
	if len(x.Scopes) > 0 {
		fmt.Fprintln(t, "\nSCOPE\tAT\tBRAND\tRECORDS\tADDED\tREMOVED\tDISCLOSURES\tENTRY")
	}
	for i := range x.Scopes {
		for _, p := range x.Scopes[i].Parts {
			fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n", x.Scopes[i].Version, stamp(x.Scopes[i].At), p.Brand, p.Records, p.Added, p.Removed, p.Disclosures, p.Entry)
		}
	}
	fmt.Fprintln(t, "\nTIMELINE\tENTRY\tBY\tWHAT")
	for i := range x.Timeline {
		e := &x.Timeline[i]
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", stamp(e.At), e.Entry, e.By, e.What)
	}
	t.Flush()
}

type incidentFactCmd struct {
	forBrand
	ID       string `arg:"" help:"Number of the incident."`
	Name     string `arg:"" help:"Name of the fact: occurred-from, occurred-to, leak-possible, detected, aware, determined, personal-data-hit, contained, filed, assumed, unknown or note."`
	When     string `help:"When it happened: a duration before now such as 2h, a day, or a time as RFC 3339." placeholder:"TIME"`
	Said     string `help:"Who said so (default: you)." placeholder:"TEXT"`
	Text     string `help:"In words; no values of customers." placeholder:"TEXT"`
	For      string `help:"The brand whose people may see a fact of a group's incident." placeholder:"BRAND"`
	Corrects uint64 `help:"Entry of the fact that this takes the place of." placeholder:"ENTRY"`
	Ticket   string `help:"Case number." placeholder:"TEXT"`
}

// Run records a fact.
func (c *incidentFactCmd) Run(ctx context.Context, std Streams) error {
	when, err := flagTime("--when", c.When, time.Now())
	if err != nil {
		return err
	}
	req := api.FactRequest{Name: c.Name, When: when, Said: c.Said, Text: c.Text, Brand: c.For, Corrects: c.Corrects, Ticket: c.Ticket}
	call := func(v *connection) (*api.Incident, error) { return v.StateFact(ctx, c.Brand, c.ID, req) }
	return ask(ctx, std, &c.remote, call, printIncident)
}

type incidentScopeCmd struct {
	forBrand
	ID         string `arg:"" help:"Number of the incident."`
	scopeFlags `embed:""`
}

// Help is the long help text.
func (incidentScopeCmd) Help() string {
	return scopeCmd{}.Help() + `

Each count is the next version of the incident's scope. It is signed with the log, and says
how many customers it adds to the version before and how many it takes out.`
}

// Run counts and keeps a version.
func (c *incidentScopeCmd) Run(ctx context.Context, std Streams) error {
	req, err := c.request(time.Now())
	if err != nil {
		return err
	}
	call := func(v *connection) (*api.IncidentScope, error) { return v.ScopeIncident(ctx, c.Brand, c.ID, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.IncidentScope) {
		added, removed := 0, 0
		for _, p := range x.Version.Parts {
			added, removed = added+p.Added, removed+p.Removed
		}
		fmt.Fprintf(w, "incident %s, scope version %d: %d records added, %d removed\n", c.ID, x.Version.Version, added, removed)
		printScope(w, &x.Scope)
	})
}

type incidentCloseCmd struct {
	forBrand
	ID      string `arg:"" help:"Number of the incident."`
	Summary string `help:"What it came to; no values of customers." required:"" placeholder:"TEXT"`
	Ticket  string `help:"Case number." placeholder:"TEXT"`
}

// Run closes an incident.
func (c *incidentCloseCmd) Run(ctx context.Context, std Streams) error {
	req := api.CloseIncidentRequest{Summary: c.Summary, Ticket: c.Ticket}
	call := func(v *connection) (*api.Incident, error) { return v.CloseIncident(ctx, c.Brand, c.ID, req) }
	return ask(ctx, std, &c.remote, call, printIncident)
}
