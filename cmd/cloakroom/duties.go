package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/respond/duties"
)

// dutiesCmd answers which notices an incident makes due, and shows the rules.
type dutiesCmd struct {
	Of    dutiesOfCmd    `cmd:"" default:"withargs" help:"Say which notices an incident makes due, by when, and which not and why."`
	Diff  dutiesDiffCmd  `cmd:"" help:"Say what another version of the rules changes for an incident."`
	Take  dutiesTakeCmd  `cmd:"" help:"Make an incident keep the rules of the vault's release."`
	List  dutiesListCmd  `cmd:"" help:"List the rules of this program."`
	Show  dutiesShowCmd  `cmd:"" help:"Show one rule with its worked cases."`
	Book  dutiesBookCmd  `cmd:"" help:"Print the rules as an HTML page, to read and sign."`
	Words dutiesWordsCmd `cmd:"" help:"List the statements that duties hang on."`
}

type dutiesOfCmd struct {
	forBrand
	ID     string   `arg:"" help:"Number of the incident; group-3 for one of the group."`
	WhatIf []string `help:"Decide as if somebody had stated this: a class of fields (+dob), residents (IT=1200), an answer (high_risk=yes). Nothing is recorded." placeholder:"STATEMENT"`
	All    bool     `help:"Show also what is not due, with the reasons."`
	Rule   string   `help:"Show everything about one rule." placeholder:"ID"`
	Now    bool     `help:"By the rules of the vault's release, instead of those that the incident keeps." name:"current"`
}

// Help is the long help text.
func (dutiesOfCmd) Help() string {
	return `What was disclosed comes from the incident's scope, and from facts: cloakroom incident
state records who lives where (--residents), what was disclosed beside the log (--disclosed)
and what people judged (--judged). Times come from facts such as aware and determined. What
nobody has stated leaves a duty open, and the answer lists the questions.

This is not legal advice.`
}

// Run decides.
func (c *dutiesOfCmd) Run(ctx context.Context, std Streams) error {
	req := api.DutiesRequest{WhatIf: c.WhatIf}
	if c.Now {
		req.Book = "current"
	}
	call := func(v *connection) (*api.Duties, error) { return v.Duties(ctx, c.Brand, c.ID, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Duties) { c.print(w, x) })
}

func (c *dutiesOfCmd) print(w io.Writer, x *api.Duties) {
	fmt.Fprintln(w, x.Advice)
	printRules(w, "rules", &x.Book)
	for i := range x.Controllers {
		b := &x.Controllers[i]
		fmt.Fprintf(w, "\n%s, incident %s, %d persons, at %s\n", b.Brand, x.Incident, b.Persons, stamp(x.At))
		if len(x.WhatIf) > 0 {
			fmt.Fprintf(w, "what if %s: %d duties change\n", strings.Join(x.WhatIf, ", "), len(b.Changed))
			printChanges(w, b.Changed)
		}
		if c.Rule != "" {
			for k := range b.Duties {
				if b.Duties[k].Rule == c.Rule {
					printDuty(w, &b.Duties[k])
				}
			}
			continue
		}
		printDuties(w, b, c.All)
	}
}

func printRules(w io.Writer, what string, b *api.DutyBook) {
	how := "not kept by the incident"
	if b.Pinned {
		how = "kept by the incident"
	}
	fmt.Fprintf(w, "%s %s, %s: %d rules in %d jurisdictions; %d of them were read by no named person: ask counsel\n", what, b.Version, how, b.Rules, b.Jurisdictions, b.Unread)
	if b.Newer != "" {
		fmt.Fprintf(w, "the vault's release has version %s: cloakroom duties diff pinned current --incident N\n", b.Newer)
	}
	if len(b.Overlay) > 0 {
		fmt.Fprintf(w, "the operator's own rules: %s\n", strings.Join(b.Overlay, ", "))
	}
}

