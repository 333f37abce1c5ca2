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

type exposureCmd struct {
	remote
	Brand     string `help:"Brand name (default: all brands that you may audit)." placeholder:"NAME"`
	Principal string `help:"Only this principal, its lineages, its role and the brand." placeholder:"NAME"`
	Kind      string `help:"Only holders of this kind: lineage, principal, role or brand." enum:",lineage,principal,role,brand" default:"" placeholder:"KIND"`
	Class     string `help:"Only this class: clear, masked, search, export, write, erase, message or claim." enum:",clear,masked,search,export,write,erase,message,claim" default:"" placeholder:"CLASS"`
	Top       int    `help:"Maximum number of rows; 0: all." default:"40" placeholder:"N"`
}

// Help is the long help text.
func (exposureCmd) Help() string {
	return `A row for each holder of a budget: a lineage (a credential and all made through it), a
principal, a role, a brand. All numbers are distinct customers, in an hour, a day and 30
days.

  COULD TAKE  stolen now, it could take at most this many from now on: what its budgets,
              those of its principal, role and brand, the policy and what is contained
              leave. The sum of clear, masked, search and export, which have budgets of
              their own, where no customer is taken twice.
  COULD       stolen now, it could change or erase at most this many in a day: the sum of
  DESTROY     write and erase. What a write tells of who is a customer is part of search.
  PEAK USE    the most that it took in such a window in the last 30 days (a customer who was
              found, seen and revealed is one).
  SUGGESTED   a budget that would have done: 1.5 times what 99 of 100 windows needed, never
              less than PEAK USE, rounded up.

Rows are sorted by what could be taken and was never needed, in 30 days. With --principal,
sentences about that person come first. Without the right to audit a brand, you see your own
rows there, without PEAK USE.`
}

// Run shows what could be stolen.
func (c *exposureCmd) Run(ctx context.Context, std Streams) error {
	if c.Top < 0 {
		return &usageError{"--top is a number of rows; 0 is all"}
	}
	query := client.ExposureQuery{Principal: c.Principal, Kind: c.Kind, Class: c.Class, Top: c.Top}
	return c.with(ctx, std, func(v *connection) error {
		var x *api.Exposure
		var err error
		if c.Brand == "" {
			x, err = v.ExposureOfAll(ctx, query)
		} else {
			x, err = v.Exposure(ctx, c.Brand, query)
		}
		if err != nil {
			return err
		}
		return c.print(std, x, func(w io.Writer) { c.show(w, x) })
	})
}

