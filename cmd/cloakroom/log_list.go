package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

type logListCmd struct {
	remote
	Brand     string `help:"Brand name; without it, the state of each log is shown." placeholder:"NAME"`
	Principal string `help:"Name or number of who acted." placeholder:"NAME"`
	Lineage   uint64 `help:"Credential and all made through it." placeholder:"NUMBER"`
	Kind      string `help:"Kind of entry: disclosure, search, write, import, erasure, refusal, audit, administration, policy, budget, rotation, detection, export, containment, canary, outcome." placeholder:"KIND"`
	Since     string `help:"Only entries since then: a duration such as 24h, a day, or a time as RFC 3339." placeholder:"TIME"`
	Limit     int    `help:"Maximum number of entries; 0 for all." default:"50"`
}

// Help is the long help text.
func (logListCmd) Help() string {
	return `Lists entries of a brand's log, the newest first: what did this principal read, who was
refused? Entries whose values were erased (log expire) name nobody.

Without --brand it shows each log's state. Each server keeps the newest checkpoint of every
log in its data directory and holds the log against it; it also verifies every log in the
background. A log that is changed or shorter stops everything at its brand. EXIT STATUS:
0 all logs are well, 1 one is not.`
}

// Run lists entries, or logs.
func (c *logListCmd) Run(ctx context.Context, std Streams) error {
	if c.Brand == "" {
		if c.Principal != "" || c.Lineage != 0 || c.Kind != "" || c.Since != "" {
			return &usageError{"say whose entries: --brand"}
		}
		return c.states(ctx, std)
	}
	if c.Limit < 0 {
		return &usageError{"--limit is 0 or more"}
	}
	since, err := flagTime("--since", c.Since, time.Now())
	if err != nil {
		return err
	}
	return c.with(ctx, std, func(v *connection) error {
		all := api.Entries{Entries: []api.Entry{}}
		for {
			q := client.EntriesQuery{Principal: c.Principal, Lineage: c.Lineage, Kind: c.Kind, Since: since, Before: all.Before, Limit: api.EntriesPage}
			if c.Limit > 0 {
				q.Limit = min(c.Limit-len(all.Entries), api.EntriesPage)
			}
			page, err := v.Entries(ctx, c.Brand, q)
			if err != nil {
				return err
			}
			all.Entries, all.Before = append(all.Entries, page.Entries...), page.Before
			if all.Before == 0 || c.Limit > 0 && len(all.Entries) >= c.Limit {
				break
			}
		}
		return c.print(std, all, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
			if len(all.Entries) > 0 {
				fmt.Fprintln(t, "ENTRY\tAT\tKIND\tWHO\tCUSTOMERS\tPURPOSE\tFIELDS")
			}
			for i := range all.Entries {
				e := &all.Entries[i]
				who := e.Name
				if who == "" && e.Principal != 0 {
					who = fmt.Sprint("principal ", e.Principal)
				}
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", e.Index, e.At.UTC().Format("2006-01-02 15:04:05"), e.Kind, who, e.Customers,
					strings.TrimSpace(e.Purpose+" "+e.Ticket), strings.Join(e.Fields, ","))
			}
			t.Flush()
			switch {
			case len(all.Entries) == 0:
				fmt.Fprintln(w, "no such entry")
			case all.Before != 0:
				fmt.Fprintln(w, "There may be more: --limit 0 shows all.")
			}
		})
	})
}

// flagTime reads a duration before now, a day, or a time.
func flagTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &usageError{flag + " is a duration such as 24h, a day such as 2026-11-01, or a time such as 2026-11-01T08:00:00Z"}
}
