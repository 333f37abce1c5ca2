package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

func (c *Console) watchPages(mux *http.ServeMux) {
	c.handle(mux, "GET /b/{brand}/watch", watch)
	mux.HandleFunc("GET /b/{brand}/watch/live", c.watchLive)
	c.handle(mux, "GET /b/{brand}/alarms", alarmList)
	c.handle(mux, "GET /b/{brand}/alarms/{id}", alarmShow)
	c.handle(mux, "POST /b/{brand}/alarms/{id}", alarmAct)
}

func exposureOf(principal string) client.ExposureQuery {
	return client.ExposureQuery{Principal: principal}
}

// openAlarms asks for those that somebody has to look at, the newest first.
func openAlarms(limit int) client.AlarmsQuery { return client.AlarmsQuery{State: "open", Limit: limit} }

// Use is what a class of disclosures took, beside what is usual and what the budget lets.
type Use struct {
	Class             string
	Now, Usual, Bound uint64
}

// Bar draws the use in the budget.
func (u Use) Bar() page.Bar { return room(u.Now, u.Bound) }

// Above reports whether it is more than in 99 of 100 steps of the last 30 days.
func (u Use) Above() bool { return u.Usual > 0 && u.Now > u.Usual }

func room(now, bound uint64) page.Bar {
	return page.Bar{Value: int(now), Of: int(bound), Near: bound > 0 && now*10 >= bound*8}
}

// Risk is what one principal could take, stolen now.
type Risk struct {
	Name, Role, State  string
	Administers        bool
	Now, Bound, Ruin   api.Windows
	NowKnown, NearFull bool
}

// Bar draws what was used today.
func (r Risk) Bar() page.Bar { return room(r.Now.Day, r.Bound.Day) }

type watchPage struct {
	Frame
	Alarms      []api.Alarm
	More        bool
	Uses        []Use
	Near, Risks []Risk
	Total       api.Windows // what the brand's own row says
	Destroy     api.Windows
	Exposure    *api.Exposure
	Log         *api.Checkpoint
	Health      *api.Health
	Contained   []api.Containment
	Live        string
}

func watch(v *visit) error {
	p := &watchPage{Frame: v.frame("watch", v.Say("Watch"), "cloakroom alarm list --brand "+v.brand, "cloakroom exposure --brand "+v.brand, "cloakroom contain list --brand "+v.brand),
		Live: v.at("watch", "live")}
	list, err := v.api.Alarms(v.ctx, v.brand, openAlarms(20))
	if err != nil {
		return err
	}
	p.Alarms, p.More = list.Alarms, list.Before != ""
	if p.Health, err = v.api.Health(v.ctx); err != nil {
		p.Health = &api.Health{Status: "failing"}
	}
	if v.brand == group { // its log has no customers, and nobody can take any from it
		return v.show("watch", p)
	}
	if p.Exposure, err = v.api.Exposure(v.ctx, v.brand, client.ExposureQuery{}); err != nil {
		return err
	}
	for i := range p.Exposure.Rows {
		row := &p.Exposure.Rows[i]
		switch row.Kind {
		case "brand":
			p.Total, p.Destroy = row.Bound, row.Destroy
			for _, c := range row.Classes {
				u := Use{Class: c.Class, Bound: c.Bound.Day}
				if c.Now != nil {
					u.Now = c.Now.Day
				}
				if c.P99 != nil {
					u.Usual = c.P99.Day
				}
				p.Uses = append(p.Uses, u)
			}
		case "principal":
			r := Risk{Name: row.Principal, Role: row.Role, State: row.State, Administers: row.Administers, Bound: row.Bound, Ruin: row.Destroy}
			if row.Now != nil {
				r.Now, r.NowKnown = *row.Now, true
			}
			for _, c := range row.Classes {
				if c.Now != nil && c.Bound.Day > 0 && c.Now.Day*10 >= c.Bound.Day*8 || c.Now != nil && c.Bound.Hour > 0 && c.Now.Hour*10 >= c.Bound.Hour*8 {
					r.NearFull = true
				}
			}
			if r.NearFull {
				p.Near = append(p.Near, r)
			}
			p.Risks = append(p.Risks, r)
		}
	}
	slices.SortStableFunc(p.Risks, func(a, b Risk) int { return int(b.Bound.Day) - int(a.Bound.Day) })
	p.Risks = p.Risks[:min(10, len(p.Risks))]
	if p.Log, err = v.api.Checkpoint(v.ctx, v.brand); err != nil {
		return err
	}
	if p.Contained, err = v.contained(); err != nil {
		return err
	}
	return v.show("watch", p)
}

