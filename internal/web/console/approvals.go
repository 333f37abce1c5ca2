package console

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

func (c *Console) approvalPages(mux *http.ServeMux) {
	c.handle(mux, "GET /approvals", approvals)
	c.handle(mux, "GET /changes/{id}", changeShow)
	c.handle(mux, "POST /changes/{id}", changeDecide)
	c.handle(mux, "GET /b/{brand}/exports/{id}", exportShow)
	c.handle(mux, "POST /b/{brand}/exports/{id}", exportDecide)
}

// ListPage is how many rows a list shows before it leads to older ones.
const ListPage = 50

// once names a form, so that what it asks for is done once.
func once() string { return rand.Text() }

// waiting is one thing that somebody may decide, or asked for.
type waiting struct {
	What, Brand, By, State, To string
	Change                     *api.Change
	Export                     *api.Export
}

type approvalsPage struct {
	Frame
	Open, Done []waiting
	More       bool
}

func approvals(v *visit) error {
	p := &approvalsPage{Frame: v.frame("approvals", v.Say("Approvals"), "cloakroom change list", "cloakroom export list --brand BRAND")}
	changes, err := v.api.Changes(v.ctx)
	if err != nil {
		return err
	}
	for i := range changes {
		x := &changes[i]
		w := waiting{What: x.Act, Brand: x.Brand, By: x.AskedBy, State: x.State, To: "/changes/" + url.PathEscape(x.ID), Change: x}
		if x.State == "asked" || x.State == "approved" {
			p.Open = append(p.Open, w)
		} else {
			p.Done = append(p.Done, w)
		}
	}
	for _, b := range v.shops {
		list, err := v.api.Exports(v.ctx, b.Name)
		if err != nil {
			return err
		}
		for i := range list.Exports {
			x := &list.Exports[i]
			w := waiting{What: "export", Brand: b.Name, By: x.Requester, State: x.State, To: "/b/" + url.PathEscape(b.Name) + "/exports/" + url.PathEscape(x.ID), Export: x}
			if x.State == "requested" || x.State == "gathering" {
				p.Open = append(p.Open, w)
			} else {
				p.Done = append(p.Done, w)
			}
		}
	}
	if p.More = len(p.Done) > ListPage; p.More {
		p.Done = p.Done[:ListPage]
	}
	return v.show("approvals", p)
}

// changePage is one change: what it does, and the question for the person who decides.
type changePage struct {
	Frame
	*api.Change
	Mine     bool
	N        int // how many things change
	Once     string
	Answered bool
	Form     *page.Form
}

func (v *visit) changePage(x *api.Change) *changePage {
	return &changePage{Frame: v.frame("approvals", v.Say("A change"), "cloakroom change show "+x.ID, "cloakroom change approve "+x.ID), Change: x,
		Mine: x.AskedBy == v.me.Name, N: max(1, len(x.Lines)), Once: once(), Form: page.NewForm()}
}

func changeShow(v *visit) error {
	x, err := v.api.Change(v.ctx, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.show("change", v.changePage(x))
}

func changeDecide(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	id := v.r.PathValue("id")
	var x *api.Change
	switch f.Get("verb") {
	case "approve":
		x, err = v.api.ApproveChange(ctx, id)
	case "refuse":
		x, err = v.api.RefuseChange(ctx, id)
	case "withdraw":
		x, err = v.api.WithdrawChange(ctx, id)
	case "acknowledge":
		x, err = v.api.AcknowledgeChange(ctx, id)
	case "break-glass":
		x, err = v.api.BreakGlass(ctx, id, f.Get("reason"))
	default:
		err = errVerb()
	}
	if err != nil {
		now, again := v.api.Change(v.ctx, id)
		if again != nil || !v.place(f, err, map[string]string{"reason": "reason"}) {
			return err
		}
		p := v.changePage(now)
		p.Form = f
		return v.wrong("change", p)
	}
	if len(x.Answer) > 0 { // shown once, here
		p := v.changePage(x)
		p.Answered = true
		return v.show("change", p)
	}
	return v.to("/changes/" + url.PathEscape(id))
}

// Text is what the act answered, as JSON.
func (p *changePage) Text() string { return string(p.Answer) }

func errVerb() error {
	return &api.Error{Type: api.TypeInvalid, Title: "Malformed form", Status: http.StatusBadRequest, Detail: "the form names no act of this page"}
}

type exportPage struct {
	Frame
	*api.Export
	Mine bool
	Once string
	Form *page.Form
}

func (v *visit) exportPage(x *api.Export) *exportPage {
	return &exportPage{Frame: v.frame("approvals", v.Say("An export"), "cloakroom export show --brand "+v.brand+" "+x.ID, "cloakroom export approve --brand "+v.brand+" "+x.ID), Export: x,
		Mine: x.Requester == v.me.Name, Once: once(), Form: page.NewForm()}
}

func exportShow(v *visit) error {
	x, err := v.api.Export(v.ctx, v.brand, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.show("export", v.exportPage(x))
}

func exportDecide(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	act := map[string]func(context.Context, string, string) (*api.Export, error){
		"approve": v.api.ApproveExport, "refuse": v.api.RefuseExport, "stop": v.api.StopExport,
	}[f.Get("verb")]
	if act == nil {
		return errVerb()
	}
	id := v.r.PathValue("id")
	if _, err := act(ctx, v.brand, id); err != nil {
		now, again := v.api.Export(v.ctx, v.brand, id)
		if again != nil || !v.place(f, err, nil) {
			return err
		}
		p := v.exportPage(now)
		p.Form = f
		return v.wrong("export", p)
	}
	return v.to(v.at("exports", id))
}
