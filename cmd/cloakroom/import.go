package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// reading says how the values of a file are read: what an approval of writes is bound to.
type reading struct {
	Mapping string `help:"Description of the files: which column is which, and how values are written (docs/import.md)." type:"existingfile" placeholder:"FILE" xor:"mapping"`
	From    string `help:"Built-in mapping: ${profiles}." placeholder:"NAME" xor:"mapping"`

	Empty          string `help:"What an empty value does to an existing one: keep or clear. A mapping can set it per column." enum:"keep,clear" default:"keep"`
	DefaultCountry string `name:"default-country" help:"Country of phone numbers without a country code, in rows without a country." placeholder:"FR"`
	Zone           string `help:"Time zone of times that name none: Europe/Paris, UTC, +01:00. The vault guesses none." placeholder:"ZONE"`
	Strict         bool   `help:"Refuse rows whose e-mail address or phone number no search can ever find, instead of keeping them with a warning."`
	BadFields      string `name:"bad-fields" help:"For a row with an invalid optional field: refuse the row, or drop the field and keep the rest." enum:"refuse,drop" default:"refuse"`
}

// importCmd is `cloakroom import`.
type importCmd struct {
	remote
	reading
	Brand      string `help:"Brand name. Only --check needs none." placeholder:"NAME"`
	Customers  string `help:"File of customers: CSV, JSON lines or XML, plain, gzip or zstd; - reads standard input." placeholder:"FILE"`
	Purchases  string `help:"File of purchases, in the same formats." placeholder:"FILE"`
	Singer     bool   `help:"Read the output of a Singer tap from standard input. Each STATE is printed again once the records before it are committed." xor:"singer"`
	Check      string `help:"Read the first rows of a file, propose a mapping, and show ten rows as they would be stored, masked. Needs no vault." placeholder:"FILE"`
	Rejects    string `help:"File for rejected rows: file, line, field, code, reason. Default: INPUT.rejects.csv, beside the input." placeholder:"FILE"`
	Refused    string `help:"File for the refused rows themselves, each after its reason: fix them and import this file. Rows with a payment card number are left out." placeholder:"FILE"`
	Tokens     string `help:"File for external_id,token of every imported customer, for applications to store instead of the customer." placeholder:"FILE"`
	MaxRejects int    `help:"Limit of rejected rows; -1: no limit." default:"-1" placeholder:"N"`
	DryRun     bool   `help:"Write nothing; count what the import would do."`
	Approval   uint64 `help:"Number of an approval by two people (change approvals). The answer then counts accepted and rejected rows only." placeholder:"N"`

	NewRelationship string `name:"new-relationship" help:"Import customers who were erased and are customers again, too; the reason is logged." placeholder:"REASON"`

	AllowShrink bool `name:"allow-shrink" help:"Continue although the import would empty a field for nearly all customers of the file."`
}

// Help is the long help text.
func (importCmd) Help() string {
	return `Creates or updates customers by external_id and purchases by purchase_id. Repeat an
interrupted import: existing rows count as unchanged.

A rejected row is listed in the file of rejects, with its line and all of its faults,
never with a value. All other rows are imported. --refused also writes the rejected rows
themselves, to be fixed and imported again.

  cloakroom import --brand gucci --customers customers.csv --purchases purchases.csv
  cloakroom import --check export.csv                    # proposes a mapping
  cloakroom import --brand gucci --customers export.csv --from shopify-customers
  tap-shop | cloakroom import --brand gucci --singer --mapping shop.yaml > state.json

An import that would change more existing customers than the budget stops at the first
chunk without room, and prints the command that asks two people for an approval. Import
the same files again with --approval N: it resumes.

EXIT STATUS: 0 all rows imported, 1 failed, 2 wrong command line, 3 some rows were
rejected, 130 interrupted.`
}

// exitRejected is the exit code of an import that refused rows.
const exitRejected = 3

// rejectedError ends an import that refused rows.
type rejectedError struct {
	n    int64
	file string
}

// Error says how many and where to look.
func (e *rejectedError) Error() string {
	verb := "were"
	if e.n == 1 {
		verb = "was"
	}
	return fmt.Sprintf("%s %s rejected: see %s", counted(e.n, "row"), verb, e.file)
}

