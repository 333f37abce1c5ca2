package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// scopeFlags say which entries count.
type scopeFlags struct {
	Principal     []string `help:"Who acted, by name or number. Repeat a flag to match any of its values." placeholder:"NAME" sep:"none"`
	Credential    []uint64 `help:"One credential." placeholder:"NUMBER"`
	Lineage       []uint64 `help:"Credential and all made through it, by the number of any of them." placeholder:"NUMBER"`
	Role          []string `help:"Role of the reader." placeholder:"ROLE"`
	Export        []string `help:"Export." placeholder:"ID"`
	Recipient     []string `help:"Recipient of the data." placeholder:"NAME" sep:"none"`
	Fields        []string `help:"Entries with at least one of these fields." placeholder:"FIELD"`
	Purpose       []string `help:"Purpose." placeholder:"PURPOSE"`
	Level         []string `help:"How fields were shown: clear, masked or extract." placeholder:"LEVEL"`
	Kind          []string `help:"Kind of entry, such as disclosure or search." placeholder:"KIND"`
	From          string   `help:"Entries at this time or later: a duration before now such as 48h, a day, or a time as RFC 3339." placeholder:"TIME" aliases:"since"`
	To            string   `help:"Entries before this time." placeholder:"TIME" aliases:"until"`
	Or            []string `help:"Another filter, whose entries count too, such as lineage=12,from=2026-11-01." placeholder:"FILTER" sep:"none"`
	Except        []string `help:"Filter whose entries do not count, such as purpose=marketing." placeholder:"FILTER" sep:"none"`
	Of            []string `help:"With --brand group: the brands to count (default: all)." placeholder:"BRAND"`
	Investigators bool     `help:"Count the entries of incident responders too."`
	Ticket        string   `help:"Case number." placeholder:"TEXT"`
}

// request returns what the flags ask.
func (f *scopeFlags) request(now time.Time) (api.ScopeRequest, error) {
	first := api.ScopeFilter{Principals: f.Principal, Credentials: f.Credential, Lineages: f.Lineage, Roles: f.Role, Exports: f.Export,
		Recipients: f.Recipient, Fields: f.Fields, Purposes: f.Purpose, Levels: f.Level, Kinds: f.Kind}
	out := api.ScopeRequest{Brands: f.Of, Investigators: f.Investigators, Ticket: f.Ticket}
	var err error
	if first.From, err = flagTime("--from", f.From, now); err != nil {
		return out, err
	}
	if first.To, err = flagTime("--to", f.To, now); err != nil {
		return out, err
	}
	out.Any = []api.ScopeFilter{first}
	for _, text := range f.Or {
		x, err := parseFilter("--or", text, now)
		if err != nil {
			return out, err
		}
		out.Any = append(out.Any, x)
	}
	for _, text := range f.Except {
		x, err := parseFilter("--except", text, now)
		if err != nil {
			return out, err
		}
		out.Except = append(out.Except, x)
	}
	return out, nil
}

// parseFilter reads NAME=VALUE,NAME=VALUE with the names of the flags.
func parseFilter(flag, text string, now time.Time) (f api.ScopeFilter, err error) {
	texts := map[string]*[]string{"principal": &f.Principals, "role": &f.Roles, "export": &f.Exports, "recipient": &f.Recipients,
		"fields": &f.Fields, "purpose": &f.Purposes, "level": &f.Levels, "kind": &f.Kinds}
	numbers := map[string]*[]uint64{"credential": &f.Credentials, "lineage": &f.Lineages}
	times := map[string]*time.Time{"from": &f.From, "to": &f.To}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return f, &usageError{flag + " takes NAME=VALUE pairs, such as lineage=12,from=2026-11-01"}
		}
		switch {
		case texts[name] != nil:
			*texts[name] = append(*texts[name], value)
		case numbers[name] != nil:
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return f, &usageError{flag + ": " + name + " is a number"}
			}
			*numbers[name] = append(*numbers[name], n)
		case times[name] != nil:
			if *times[name], err = flagTime(flag+" "+name, value, now); err != nil {
				return f, err
			}
		default:
			return f, &usageError{flag + " knows principal, credential, lineage, role, export, recipient, fields, purpose, level, kind, from and to"}
		}
	}
	return f, nil
}