func (c *exposureCmd) show(w io.Writer, x *api.Exposure) {
	if x.Own {
		c.own(w, x)
		return
	}
	if c.Principal != "" {
		c.sentences(w, x)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "HOLDER\tCOULD TAKE 1 h\t24 h\t30 d\tCOULD DESTROY 24 h\tPEAK USE 1 h\t24 h\t30 d\tSUGGESTED 1 h\t24 h\t30 d\t")
	administers := false
	for i := range x.Rows {
		r := &x.Rows[i]
		f := c.figures(r)
		note := r.State
		if f.Steps == 0 && f.Bound != (api.Windows{}) {
			note = strings.TrimSpace(note + " unused")
		}
		if r.Administers {
			administers, note = true, strings.TrimSpace(note+" *")
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", holder(&r.Held, c.Brand == ""), three(f.Bound), r.Destroy.Day, three(*f.Most), three(*f.WouldDo), note)
	}
	t.Flush()
	if x.Total > len(x.Rows) {
		fmt.Fprintf(w, "%d of %d; --top 0 shows all\n", len(x.Rows), x.Total)
	}
	fmt.Fprintln(w, "\nCustomers. COULD TAKE: stolen now, at most. PEAK USE: the most in 30 days. SUGGESTED: a budget that would have done.")
	if administers {
		fmt.Fprintln(w, "*  may change budgets, policy or roles: its bound holds until it does")
	}
	if x.At.Sub(x.UsesAt) > time.Minute {
		fmt.Fprintf(w, "use is counted up to %s: the server has just started and is still reading the log; retry for later use\n", x.UsesAt.Format(time.DateTime))
	}
}

// sentences say of one person what the table says in figures.
func (c *exposureCmd) sentences(w io.Writer, x *api.Exposure) {
	for i := range x.Rows {
		r := &x.Rows[i]
		if r.Kind != "principal" {
			continue
		}
		f := c.figures(r)
		if f.Bound == (api.Windows{}) {
			fmt.Fprintf(w, "%s at %s: stolen now, it could take nobody.\n", r.Principal, r.Held.Brand)
			continue
		}
		fmt.Fprintf(w, "%s at %s: stolen now, it could take at most %d customers in an hour, %d in a day, %d in 30 days.\n",
			r.Principal, r.Held.Brand, f.Bound.Hour, f.Bound.Day, f.Bound.Month)
		if f.Steps == 0 {
			fmt.Fprintf(w, "%s took nobody in the last 30 days.\n", r.Principal)
			continue
		}
		fmt.Fprintf(w, "At the busiest %s took %d in an hour, %d in a day, %d in 30 days: a budget of %d, %d and %d would have done.\n",
			r.Principal, f.Most.Hour, f.Most.Day, f.Most.Month, f.WouldDo.Hour, f.WouldDo.Day, f.WouldDo.Month)
	}
	fmt.Fprintln(w)
}

// own shows what the caller is told of themselves.
func (c *exposureCmd) own(w io.Writer, x *api.Exposure) {
	for i := range x.Rows {
		r := &x.Rows[i]
		fmt.Fprintf(w, "%s: stolen now, it could take at most %d customers in an hour, %d in a day, %d in 30 days, and could change or erase %d in a day\n",
			holder(&r.Held, c.Brand == ""), r.Bound.Hour, r.Bound.Day, r.Bound.Month, r.Destroy.Day)
		for _, f := range r.Classes {
			fmt.Fprintf(w, "  %-7s %d, %d, %d; used now %d, %d, %d\n", f.Class,
				f.Bound.Hour, f.Bound.Day, f.Bound.Month, f.Now.Hour, f.Now.Day, f.Now.Month)
		}
	}
}

func (c *exposureCmd) figures(r *api.ExposureRow) *api.Figures {
	for i := range r.Classes {
		if r.Classes[i].Class == c.Class {
			return &r.Classes[i].Figures
		}
	}
	return &r.Figures
}

// holder names who holds a budget.
func holder(h *api.Held, brand bool) string {
	s := h.Kind
	switch h.Kind {
	case "lineage":
		s = fmt.Sprintf("lineage %d of %s", h.ID, h.Principal)
		if h.Label != "" {
			s += " (" + h.Label + ")"
		}
	case "principal":
		s = "principal " + h.Principal
		if h.Role != "" {
			s += ", " + h.Role
		}
	case "role":
		s = "role " + h.Role
	}
	if brand || h.Kind == "brand" {
		s = h.Brand + ": " + s
	}
	return s
}

func three(w api.Windows) string { return fmt.Sprintf("%d\t%d\t%d", w.Hour, w.Day, w.Month) }

// topBounds says how many changed bounds are printed.
type topBounds struct {
	Top int `help:"Maximum number of changed loss bounds; 0: all." default:"40" placeholder:"N"`
}

// changesBounds are the flags of what changes loss bounds.
type changesBounds struct {
	DryRun bool `help:"Show what would change; change nothing."`
	topBounds
}

// show prints whose loss bound changes.
func (c *topBounds) show(w io.Writer, list []api.BoundChange) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no loss bound changes")
		return
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "COULD TAKE, BEFORE AND AFTER\tin 1 h\tin 24 h\tin 30 d\tBY")
	for i := range list {
		if c.Top > 0 && i == c.Top {
			break
		}
		ch := &list[i]
		var by []string
		for _, k := range ch.Classes {
			by = append(by, k.Class)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", holder(&ch.Held, false), arrow(ch.Before.Hour, ch.After.Hour), arrow(ch.Before.Day, ch.After.Day),
			arrow(ch.Before.Month, ch.After.Month), strings.Join(by, ","))
	}
	t.Flush()
	if c.Top > 0 && len(list) > c.Top {
		fmt.Fprintf(w, "and %d more; --top 0 shows all\n", len(list)-c.Top)
	}
}

func arrow(before, after uint64) string {
	if before == after {
		return fmt.Sprint(before)
	}
	return fmt.Sprintf("%d -> %d", before, after)
}