// imported is the answer to --json.
type imported struct {
	Brand     string            `json:"brand"`
	DryRun    bool              `json:"dry_run,omitempty"`
	Customers importedCounts    `json:"customers"`
	Purchases importedCounts    `json:"purchases"`
	Amounts   map[string]string `json:"amounts"`
	Rejects   string            `json:"rejects_file,omitempty"`
	Refused   []string          `json:"refused_files,omitempty"`
	Hints     []string          `json:"hints,omitempty"`
	Error     string            `json:"error,omitempty"`
}

type importedCounts struct {
	Read       int64              `json:"read"`
	New        int64              `json:"new"`
	Updated    int64              `json:"updated"`
	Unchanged  int64              `json:"unchanged"`
	Rejected   int64              `json:"rejected"`
	Withheld   int64              `json:"withheld"`
	Accepted   int64              `json:"accepted,omitempty"`
	Anonymous  *unfound           `json:"without_customer,omitempty"`
	RejectedBy map[string]int64   `json:"rejected_by"`
	Cleared    int64              `json:"cleared"`
	Dropped    int64              `json:"dropped_fields"`
	Unfindable map[string]unfound `json:"unfindable"`
	Unwritten  int64              `json:"refused_unwritten,omitempty"`
	Superseded int64              `json:"superseded,omitempty"`
	Unsettled  int64              `json:"not_imported,omitempty"`

	given bool // the command named such a file
}

type unfound struct {
	Count     int64 `json:"count"`
	FirstLine int64 `json:"first_line"`
}