// printDuties lists what is due by its end, then what is open, then the rest.
func printDuties(w io.Writer, b *api.ControllerDuties, all bool) {
	by := map[string][]*api.Duty{}
	for i := range b.Duties {
		by[b.Duties[i].Verdict] = append(by[b.Duties[i].Verdict], &b.Duties[i])
	}
	due := by[api.DutyDue]
	slices.SortStableFunc(due, func(x, y *api.Duty) int {
		if x.Due.IsZero() != y.Due.IsZero() {
			if x.Due.IsZero() {
				return 1
			}
			return -1
		}
		return x.Due.Compare(y.Due)
	})
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if len(due) > 0 {
		fmt.Fprintln(t, "\nDUE\tBY\tSTATE\tTO\tRECIPIENTS")
	}
	for _, d := range due {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", d.Rule, ends(d), standingOf(d), d.To, strings.Join(d.Recipients, "; "))
	}
	t.Flush()
	if len(b.Questions) > 0 {
		fmt.Fprintf(w, "\nOPEN: %d rules hang on answers (cloakroom incident state N --judged NAME=yes)\n", len(by[api.DutyOpen]))
	}
	for _, q := range b.Questions {
		fmt.Fprintf(t, "%s\t%d rules\t%s\n", q.Name, len(q.Rules), q.Asks)
	}
	t.Flush()
	for _, p := range b.UnreadHere {
		fmt.Fprintf(w, "\n%s: persons live there, and there is no rule: nobody has read its law. Ask counsel.\n", p)
	}
	for _, n := range b.NoDuty {
		fmt.Fprintf(w, "\n%s, %s: looked at on %s, and no duty was found; no named person has read it: ask counsel. %s\n", n.Jurisdiction, n.Law, n.ReadOn, n.Says)
	}
	rest := len(by[api.DutyNotMet]) + len(by[api.DutyLifted]) + len(by[api.DutyNotInForce])
	if !all {
		fmt.Fprintf(w, "\n%d rules are not met by what was stated: --all says why; none of them was read by a named person unless it says so: ask counsel\n", rest)
		return
	}
	fmt.Fprintln(t, "\nOPEN\tIF IT IS DUE, BY\tHANGS ON")
	for _, d := range by[api.DutyOpen] {
		fmt.Fprintf(t, "%s\t%s\t%s\n", d.Rule, ends(d), strings.Join(d.Asks, ", "))
	}
	t.Flush()
	fmt.Fprintln(t, "\nNOT MET, BY WHAT WAS STATED\tWHY\tREAD BY")
	for _, v := range []string{api.DutyLifted, api.DutyNotMet, api.DutyNotInForce} {
		for _, d := range by[v] {
			fmt.Fprintf(t, "%s\t%s\t%s\n", d.Rule, strings.Join(d.Why, "; "), cmp.Or(d.ReadBy, "nobody: ask counsel"))
		}
	}
	t.Flush()
}

// ends says when a duty ends; where the law has no number, how much time has passed.
func ends(d *api.Duty) string {
	switch {
	case d.State == api.DutyNotComputable:
		return "cannot be computed: " + d.DueNote
	case !d.Due.IsZero():
		text := d.Due.Format("2006-01-02 15:04 MST")
		if d.DeadlineKind == "practice" {
			text += " (practice)"
		}
		if !d.MovedFrom.IsZero() {
			text += ", was " + d.MovedFrom.Format("2006-01-02 15:04 MST")
		}
		return text
	case d.State == api.DutyClockNotStarted:
		if len(d.WaitFor) > 0 {
			return "with or after " + strings.Join(d.WaitFor, ", ")
		}
		return "no clock: state " + strings.Join(d.Clock.Needs, " or ")
	}
	return "no number; " + d.Elapsed + " have passed"
}

func standingOf(d *api.Duty) string {
	out := []string{strings.ReplaceAll(d.State, "-", " ")}
	if d.Filed != nil && d.Late {
		out = append(out, "late")
	}
	if d.Clock.StandIn {
		out = append(out, "provisional: counted from "+d.Clock.Fact)
	}
	if len(d.WaitFor) > 0 && d.State != api.DutyClockNotStarted {
		out = append(out, "not before "+strings.Join(d.WaitFor, ", "))
	}
	if d.Disorder {
		out = append(out, "sent in the wrong order")
	}
	if len(d.Forbidden) > 0 {
		out = append(out, "must not say "+strings.Join(d.Forbidden, ", "))
	}
	return strings.Join(out, "; ")
}