// contained are the containments in force.
func (v *visit) contained() ([]api.Containment, error) {
	list, err := v.api.Containments(v.ctx, v.brand)
	if ofType(err, api.TypePolicyDenied) { // somebody who sees alarms and contains nobody
		return nil, nil
	}
	return slices.DeleteFunc(list, func(x api.Containment) bool { return !x.Ended.IsZero() }), err
}

type alarmsPage struct {
	Frame
	Alarms          []api.Alarm
	State, Severity string
	States, Levels  []string
	Older           string
}

var (
	alarmStates = []string{"open", "new", "acknowledged", "closed", "all"}
	severities  = []string{"low", "medium", "high", "critical"}
)

func alarmList(v *visit) error {
	q := v.r.URL.Query()
	p := &alarmsPage{Frame: v.frame("watch", v.Say("Alarms"), "cloakroom alarm list --brand "+v.brand+" --state all"), State: q.Get("state"), Severity: q.Get("severity"), States: alarmStates, Levels: severities}
	if !slices.Contains(alarmStates, p.State) {
		p.State = "open"
	}
	if !slices.Contains(severities, p.Severity) {
		p.Severity = "low"
	}
	ask := client.AlarmsQuery{State: p.State, Severity: p.Severity, Before: q.Get("before"), Limit: ListPage}
	if ask.State == "all" {
		ask.State = ""
	}
	list, err := v.api.Alarms(v.ctx, v.brand, ask)
	if err != nil {
		return err
	}
	p.Alarms = list.Alarms
	if list.Before != "" {
		p.Older = v.at("alarms") + "?" + url.Values{"state": {p.State}, "severity": {p.Severity}, "before": {list.Before}}.Encode()
	}
	return v.show("alarms", p)
}

type alarmPage struct {
	Frame
	*api.Alarm
	Reasons   []string
	Contained []api.Containment // in force, of the same principal or lineage
	Form      *page.Form
	Once      string
}

func (v *visit) alarmPage(a *api.Alarm) (*alarmPage, error) {
	p := &alarmPage{Frame: v.frame("watch", v.Say("Alarm"), "cloakroom alarm show --brand "+v.brand+" "+a.ID, "cloakroom alarm ack --brand "+v.brand+" "+a.ID), Alarm: a,
		Reasons: api.CloseReasons(), Form: page.NewForm(), Once: once()}
	if a.Contain != "" {
		p.Commands = append(p.Commands, a.Contain)
	}
	list, err := v.contained()
	for _, x := range list {
		if x.Kind == "principal" && x.Target == a.Principal || x.Kind == "lineage" && x.Target == a.Lineage {
			p.Contained = append(p.Contained, x)
		}
	}
	return p, err
}

func alarmShow(v *visit) error {
	a, err := v.api.Alarm(v.ctx, v.brand, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p, err := v.alarmPage(a)
	if err != nil {
		return err
	}
	return v.show("alarm", p)
}

func alarmAct(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	id := v.r.PathValue("id")
	switch f.Get("verb") {
	case "acknowledge":
		_, err = v.api.AcknowledgeAlarm(ctx, v.brand, id)
	case "close":
		if f.Need("reason", v.Say("Choose why it is closed")) != "" {
			_, err = v.api.CloseAlarm(ctx, v.brand, id, api.CloseRequest{Reason: f.Get("reason"), Ticket: f.Get("ticket")})
		}
	default:
		return errVerb()
	}
	if err == nil && f.OK() {
		return v.to(v.at("alarms", id))
	}
	if err != nil && !v.place(f, err, map[string]string{"reason": "reason", "ticket": "ticket"}) {
		return err
	}
	a, err := v.api.Alarm(v.ctx, v.brand, id)
	if err != nil {
		return err
	}
	p, err := v.alarmPage(a)
	if err != nil {
		return err
	}
	p.Form = f
	return v.wrong("alarm", p)
}

func number(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}