// Run imports.
func (c *importCmd) Run(ctx context.Context, std Streams) (err error) {
	m, err := c.mapping()
	if err != nil {
		return err
	}
	if c.Check != "" {
		return c.propose(ctx, std, m)
	}
	if c.Brand == "" {
		return &usageError{"say whose customers they are: --brand NAME"}
	}
	if c.Approval != 0 && (c.Tokens != "" || c.DryRun) {
		return &usageError{"under an approval no answer depends on who is a customer: leave --tokens and --dry-run out"}
	}
	if c.Singer {
		return c.tap(ctx, std, m)
	}
	if c.Customers == "" && c.Purchases == "" {
		return &usageError{"name a file: --customers, --purchases or both"}
	}
	if c.Customers == "-" && c.Purchases == "-" {
		return &usageError{"standard input can be one of the files only"}
	}
	for _, out := range []string{c.rejectsPath(), c.Refused, c.refusedPath("customers"), c.refusedPath("purchases"), c.Tokens} {
		for _, in := range []string{c.Customers, c.Purchases, c.Mapping} {
			if sameFile(in, out) {
				return &usageError{"a file that is read cannot be written too: give --rejects, --refused and --tokens other names than the inputs"}
			}
		}
	}
	if err := c.rehearsed(ctx, std, m); err != nil {
		return err
	}
	o, done, err := c.inputs(std, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	o.Progress = progress(std)
	rejects, err := fresh(c.rejectsPath())
	if err != nil {
		return err
	}
	o.Rejects = rejects
	defer func() { err = errors.Join(err, rejects.close()) }()
	var refused []*lazyFile
	if c.Refused != "" {
		files := map[string]*lazyFile{}
		for _, kind := range []string{"customers", "purchases"} {
			if files[kind], err = fresh(c.refusedPath(kind)); err != nil {
				return err
			}
			refused = append(refused, files[kind])
		}
		o.Refused = func(kind string) io.Writer { return files[kind] }
		defer func() {
			for _, f := range refused {
				err = errors.Join(err, f.close())
			}
		}()
	}
	tokens := &lazyFile{path: c.Tokens}
	defer func() { err = errors.Join(err, tokens.close()) }()
	report, err := c.run(ctx, std, o, csv.NewWriter(tokens))
	if std.Terminal {
		fmt.Fprint(std.Err, "\r\x1b[K")
	}
	out := imported{Brand: c.Brand, DryRun: c.DryRun, Customers: counts(report.Customers), Purchases: counts(report.Purchases), Amounts: report.Amounts,
		Hints: append(report.Customers.Hints, report.Purchases.Hints...)}
	if rejects.file != nil {
		out.Rejects = rejects.path
	}
	for _, f := range refused {
		if f.file != nil {
			out.Refused = append(out.Refused, f.path)
		}
	}
	out.Customers.given, out.Purchases.given = c.Customers != "", c.Purchases != ""
	if err == nil && c.shrinks() {
		if fields := report.Shrinks(); c.DryRun && len(fields) > 0 {
			err = shrinking(fields, &report)
		}
	}
	out.ended(err, &report)
	perr := c.print(std, out, func(w io.Writer) { out.write(w) })
	if err = errors.Join(err, perr); err == nil && report.Rejected() > 0 {
		err = &rejectedError{report.Rejected(), rejects.path}
	}
	return err
}

// ended notes how the import ended, and after an error what was read and did not go in.
func (i *imported) ended(err error, report *intake.Report) {
	if err == nil {
		return
	}
	i.Error = err.Error()
	i.Customers.Unsettled, i.Purchases.Unsettled = report.Customers.Unsettled(), report.Purchases.Unsettled()
}

// shrinks reports whether the import could empty a field for everybody, and has to be
// rehearsed before it writes.
func (c *importCmd) shrinks() bool {
	m, err := c.mapping()
	return err == nil && !c.AllowShrink && c.Approval == 0 && c.Customers != "" && (c.Empty == "clear" || m.Clears())
}

// shrinking refuses an import that would empty fields for nearly everybody.
func shrinking(fields []string, r *intake.Report) error {
	return fmt.Errorf("nothing was written: the file would empty %s for nearly all of the %d customers that it names and the vault has. If they are to be emptied, add --allow-shrink; otherwise leave the column out, or use --empty keep",
		strings.Join(fields, ", "), r.Customers.Updated+r.Customers.Unchanged)
}

// run runs one import, or a rehearsal of one.
func (c *importCmd) run(ctx context.Context, std Streams, o intake.Options, tokens *csv.Writer) (report intake.Report, err error) {
	err = c.with(ctx, std, func(v *connection) (err error) {
		to, err := c.sink(ctx, v, tokens, o.DryRun)
		if err != nil {
			return err
		}
		if err := c.own(ctx, v, o.Customers.Reader, o.Purchases.Reader); err != nil {
			return err
		}
		report, err = intake.Run(ctx, to, o)
		return err
	})
	return report, c.refused(err)
}

// rehearsed runs the import without writing, where it may clear values: a column that the
// file lacks must not be emptied for everybody. Nothing is written before all is read.
func (c *importCmd) rehearsed(ctx context.Context, std Streams, m *intake.Mapping) error {
	if c.DryRun || !c.shrinks() {
		return nil
	}
	if c.Customers == "-" {
		return &usageError{"standard input cannot be read twice, and a column that it lacks could be emptied for everybody: give a file, or --allow-shrink"}
	}
	first := *c
	first.Purchases = ""
	o, done, err := first.inputs(std, m)
	if err != nil {
		return err
	}
	o.DryRun, o.MaxRejects = true, -1
	report, err := first.run(ctx, std, o, nil)
	if err = errors.Join(err, done()); err != nil {
		return err
	}
	if fields := report.Shrinks(); len(fields) > 0 {
		return shrinking(fields, &report)
	}
	return nil
}

// mapping is the mapping that was named; nil: none.
func (c *reading) mapping() (*intake.Mapping, error) {
	if c.From != "" {
		return intake.Profile(c.From)
	}
	if c.Mapping == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.Mapping)
	if err != nil {
		return nil, fmt.Errorf("reading the mapping: %w", err)
	}
	return intake.ParseMapping(text)
}

// rules are the rules for values that the flags say.
func (c *reading) rules() (r intake.Rules, err error) {
	r = intake.Rules{Strict: c.Strict, DropBadFields: c.BadFields == "drop"}
	if c.Empty == "clear" {
		r.Empty = intake.EmptyClear
	}
	if c.DefaultCountry != "" {
		if r.Country, err = record.ReadCountry(c.DefaultCountry); err != nil {
			return r, &usageError{"--default-country " + err.Error()}
		}
	}
	if c.Zone != "" {
		if r.Zone, err = intake.Zone(c.Zone); err != nil {
			return r, &usageError{"--zone " + err.Error()}
		}
	}
	return r, nil
}

