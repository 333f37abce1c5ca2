package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

func (c *Console) logPages(mux *http.ServeMux) {
	c.handle(mux, "GET /b/{brand}/log", logList)
	c.handle(mux, "POST /b/{brand}/log/verify", logVerify)
	c.handle(mux, "GET /b/{brand}/log/verify", func(v *visit) error { return v.to(v.at("log")) })
	c.handle(mux, "GET /b/{brand}/log/{index}", logEntry)
}

// Details are the values of an entry that have no column of their own.
type Details []Field

// Short is a value for a list: the entry's own page has it whole.
func (f Field) Short() string {
	r := []rune(f.Value)
	if len(r) <= shortValue {
		return f.Value
	}
	return string(r[:shortValue]) + "…"
}

// shortValue is how many characters of a value a list shows.
const shortValue = 48

type entryRow struct {
	api.Entry
	Details Details
}

func rowOf(e api.Entry) entryRow {
	r := entryRow{Entry: e}
	for name, value := range e.Detail {
		r.Details = append(r.Details, Field{name, value})
	}
	slices.SortFunc(r.Details, func(a, b Field) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

type logPage struct {
	Frame
	Form       *page.Form
	Entries    []entryRow
	Checkpoint *api.Checkpoint
	Filtered   bool
	Older      string
	Verified   *api.Verified
	Once       string
}

// logFilters are the filters of the list. A name is none of them, since it would stand in
// the address: the table leads to a principal by number.
var logFilters = []string{"kind", "principal", "lineage", "since"}

func logList(v *visit) error {
	p, err := v.logPage()
	if err != nil {
		return err
	}
	q := v.r.URL.Query()
	ask := client.EntriesQuery{Kind: p.Form.Get("kind"), Lineage: number(p.Form.Get("lineage")), Before: number(q.Get("before")), Limit: ListPage}
	if n := number(p.Form.Get("principal")); n > 0 {
		ask.Principal = strconv.FormatUint(n, 10)
	} else if p.Form.Get("principal") != "" {
		p.Form.Wrong("principal", v.Say("A principal has a number here; follow the link on a name"))
	}
	if day := p.Form.Get("since"); day != "" {
		if ask.Since, err = time.Parse(time.DateOnly, day); err != nil {
			p.Form.Wrong("since", v.Say("A day is written like 2026-01-31"))
		}
	}
	if !p.Form.OK() {
		return v.wrong("log", p)
	}
	list, err := v.api.Entries(v.ctx, v.brand, ask)
	if err != nil {
		if v.place(p.Form, err, map[string]string{"kind": "kind", "query.kind": "kind", "query.since": "since"}) && !ofType(err, api.TypePolicyDenied, api.TypeUnknownBrand) {
			return v.wrong("log", p)
		}
		return err
	}
	for _, e := range list.Entries {
		p.Entries = append(p.Entries, rowOf(e))
	}
	if list.Before != 0 {
		next := url.Values{"before": {strconv.FormatUint(list.Before, 10)}}
		for _, name := range logFilters {
			if x := p.Form.Get(name); x != "" {
				next.Set(name, x)
			}
		}
		p.Older = v.at("log") + "?" + next.Encode()
	}
	return v.show("log", p)
}

func (v *visit) logPage() (*logPage, error) {
	q := v.r.URL.Query()
	filtered := false
	var pairs []string
	for _, name := range logFilters {
		pairs = append(pairs, name, q.Get(name))
		filtered = filtered || q.Get(name) != ""
	}
	f := page.NewForm(pairs...)
	cp, err := v.api.Checkpoint(v.ctx, v.brand)
	return &logPage{Frame: v.frame("log", v.Say("Log"), "cloakroom log list --brand "+v.brand, "cloakroom log verify --brand "+v.brand, "cloakroom log checkpoint --brand "+v.brand),
		Form: f, Filtered: filtered, Checkpoint: cp, Once: once()}, err
}

func logVerify(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	p, err := v.logPage()
	if err != nil {
		return err
	}
	p.Title = v.Say("The log was verified")
	if p.Verified, err = v.api.VerifyLog(ctx, v.brand, api.VerifyRequest{Older: f.Get("older")}); err != nil {
		if !ofType(err, api.TypeInvalid) || !v.place(f, err, map[string]string{"older": "older"}) {
			return err
		}
		p.Form, p.Title = f, v.Say("Log")
		return v.wrong("log", p)
	}
	return v.show("verified", p)
}

type entryPage struct {
	Frame
	entryRow
}

func logEntry(v *visit) error {
	n := v.r.PathValue("index")
	index, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return &api.Error{Type: api.TypeNotFound, Title: "Page not found", Status: http.StatusNotFound}
	}
	e, err := v.api.Entry(v.ctx, v.brand, index)
	if err != nil {
		return err
	}
	return v.show("entry", &entryPage{Frame: v.frame("log", v.Say("Entry %s", n), "cloakroom log entry --brand "+v.brand+" "+n, "cloakroom log proof --brand "+v.brand+" "+n), entryRow: rowOf(*e)})
}