type scopeCmd struct {
	forBrand
	scopeFlags `embed:""`
}

// Help is the long help text.
func (scopeCmd) Help() string {
	return `Counts the distinct customers that the matching entries of the log disclosed, exactly, up to
one size of the log. Flags narrow each other; a repeated flag matches any of its values.
--or adds what another filter finds, --except takes out what it finds.

  records   distinct customers, counted at each brand
  persons   at least the records of the largest brand, at most all records together: one
            person may be a customer of several brands, and they are not joined

What incident responders were shown is left out, and said; it counts with --investigators,
and where a filter names a principal, credential, lineage or role. Entries whose values were
erased (log expire) cannot be held against a name or an exact time: they are counted apart.

The figures name no customer. Each question is an entry of the log. It counts against no
budget of disclosures, so it works while the brand is contained. It needs the right to audit.`
}

// Run counts.
func (c *scopeCmd) Run(ctx context.Context, std Streams) error {
	req, err := c.request(time.Now())
	if err != nil {
		return err
	}
	call := func(v *connection) (*api.Scope, error) { return v.Scope(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, printScope)
}

// printScope prints both counts, and then each brand.
func printScope(w io.Writer, s *api.Scope) {
	fmt.Fprintf(w, "records: %d (distinct customers, counted at each brand)\n", s.Records)
	if s.Persons.AtLeast == s.Persons.AtMost {
		fmt.Fprintf(w, "persons: %d\n", s.Persons.AtMost)
	} else {
		fmt.Fprintf(w, "persons: %d to %d (customers are not joined across brands)\n", s.Persons.AtLeast, s.Persons.AtMost)
	}
	for i := range s.Brands {
		printBrandScope(w, &s.Brands[i])
	}
}

func printBrandScope(w io.Writer, b *api.BrandScope) {
	fmt.Fprintf(w, "\n%s: %d records, %d disclosures, %d entries, in the log up to size %d; read as entry %d\n", b.Brand, b.Records, b.Disclosures, b.Entries, b.Size, b.Entry)
	fmt.Fprintf(w, "  most shown: clear %d, masked %d, extract %d\n", b.Reached["clear"], b.Reached["masked"], b.Reached["extract"])
	if b.Changed+b.Created+b.Erased > 0 {
		fmt.Fprintf(w, "  changed: %d; created: %d; erased: %d\n", b.Changed, b.Created, b.Erased)
	}
	if b.LeftOut.Entries > 0 {
		fmt.Fprintf(w, "  left out: %d entries of incident responders, %d records (--investigators counts them)\n", b.LeftOut.Entries, b.LeftOut.Records)
	}
	if b.Unknown.Entries > 0 {
		fmt.Fprintf(w, "  unknown: %d entries with %d records, whose values were erased: nobody can say whether they match\n", b.Unknown.Entries, b.Unknown.Records)
	}
	if len(b.Unmatched) > 0 {
		fmt.Fprintf(w, "  no entry names: %s\n", strings.Join(b.Unmatched, ", "))
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, part := range []struct {
		name string
		rows []api.ScopeRow
	}{{"FIELDS", b.Fields}, {"LEVEL", b.Levels}, {"PURPOSE", b.Purposes}, {"RECIPIENT", b.Recipients}, {"TIME", b.Times}} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(t, "  %s\tRECORDS\tDISCLOSURES\tENTRIES\n", part.name)
		for i, r := range part.rows {
			if i == maxScopeRows {
				fmt.Fprintf(t, "  %d more rows with --json\n", len(part.rows)-i)
				break
			}
			fmt.Fprintf(t, "  %s\t%d\t%d\t%d\n", r.Name, r.Records, r.Disclosures, r.Entries)
		}
	}
	t.Flush()
}

// maxScopeRows bounds each printed breakdown.
const maxScopeRows = 24