// inputs opens the files; done closes them.
func (c *importCmd) inputs(std Streams, m *intake.Mapping) (o intake.Options, done func() error, err error) {
	o = intake.Options{MaxRejects: c.MaxRejects, DryRun: c.DryRun}
	var open []*intake.Reader
	done = func() (err error) {
		for _, r := range open {
			err = errors.Join(err, r.Close())
		}
		return err
	}
	rules, err := c.rules()
	if err != nil {
		return o, done, err
	}
	for _, f := range []struct {
		name string
		into *intake.Input
	}{{c.Customers, &o.Customers}, {c.Purchases, &o.Purchases}} {
		if f.name == "" {
			continue
		}
		r, err := intake.Open(f.name, std.In, m)
		if err != nil {
			return o, done, errors.Join(err, done())
		}
		r.Rules = rules
		open = append(open, r)
		*f.into = intake.Input{Name: f.name, Reader: r}
	}
	return o, done, nil
}

// rejectsPath is where rejects are listed: beside the input, not where the command runs.
func (c *importCmd) rejectsPath() string {
	if c.Rejects != "" {
		return c.Rejects
	}
	for _, input := range []string{c.Customers, c.Purchases} {
		if input != "" && input != "-" {
			return input + ".rejects.csv"
		}
	}
	return "rejects.csv"
}

// refusedPath is where the refused rows of one kind go: two files have two headers.
func (c *importCmd) refusedPath(kind string) string {
	if c.Customers == "" || c.Purchases == "" {
		return c.Refused
	}
	ext := filepath.Ext(c.Refused)
	return strings.TrimSuffix(c.Refused, ext) + "-" + kind + ext
}

