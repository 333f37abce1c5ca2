package console

import (
	"net/http"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

func (c *Console) containPages(mux *http.ServeMux) {
	c.handle(mux, "GET /b/{brand}/contain", func(v *visit) error { return v.to(v.at("watch")) })
	c.handle(mux, "POST /b/{brand}/contain", containAsk)
	c.handle(mux, "POST /b/{brand}/contain/now", containNow)
	c.handle(mux, "GET /b/{brand}/contain/now", func(v *visit) error { return v.to(v.at("watch")) })
	c.handle(mux, "GET /b/{brand}/containments", containmentList)
	c.handle(mux, "GET /b/{brand}/containments/{id}", containmentShow)
	c.handle(mux, "POST /b/{brand}/containments/{id}", containmentAct)
}

// Length is for how long a containment may hold.
type Length struct {
	Seconds int64
	Text    string
}

func (v *visit) lengths() []Length {
	return []Length{{0, v.Say("until it is undone")}, {3600, v.Say("1 hour")}, {8 * 3600, v.Say("8 hours")}, {24 * 3600, v.Say("1 day")}}
}

// containPage asks the question before something is stopped.
type containPage struct {
	Frame
	Impact  *api.Containment
	Form    *page.Form
	What    string
	Lengths []Length
	Once    string
}

// target reads what a form wants to stop: a principal by name, a lineage, or the brand.
func target(v *visit, f *page.Form) (api.ContainRequest, error) {
	req := api.ContainRequest{Alarm: f.Get("alarm"), Ticket: f.Get("ticket"), ForSeconds: int64(number(f.Get("for")))}
	switch f.Get("what") {
	case "lineage":
		req.Lineage = number(f.Get("lineage"))
	case "principal":
		req.Principal = f.Get("principal")
	case "brand":
		req.Brand = true
	case "exports":
		req.AllExports = true
	default:
		return req, errVerb()
	}
	return req, nil
}

func containAsk(v *visit) error {
	f, _, err := v.form()
	if err != nil {
		return err
	}
	return v.containQuestion(f)
}

// containQuestion shows what would stop, and asks.
func (v *visit) containQuestion(f *page.Form) error {
	req, err := target(v, f)
	if err != nil {
		return err
	}
	dry := req
	dry.DryRun, dry.ForSeconds, dry.Ticket = true, 0, ""
	impact, err := v.api.Contain(v.ctx, v.brand, dry)
	if err != nil {
		return err
	}
	p := &containPage{Frame: v.frame("watch", v.Say("Contain")), Impact: impact, Form: f, What: f.Get("what"), Lengths: v.lengths(), Once: once()}
	switch {
	case req.Lineage != 0:
		p.Commands = []string{"cloakroom contain --brand " + v.brand + " --lineage " + strconv.FormatUint(req.Lineage, 10)}
	case req.Principal != "":
		p.Commands = []string{"cloakroom contain --brand " + v.brand + " --principal NAME"}
	case req.Brand:
		p.Commands = []string{"cloakroom contain --brand " + v.brand + " --whole-brand"}
	default:
		p.Commands = []string{"cloakroom contain --brand " + v.brand + " --all-exports"}
	}
	if !f.OK() {
		return v.wrong("contain", p)
	}
	return v.show("contain", p)
}

func containNow(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	req, err := target(v, f)
	if err != nil {
		return err
	}
	x, err := v.api.Contain(ctx, v.brand, req)
	if err != nil {
		// What was done in part, or may have been done, is no fault of the form: the error's
		// page says what holds.
		if !ofType(err, api.TypeInvalid, api.TypeConflict) || !v.place(f, err, map[string]string{"ticket": "ticket", "for_seconds": "for"}) {
			return err
		}
		return v.containQuestion(f)
	}
	return v.to(v.at("containments", strconv.FormatInt(x.ID, 10)))
}

type containmentsPage struct {
	Frame
	List []api.Containment
	More bool
}

func containmentList(v *visit) error {
	list, err := v.api.Containments(v.ctx, v.brand)
	if err != nil {
		return err
	}
	p := &containmentsPage{Frame: v.frame("watch", v.Say("Containments"), "cloakroom contain list --brand "+v.brand), List: list}
	if p.More = len(list) > 200; p.More {
		p.List = list[:200]
	}
	return v.show("containments", p)
}

type containmentPage struct {
	Frame
	*api.Containment
	Asker, Alone bool // the viewer asked for the undo; the viewer may undo alone, as things seem
	Took         time.Duration
	Form         *page.Form
	Once         string
}

func (v *visit) containmentPage(x *api.Containment) *containmentPage {
	n := strconv.FormatInt(x.ID, 10)
	return &containmentPage{Frame: v.frame("watch", v.Say("Containment"), "cloakroom contain show --brand "+v.brand+" "+n, "cloakroom contain undo --brand "+v.brand+" "+n, "cloakroom contain confirm --brand "+v.brand+" "+n),
		Containment: x, Asker: x.AskedBy == v.me.Name, Alone: x.By == v.me.Name, Took: time.Duration(x.TookMillis) * time.Millisecond, Form: page.NewForm(), Once: once()}
}

func containmentShow(v *visit) error {
	x, err := v.api.Containment(v.ctx, v.brand, int64(number(v.r.PathValue("id"))))
	if err != nil {
		return err
	}
	return v.show("containment", v.containmentPage(x))
}

func containmentAct(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	id := int64(number(v.r.PathValue("id")))
	switch f.Get("verb") {
	case "undo":
		_, err = v.api.UndoContainment(ctx, v.brand, id)
	case "confirm":
		_, err = v.api.ConfirmUndo(ctx, v.brand, id)
	default:
		return errVerb()
	}
	if err != nil {
		now, again := v.api.Containment(v.ctx, v.brand, id)
		if again != nil || !v.place(f, err, nil) {
			return err
		}
		p := v.containmentPage(now)
		p.Form = f
		return v.wrong("containment", p)
	}
	return v.to(v.at("containments", strconv.FormatInt(id, 10)))
}