func printDuty(w io.Writer, d *api.Duty) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(name string, list ...string) {
		for i, text := range list {
			if i > 0 {
				name = ""
			}
			if text != "" {
				fmt.Fprintf(t, "%s\t%s\n", name, text)
			}
		}
	}
	row("rule", d.Rule+" ("+d.Jurisdiction+", "+d.Law+", "+d.Article+")")
	row("demands", d.Demands)
	row("official text", d.Address)
	row("verdict", strings.ReplaceAll(d.Verdict, "-", " "))
	row("why", d.Why...)
	row("asks", d.Asks...)
	row("to", d.Recipients...)
	if d.Verdict == api.DutyDue || d.Verdict == api.DutyOpen {
		row("by", ends(d), d.DueNote)
		row("state", standingOf(d))
	}
	row("clock", fmt.Sprintf("%s, from %s (entry %d, said by %s)", d.Clock.Name, cmp.Or(d.Clock.Fact, "nothing yet"), d.Clock.Entry, cmp.Or(d.Clock.Said, "nobody")))
	row("content", strings.Join(d.Content, ", "))
	row("must not say", strings.Join(d.Forbidden, ", "))
	for _, x := range d.Exceptions {
		row("exception", fmt.Sprintf("%s (%s=yes): %s", x.Cite, x.Name, x.Says))
	}
	row("read", fmt.Sprintf("on %s by %s; from: %s; confidence %s; still valid on %s", d.ReadOn, cmp.Or(d.ReadBy, "nobody: ask counsel"), d.Basis, d.Confidence, d.StillValidOn))
	row("notes", d.Notes)
	t.Flush()
}

func printChanges(w io.Writer, list []api.DutyChange) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	end := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return " by " + at.Format("2006-01-02 15:04 MST")
	}
	for _, c := range list {
		more := ""
		if c.Rules {
			more = "the rule itself differs"
		}
		fmt.Fprintf(t, "%s\t%s%s\t->\t%s%s\t%s\n", c.Rule, cmp.Or(c.Before, "no rule"), end(c.WasDue), cmp.Or(c.After, "no rule"), end(c.Due), more)
	}
	t.Flush()
}

type dutiesDiffCmd struct {
	forBrand
	Before   string `arg:"" help:"pinned, current, or a version that the incident kept."`
	After    string `arg:"" help:"The same."`
	Incident string `help:"Number of the incident." required:"" placeholder:"NUMBER"`
}

// Run compares two versions.
func (c *dutiesDiffCmd) Run(ctx context.Context, std Streams) error {
	req := api.DutiesCompare{Before: c.Before, After: c.After}
	call := func(v *connection) (*api.DutiesCompared, error) {
		return v.CompareDuties(ctx, c.Brand, c.Incident, req)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.DutiesCompared) {
		fmt.Fprintln(w, x.Advice)
		printRules(w, "before", &x.Before)
		printRules(w, "after", &x.After)
		for _, name := range slices.Sorted(maps.Keys(x.Changed)) {
			fmt.Fprintf(w, "\n%s: %d rules change for incident %s\n", name, len(x.Changed[name]), x.Incident)
			printChanges(w, x.Changed[name])
		}
	})
}

