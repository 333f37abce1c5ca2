package console

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

func (c *Console) incidentPages(mux *http.ServeMux) {
	c.handle(mux, "GET /b/{brand}/incidents", incidentList)
	c.handle(mux, "GET /b/{brand}/incidents/{id}", incidentShow)
}

type incidentsPage struct {
	Frame
	Open, Closed []api.Incident
	More         bool
}

func incidentList(v *visit) error {
	list, err := v.api.Incidents(v.ctx, v.brand)
	if err != nil {
		return err
	}
	p := &incidentsPage{Frame: v.frame("incidents", v.Say("Incidents"), "cloakroom incident list --brand "+v.brand, "cloakroom incident open --brand "+v.brand+" --title TITLE")}
	for _, x := range list {
		if x.Closed.IsZero() {
			p.Open = append(p.Open, x)
		} else {
			p.Closed = append(p.Closed, x)
		}
	}
	if p.More = len(p.Closed) > ListPage; p.More {
		p.Closed = p.Closed[:ListPage]
	}
	return v.show("incidents", p)
}

// Chart is a breakdown of a scope: a table with a bar in each row.
type Chart struct {
	Caption string
	Rows    []page.Bar
}

type incidentPage struct {
	Frame
	*api.Incident
	Scope    *api.ScopeVersion
	Charts   []Chart
	Severity []api.Severity // the newest signed of each brand, or what is proposed
	Proposed bool
	Duties   []DutiesOf
	Advice   string
	Missing  string // why duties or severity are not shown
}

// DutiesOf are one controller's duties that ask for something, the most urgent first.
type DutiesOf struct {
	Brand        string
	Due          []api.Duty // in force
	Hanging      []api.Duty // on an answer that nobody has given
	Filed        []api.Duty
	Others       int // not met, lifted or not in force
	Late         int
	Questions    []api.DutyQuestion
	UnreadPlaces []string
}

func incidentShow(v *visit) error {
	id := v.r.PathValue("id")
	x, err := v.api.Incident(v.ctx, v.brand, id)
	if err != nil {
		return err
	}
	p := &incidentPage{Frame: v.frame("incidents", v.Say("Incident %s", x.ID),
		"cloakroom incident show --brand "+v.brand+" "+x.ID, "cloakroom incident severity --brand "+v.brand+" "+x.ID, "cloakroom duties --brand "+v.brand+" "+x.ID), Incident: x}
	if n := len(x.Scopes); n > 0 {
		p.Scope = &x.Scopes[n-1]
		p.charts(v)
	}
	if err := p.judge(v, id); err != nil {
		e, ok := errors.AsType[*api.Error](err)
		if !ok {
			return err
		}
		p.Missing = cmp.Or(e.Detail, e.Title)
	}
	return v.show("incident", p)
}

// charts draws the newest version of the scope.
func (p *incidentPage) charts(v *visit) {
	brands := Chart{Caption: v.Say("Records by brand")}
	for _, part := range p.Scope.Parts {
		brands.Rows = append(brands.Rows, page.Bar{Label: part.Brand, Value: part.Records, Of: max(1, p.Scope.Records)})
		reached := Chart{Caption: v.Say("%s: the most that was shown of each record", part.Brand)}
		for _, level := range []string{"clear", "extract", "masked"} {
			if n, ok := part.Reached[level]; ok {
				reached.Rows = append(reached.Rows, page.Bar{Label: v.Word(level), Value: n, Of: max(1, part.Records)})
			}
		}
		fields := Chart{Caption: v.Say("%s: records by field", part.Brand)}
		for _, row := range part.Fields {
			fields.Rows = append(fields.Rows, page.Bar{Label: row.Name, Value: row.Records, Of: max(1, part.Records)})
		}
		slices.SortStableFunc(fields.Rows, func(a, b page.Bar) int { return b.Value - a.Value })
		for _, c := range []Chart{reached, fields} {
			if len(c.Rows) > 0 {
				p.Charts = append(p.Charts, c)
			}
		}
	}
	if len(brands.Rows) > 1 {
		p.Charts = append([]Chart{brands}, p.Charts...)
	}
}

// judge asks for the severity and the duties.
func (p *incidentPage) judge(v *visit, id string) error {
	s, err := v.api.Severity(v.ctx, v.brand, id, api.SeverityRequest{})
	if err != nil {
		return err
	}
	newest := map[string]int{}
	for _, x := range s.Signed {
		if i, ok := newest[x.Brand]; ok {
			p.Severity[i] = x
			continue
		}
		newest[x.Brand] = len(p.Severity)
		p.Severity = append(p.Severity, x)
	}
	if len(p.Severity) == 0 {
		p.Severity, p.Proposed = s.Proposed, true
	}
	d, err := v.api.Duties(v.ctx, v.brand, id, api.DutiesRequest{})
	if err != nil {
		return err
	}
	p.Advice = d.Advice
	for _, c := range d.Controllers {
		of := DutiesOf{Brand: c.Brand, Questions: c.Questions, UnreadPlaces: c.UnreadHere}
		for _, x := range c.Duties {
			switch {
			case x.Filed != nil:
				of.Filed = append(of.Filed, x)
			case x.Verdict == "due":
				of.Due = append(of.Due, x)
				if x.Late {
					of.Late++
				}
			case x.Verdict == "open":
				of.Hanging = append(of.Hanging, x)
			default:
				of.Others++
			}
		}
		slices.SortStableFunc(of.Due, func(a, b api.Duty) int {
			switch {
			case a.Due.IsZero() && b.Due.IsZero():
				return 0
			case a.Due.IsZero():
				return 1
			case b.Due.IsZero():
				return -1
			}
			return a.Due.Compare(b.Due)
		})
		p.Duties = append(p.Duties, of)
	}
	return nil
}