// write prints the figures for people.
func (i *imported) write(w io.Writer) {
	for _, l := range []struct {
		what string
		n    importedCounts
	}{{"customers", i.Customers}, {"purchases", i.Purchases}} {
		if l.n.Read == 0 && (!l.n.given || i.Error != "") {
			continue
		}
		if l.n.Accepted > 0 {
			fmt.Fprintf(w, "%s: %d read, %d accepted, %d rejected\n", l.what, l.n.Read, l.n.Accepted, l.n.Rejected)
		} else {
			fmt.Fprintf(w, "%s: %d read, %d new, %d updated, %d unchanged, %d rejected\n", l.what, l.n.Read, l.n.New, l.n.Updated, l.n.Unchanged, l.n.Rejected)
		}
		for _, code := range slices.Sorted(maps.Keys(l.n.RejectedBy)) {
			fmt.Fprintf(w, "  %s: %d\n", code, l.n.RejectedBy[code])
		}
		if l.n.Superseded > 0 {
			fmt.Fprintf(w, "  superseded by a later record: %d\n", l.n.Superseded)
		}
		if l.n.Unsettled > 0 && i.Error != "" {
			fmt.Fprintf(w, "  not imported, as the import stopped: %d\n", l.n.Unsettled)
		}
		if l.n.Withheld > 0 {
			fmt.Fprintf(w, "  withheld, as somebody was erased: %d (cloakroom erasure withheld list)\n", l.n.Withheld)
		}
		if a := l.n.Anonymous; a != nil {
			fmt.Fprintf(w, "  no customer: %s, left out as the mapping says, first at line %d\n", counted(a.Count, "row"), a.FirstLine)
		}
		if l.n.Cleared > 0 {
			fmt.Fprintf(w, "  values cleared: %d\n", l.n.Cleared)
		}
		if l.n.Dropped > 0 {
			fmt.Fprintf(w, "  fields dropped: %d\n", l.n.Dropped)
		}
		for _, field := range slices.Sorted(maps.Keys(l.n.Unfindable)) {
			u := l.n.Unfindable[field]
			what := counted(u.Count, "phone")
			if field == "email" {
				what = strings.TrimSuffix(counted(u.Count, "e-mail addresse"), "e") // one, or several
			}
			fmt.Fprintf(w, "  warning: kept, cannot be found: %s, first at line %d\n", what, u.FirstLine)
		}
		if l.n.Unwritten > 0 && len(i.Refused) > 0 {
			fmt.Fprintf(w, "  refused rows that are listed only, as they hold a card number or cannot stand alone: %d\n", l.n.Unwritten)
		}
	}
	for _, hint := range i.Hints {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
	for _, file := range i.Refused {
		fmt.Fprintf(w, "refused rows: %s (fix them, and import this file)\n", file)
	}
}

// own tells the readers what the brand says of its own numbers: which are no payment
// cards, and the country of national phone numbers.
func (c *importCmd) own(ctx context.Context, v *connection, readers ...*intake.Reader) error {
	l, err := v.LoyaltyPrefixes(ctx, c.Brand)
	if err != nil {
		return err
	}
	country, err := v.DefaultCountry(ctx, c.Brand)
	if err != nil {
		return err
	}
	for _, r := range readers {
		if r == nil {
			continue
		}
		r.Rules.Fallback = country.Country
		if len(l.Prefixes) > 0 {
			r.Own = cards.NewOwn(l.Prefixes, l.Fields)
		}
	}
	return nil
}

// sink takes the short way where this process has the vault, and the API elsewhere.
func (c *importCmd) sink(ctx context.Context, v *connection, tokens *csv.Writer, rehearse bool) (intake.Sink, error) {
	keep := c.Tokens != "" && !rehearse
	if c.Approval != 0 && c.NewRelationship != "" {
		return nil, &usageError{"--new-relationship does not go with --approval: import these customers by themselves"}
	}
	if c.Approval != 0 {
		mapping, err := c.digest()
		return intake.Rows(&approvedSink{client: v.Client, brand: c.Brand, number: c.Approval, mapping: mapping}), err
	}
	if v.vault == nil {
		return intake.Rows(&sink{v.Client, c.Brand, tokens, keep, rehearse, c.NewRelationship}), nil
	}
	caller, err := v.caller(ctx)
	if err != nil {
		return nil, err
	}
	d := &intake.Direct{Desk: v.vault.Intake, Caller: caller, Brand: c.Brand, Relationship: c.NewRelationship}
	if keep {
		d.Tokens = func(externalID, token string) error {
			tokens.Write([]string{externalID, token})
			tokens.Flush()
			if err := tokens.Error(); err != nil {
				return fmt.Errorf("writing the tokens: %w", err)
			}
			return nil
		}
	}
	return d, nil
}

func counts(c intake.Counts) importedCounts {
	by := c.RejectedBy
	if by == nil {
		by = map[string]int64{}
	}
	out := importedCounts{c.Read, c.New, c.Updated, c.Unchanged, c.Rejected, c.Withheld, c.Accepted, nil, by, c.Cleared, c.Dropped, map[string]unfound{}, c.Unwritten, c.Superseded, 0, false}
	if c.Anonymous.N > 0 {
		out.Anonymous = &unfound{c.Anonymous.N, c.Anonymous.First}
	}
	for field, u := range c.Unfound {
		out.Unfindable[field] = unfound{u.N, u.First}
	}
	return out
}

// progress draws rate and time left, a few times a second.
func progress(std Streams) func(intake.Progress) {
	if !std.Terminal {
		return nil
	}
	started, drawn, input := time.Now(), time.Time{}, ""
	return func(p intake.Progress) {
		if p.Input != input {
			started, input = time.Now(), p.Input
		}
		if time.Since(drawn) < 200*time.Millisecond {
			return
		}
		drawn = time.Now()
		took := time.Since(started)
		fmt.Fprintf(std.Err, "\r\x1b[K%s: %d rows, %.0f/s", p.Input, p.Counts.Read, float64(p.Counts.Read)/took.Seconds())
		if p.Size > 0 && p.Bytes > 0 {
			left := time.Duration(float64(took) * float64(p.Size-p.Bytes) / float64(p.Bytes))
			fmt.Fprintf(std.Err, ", %d%%, %s left", 100*p.Bytes/p.Size, left.Round(time.Second))
		}
	}
}

// lazyFile is made when it is first written to: no rejects, no file. Customer numbers
// may stand in it: its mode is 0600.
type lazyFile struct {
	path string
	file *os.File
}

// sameFile reports whether two names are of one file.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// fresh is a lazyFile at a path where nothing is left of an earlier run.
func fresh(path string) (*lazyFile, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing the file of an earlier import: %w", err)
		}
	}
	return &lazyFile{path: path}, nil
}

func (l *lazyFile) Write(b []byte) (int, error) {
	if l.file == nil {
		f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, fmt.Errorf("making a file: %w", err)
		}
		l.file = f
	}
	return l.file.Write(b)
}

func (l *lazyFile) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