type dutiesTakeCmd struct {
	forBrand
	ID     string `arg:"" help:"Number of the incident."`
	Reason string `help:"Why; no values of customers." placeholder:"TEXT"`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// Run makes the incident keep the release's rules.
func (c *dutiesTakeCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Incident, error) {
		return v.TakeRules(ctx, c.Brand, c.ID, api.RulesRequest{Reason: c.Reason, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Incident) {
		fmt.Fprintf(w, "incident %s keeps the rules of version %s\n", x.ID, x.Rules)
	})
}

// rulesFlags say which rules a verb shows that needs no vault.
type rulesFlags struct {
	Overlay string `help:"Folder with rules of your own, as the data directory's duties/." type:"existingdir" placeholder:"DIR"`
}

func (f *rulesFlags) load() (*duties.Book, error) {
	if f.Overlay == "" {
		return duties.Load()
	}
	return duties.Load(os.DirFS(f.Overlay))
}

func printBook(w io.Writer, b *duties.Book) {
	rules, unread, places := b.Counts()
	fmt.Fprintln(w, duties.Advice)
	fmt.Fprintf(w, "version %s: %d rules in %d jurisdictions; %d of them were read by no named person: ask counsel\n", b.Version, rules, places, unread)
}

type dutiesListCmd struct {
	rulesFlags
	remote
	Brand string `help:"The rules of the vault, as this brand's incidents have them, with the operator's own (default: those of this program)." placeholder:"NAME"`
	In    string `help:"Of one jurisdiction, such as JP or US-CA." placeholder:"PLACE"`
}

// Help is the long help text.
func (dutiesListCmd) Help() string {
	return `Without --brand it lists the rules of this program and needs no vault. With --brand it asks
the vault: which version it has, and which rules the operator added or replaced.`
}

// Run lists rules.
func (c *dutiesListCmd) Run(ctx context.Context, std Streams) error {
	if c.Brand != "" {
		if c.Overlay != "" {
			return &usageError{"--overlay is of this program's rules, and --brand of the vault's: give one of them"}
		}
		call := func(v *connection) (*api.DutyRules, error) { return v.DutyRules(ctx, c.Brand) }
		return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.DutyRules) {
			fmt.Fprintln(w, x.Advice)
			b := &x.Book
			fmt.Fprintf(w, "version %s of the vault: %d rules in %d jurisdictions; %d of them were read by no named person: ask counsel\n", b.Version, b.Rules, b.Jurisdictions, b.Unread)
			if len(b.Overlay) > 0 {
				fmt.Fprintf(w, "the operator's own rules: %s\n", strings.Join(b.Overlay, ", "))
			}
			c.list(w, x.Rules)
		})
	}
	b, err := c.load()
	if err != nil {
		return err
	}
	if c.JSON {
		list := b.List()
		if c.In != "" {
			list = slices.DeleteFunc(list, func(l duties.Line) bool { return l.Jurisdiction != c.In })
		}
		return json.NewEncoder(std.Out).Encode(list)
	}
	printBook(std.Out, b)
	c.list(std.Out, b.Rules())
	return nil
}

func (c *dutiesListCmd) list(w io.Writer, list []api.DutyRule) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tIN\tTO\tDEADLINE\tSTATUS\tREAD BY\tARTICLE")
	for i := range list {
		l := &list[i]
		if c.In == "" || l.Jurisdiction == c.In {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Jurisdiction, l.To, l.Deadline, cmp.Or(l.Status, "in force"), cmp.Or(l.ReadBy, "none"), l.Article)
		}
	}
	t.Flush()
}

type dutiesShowCmd struct {
	rulesFlags
	ID string `arg:"" help:"Rule, such as eu-gdpr-33-sa."`
}

// Run shows a rule as its file has it.
func (c *dutiesShowCmd) Run(_ context.Context, std Streams) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	text, err := b.Show(c.ID)
	if err != nil {
		return err
	}
	printBook(std.Out, b)
	_, err = fmt.Fprintf(std.Out, "\n%s", text)
	return err
}

type dutiesBookCmd struct {
	rulesFlags
	Out  string `help:"File to write (default: standard output)." placeholder:"FILE"`
	Only string `help:"One rule." placeholder:"ID"`
}

// Run prints the page.
func (c *dutiesBookCmd) Run(_ context.Context, std Streams) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := b.WriteBook(&page, c.Only); err != nil {
		return err
	}
	if c.Out == "" {
		_, err := std.Out.Write(page.Bytes())
		return err
	}
	if err := os.WriteFile(c.Out, page.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the rules: %w", err)
	}
	rules, unread, _ := b.Counts()
	fmt.Fprintf(std.Out, "wrote %s: %d rules, %d of them read by no named person\n", c.Out, rules, unread)
	return nil
}

type dutiesWordsCmd struct{}

// Run lists the words.
func (c *dutiesWordsCmd) Run(_ context.Context, std Streams) error {
	t := tabwriter.NewWriter(std.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "CLASSES OF FIELDS (--disclosed name,email)")
	for _, w := range duties.Classes() {
		fmt.Fprintf(t, "%s\t%s\n", w[0], w[1])
	}
	fmt.Fprintln(t, "\nQUESTIONS (--judged high_risk=yes; yes, no or unknown)")
	q := duties.Questions()
	for _, name := range slices.Sorted(maps.Keys(q)) {
		fmt.Fprintf(t, "%s\t%s\n", name, q[name])
	}
	fmt.Fprintln(t, "\nEXCEPTIONS (--judged RULE:EXCEPTION=yes)\tcloakroom duties show RULE lists them")
	return t.Flush()
}
