package main

import (
	"cmp"
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
	Open      incidentOpenCmd      `cmd:"" help:"Open an incident, from an alarm, a report, or by hand."`
	List      incidentListCmd      `cmd:"" help:"List incidents, newest first."`
	Show      incidentShowCmd      `cmd:"" help:"Show an incident: facts, versions of its scope, timeline."`
	Fact      incidentFactCmd      `cmd:"" help:"Record a fact, or correct one; the old value stays."`
	Scope     incidentScopeCmd     `cmd:"" help:"Count whose data is concerned, as the next version of the scope."`
	Approve   incidentApproveCmd   `cmd:"" help:"Ask a second person to approve a version of the scope."`
	Breakdown incidentBreakdownCmd `cmd:"" help:"Count where the customers of an approved version of the scope live."`
	State     incidentStateCmd     `cmd:"" help:"Record who lives where, what else was disclosed, and what was judged: duties hang on it."`
	Severity  incidentSeverityCmd  `cmd:"" help:"Propose how bad it is, show what was signed, or sign the next version."`
	Filed     incidentFiledCmd     `cmd:"" help:"Record that a notice was filed, with the recipient's reference and receipt."`
	Close     incidentCloseCmd     `cmd:"" help:"Close an incident and freeze its report."`
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
		if f.Rule != "" {
			text = strings.TrimSpace(strings.Join([]string{f.Rule, f.Reference, f.Text}, " "))
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
	Name     string `arg:"" help:"Name of the fact: occurred-from, occurred-to, leak-possible, suspected, detected, discovered, aware, confirmed, determined, assessed, material, personal-data-hit, persons-identified, facts-clear, contained, handled, disclosed, residents, judged, filed, assumed, unknown or note."`
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

type incidentStateCmd struct {
	forBrand
	ID        string   `arg:"" help:"Number of the incident."`
	Residents []string `help:"Persons by jurisdiction, such as IT=1200,US-CA=40; ??=7 where it is not known." placeholder:"PLACE=N"`
	Disclosed []string `help:"Classes of fields that left beside the log's, such as passport_id; -phone for one that did not." placeholder:"CLASS"`
	Judged    []string `help:"Answers such as high_risk=yes or malicious=no, and exceptions such as eu-gdpr-34-subjects:encrypted=yes." placeholder:"NAME=ANSWER"`
	Said      string   `help:"Who said so (default: you)." placeholder:"TEXT"`
	For       string   `help:"The brand of which it is, in a group's incident (default: all)." placeholder:"BRAND"`
	Corrects  uint64   `help:"Entry of the fact that this takes the place of; with one kind of statements." placeholder:"ENTRY"`
	Ticket    string   `help:"Case number." placeholder:"TEXT"`
}

// Run records each kind of statements as a fact.
func (c *incidentStateCmd) Run(ctx context.Context, std Streams) error {
	var reqs []api.FactRequest
	for _, k := range []struct {
		name string
		list []string
	}{{"residents", c.Residents}, {"disclosed", c.Disclosed}, {"judged", c.Judged}} {
		if len(k.list) > 0 {
			reqs = append(reqs, api.FactRequest{Name: k.name, Text: strings.Join(k.list, ","), Said: c.Said, Brand: c.For, Corrects: c.Corrects, Ticket: c.Ticket})
		}
	}
	switch {
	case len(reqs) == 0:
		return &usageError{"state something: --residents, --disclosed or --judged"}
	case len(reqs) > 1 && c.Corrects != 0:
		return &usageError{"--corrects goes with one of --residents, --disclosed and --judged"}
	}
	call := func(v *connection) (x *api.Incident, err error) {
		for _, req := range reqs {
			if x, err = v.StateFact(ctx, c.Brand, c.ID, req); err != nil {
				return nil, err
			}
		}
		return x, nil
	}
	return ask(ctx, std, &c.remote, call, printIncident)
}

type incidentFiledCmd struct {
	forBrand
	ID        string `arg:"" help:"Number of the incident."`
	Rule      string `arg:"" help:"Rule whose notice was filed, such as eu-gdpr-33-sa."`
	When      string `help:"When: a duration before now such as 2h, a day, or a time as RFC 3339 (default: now)." placeholder:"TIME" default:"0s"`
	Reference string `help:"Number that the recipient gave it." placeholder:"TEXT"`
	Receipt   string `help:"File with what the recipient answered; only its digest is recorded." type:"existingfile" placeholder:"FILE"`
	Said      string `help:"Who filed it (default: you)." placeholder:"TEXT"`
	For       string `help:"The brand of which it is, in a group's incident (default: all)." placeholder:"BRAND"`
	Corrects  uint64 `help:"Entry of the mark that this takes the place of." placeholder:"ENTRY"`
	Ticket    string `help:"Case number." placeholder:"TEXT"`
}

// Run records the mark.
func (c *incidentFiledCmd) Run(ctx context.Context, std Streams) error {
	when, err := flagTime("--when", c.When, time.Now())
	if err != nil {
		return err
	}
	req := api.FactRequest{Name: "filed", Rule: c.Rule, When: when, Reference: c.Reference, Said: c.Said, Brand: c.For, Corrects: c.Corrects, Ticket: c.Ticket}
	if req.Receipt, err = digestOf(c.Receipt); err != nil {
		return err
	}
	call := func(v *connection) (*api.Incident, error) { return v.StateFact(ctx, c.Brand, c.ID, req) }
	return ask(ctx, std, &c.remote, call, printIncident)
}

type incidentSeverityCmd struct {
	forBrand
	ID           string   `arg:"" help:"Number of the incident."`
	For          string   `help:"The brand of which it is, in a group's incident (default: each)." placeholder:"BRAND"`
	Years        bool     `help:"Years of purchases left, from which a profile follows."`
	Wealth       bool     `help:"That somebody is a customer of the brand tells about means."`
	Recipients   string   `help:"Who has it: none, known or unknown." placeholder:"WHO" enum:",none,known,unknown" default:""`
	Integrity    string   `help:"Whether data were altered: kept, recoverable or lost." placeholder:"HOW" enum:",kept,recoverable,lost" default:""`
	Availability string   `help:"Whether data can be used: kept, temporary or lost." placeholder:"HOW" enum:",kept,temporary,lost" default:""`
	Sign         bool     `help:"Sign it as the next version, with these values where they are given."`
	DPC          *float64 `help:"Context of the data, 1 to 4." placeholder:"N"`
	EI           *float64 `help:"Ease of identification: 0.25, 0.5, 0.75 or 1." placeholder:"N"`
	Intent       *float64 `help:"Malicious intent: 0 or 0.5." placeholder:"N"`
	Reason       string   `help:"Why; needed below the proposal." placeholder:"TEXT"`
	Ticket       string   `help:"Case number." placeholder:"TEXT"`
}

// Help is the long help text.
func (incidentSeverityCmd) Help() string {
	return `ENISA's methodology of 2013: context of the data times ease of identification plus
circumstances. What was disclosed proposes the values; a person signs them. The score
informs, and does not decide which notices are due.`
}

// Run proposes, or signs.
func (c *incidentSeverityCmd) Run(ctx context.Context, std Streams) error {
	req := api.SeverityRequest{Brand: c.For, Years: c.Years, Wealth: c.Wealth, Recipients: c.Recipients, Integrity: c.Integrity, Availability: c.Availability}
	if !c.Sign && (c.DPC != nil || c.EI != nil || c.Intent != nil || c.Reason != "") {
		return &usageError{"values and a reason go with --sign"}
	}
	call := func(v *connection) (*api.Severities, error) {
		if c.Sign {
			return v.SignSeverity(ctx, c.Brand, c.ID, api.SeveritySign{SeverityRequest: req, DPC: c.DPC, EI: c.EI, Intent: c.Intent, Reason: c.Reason, Ticket: c.Ticket})
		}
		return v.Severity(ctx, c.Brand, c.ID, req)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Severities) {
		for i := range x.Proposed {
			printSeverity(w, &x.Proposed[i])
		}
		for i := range x.Signed {
			s := &x.Signed[i]
			fmt.Fprintf(w, "\nversion %d of %s, signed %s by %s (entry %d): %s, %s\n", s.Version, s.Brand, stamp(s.At), s.By, s.Entry, s.Formula, s.Band)
			for _, l := range s.Lowered {
				fmt.Fprintf(w, "  below the proposal: %s: %s\n", l, s.Reason)
			}
		}
	})
}

func printSeverity(w io.Writer, s *api.Severity) {
	fmt.Fprintf(w, "%s: proposed %s, %s (%d persons; %s)\n", s.Brand, s.Formula, s.Band, s.Inputs.Persons, strings.Join(s.Inputs.Classes, ", "))
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, v := range append([]api.SeverityValue{s.DPC, s.EI}, s.CB...) {
		fmt.Fprintf(t, "  %s\t%g\t%s\n", v.Name, v.Value, strings.Join(v.Reasons, "; "))
		for _, b := range v.Borderline {
			fmt.Fprintf(t, "\t\tborderline: %s\n", b)
		}
	}
	t.Flush()
	for _, f := range s.Flags {
		fmt.Fprintf(w, "  flag: %s\n", f)
	}
	fmt.Fprintf(w, "%s\n%s\n", s.Method, s.Informs)
}

type incidentApproveCmd struct {
	forBrand
	ID      string `arg:"" help:"Number of the incident."`
	Version uint64 `help:"Version of the scope (default: the newest)." placeholder:"N"`
	Ticket  string `help:"Case number." placeholder:"TEXT"`
}

// Help is the long help text.
func (incidentApproveCmd) Help() string {
	return `An approved version bounds what the vault may open for the response: the country and region
of its customers, to count where they live. Another person approves: cloakroom change approve.`
}

// Run asks for the approval.
func (c *incidentApproveCmd) Run(ctx context.Context, std Streams) error {
	req := api.ScopeApproval{Version: c.Version, Ticket: c.Ticket}
	call := func(v *connection) (*api.Incident, error) { return v.ApproveScope(ctx, c.Brand, c.ID, req) }
	return ask(ctx, std, &c.remote, call, printIncident)
}

type incidentBreakdownCmd struct {
	forBrand
	ID      string `arg:"" help:"Number of the incident."`
	Version uint64 `help:"Version of the scope (default: the newest that is approved)." placeholder:"N"`
	Ticket  string `help:"Case number." placeholder:"TEXT"`
}

// Help is the long help text.
func (incidentBreakdownCmd) Help() string {
	return `The vault opens country and region of the customers of the version, and logs that it does.
Nobody is shown a value of theirs, so no budget but the version's own number of customers
counts, and a contained brand can be counted too. When the command is cut, run it again: it
resumes. The figures are kept with the version.`
}

// Run counts, step by step.
func (c *incidentBreakdownCmd) Run(ctx context.Context, std Streams) error {
	req := api.BreakdownRequest{Version: c.Version, Ticket: c.Ticket}
	call := func(v *connection) (*api.BreakdownStep, error) {
		for {
			x, err := v.BreakdownStep(ctx, c.Brand, c.ID, req)
			if std.Terminal {
				fmt.Fprint(std.Err, "\r\x1b[K")
			}
			if err != nil || x.Whole {
				return x, err
			}
			req.Version = x.Version
			if std.Terminal {
				fmt.Fprintf(std.Err, "counted %d of %d customers", x.Done, x.Of)
			}
		}
	}
	return ask(ctx, std, &c.remote, call, printBreakdown)
}

func printBreakdown(w io.Writer, x *api.BreakdownStep) {
	for i := range x.Parts {
		b := &x.Parts[i]
		fmt.Fprintf(w, "%s, scope version %d (entry %d): %d customers, %d counted by place\n", b.Brand, x.Version, b.Entry, b.Records, b.Opened)
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "COUNTRY\tREGION\tCUSTOMERS\t")
		for _, p := range b.Places {
			fmt.Fprintf(t, "%s\t%s\t%d\t\n", cmp.Or(p.Country, "?"), p.Region, p.Records)
		}
		t.Flush()
		fmt.Fprintf(w, "counted apart: %d cooling and %d erased, not opened; %d under a legal hold, %d deceased, %d minors, %d protected\n\n",
			b.Cooling, b.Erased, b.Held, b.Deceased, b.Minors, b.Protected)
	}
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
