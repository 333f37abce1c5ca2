package drill

import (
	"context"
	"fmt"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
)

// Responder is how fast people act on an alarm, in seconds. Alarms of severity high or
// critical page somebody at any hour; medium ones are read in office hours; low ones
// page nobody. Who is paged can tell a theft from a false alarm, which costs them time
// and the honest nothing.
type Responder struct {
	Acknowledge int64 `json:"acknowledge_s"`    // from the page to somebody at a desk
	Reset       int64 `json:"reset_s"`          // from there to the reset of the password
	Look        int64 `json:"look_s"`           // from there until they see that it goes on
	Reading     int64 `json:"office_reading_s"` // from the opening of the office to a medium alarm
	Opens       int   `json:"office_opens_h"`   // UTC, Monday to Friday
	Closes      int   `json:"office_closes_h"`
}

func responderNow() Responder {
	return Responder{Acknowledge: 10 * 60, Reset: 15 * 60, Look: 15 * 60, Reading: 60 * 60, Opens: 9, Closes: 18}
}

// pages reports whether somebody hears of an alarm without looking for it.
func pages(a *api.Alarm) bool { return !a.Repeat && a.Severity != "low" }

// heard is when somebody sits down to an alarm.
func (r *Responder) heard(a *api.Alarm, at int64) int64 {
	if a.Severity != "medium" {
		return at + r.Acknowledge
	}
	day, hour := at/work.Day, int(at%work.Day/work.Hour)
	switch {
	case day%7 < 5 && hour >= r.Opens && hour < r.Closes:
		return at + r.Reading
	case hour >= r.Opens:
		day++
	}
	for day%7 >= 5 {
		day++
	}
	return day*work.Day + int64(r.Opens)*work.Hour + r.Reading
}

// lookEvery is how often the drill shows the responder what the watcher said: less than
// the least time in which anybody acts.
const lookEvery = 5 * 60

// look reads the alarms that are new.
func (r *raid) look(ctx context.Context, now int64) error {
	list, err := r.h.alarms(ctx, r.h.as(r.responder().key), r.next)
	if err != nil {
		return err
	}
	for i := range list {
		a := &list[i]
		r.next = max(r.next, a.Entry+1)
		at := a.At.Unix() - work.Begin
		guilty := r.guilty(a, now)
		if len(guilty) == 0 {
			r.out.Bystanders.Alarms++
			if pages(a) {
				r.out.Bystanders.Pages++
			}
			continue
		}
		if r.out.FirstSignal == nil {
			r.out.FirstSignal = &Signal{After: at - r.began, Rule: a.Rule, Severity: a.Severity, Usual: a.Usual, Seen: a.Seen, Lost: r.lostBy(at)}
		}
		if !pages(a) || r.off(Detection) && a.Rule != "canary" {
			continue
		}
		if r.out.PagedAfter == nil {
			after := at - r.began
			r.out.PagedAfter = &after
		}
		if a.Rule == "peers" || a.Rule == "crowd" {
			// Who is meant is looked up at the desk.
			r.line.put(max(now, r.c.responder.heard(a, at)), func(_ context.Context, at int64) error {
				r.answer(r.guilty(a, at), a, at+r.c.responder.Reset)
				return nil
			})
			continue
		}
		r.answer(guilty, a, max(now, r.c.responder.heard(a, at)+r.c.responder.Reset))
	}
	return nil
}

// answer has the passwords of thieves reset, of whom somebody is not at already.
func (r *raid) answer(guilty []*thief, a *api.Alarm, when int64) {
	for _, t := range guilty {
		if t.answer != 0 && t.answer <= when {
			continue
		}
		t.answer, t.alarm = when, a.ID
		r.line.put(when, func(ctx context.Context, at int64) error { return r.reset(ctx, t, at) })
	}
}

// guilty returns the thieves whom an alarm leads to. One about a whole role leads to
// those of it that have alarms of their own; one about a crowd at its budgets to those
// of it whom a budget refused since midnight, as the log says.
func (r *raid) guilty(a *api.Alarm, now int64) (out []*thief) {
	for _, t := range r.thieves {
		switch {
		case a.Rule == "peers":
			if t.p.role == a.Role && t.alarmed {
				out = append(out, t)
			}
		case a.Rule == "crowd":
			if t.p.role == a.Role && t.full >= now-now%work.Day && t.full > 0 {
				out = append(out, t)
			}
		case t.p.principal == a.Principal:
			t.alarmed = true
			out = append(out, t)
		}
	}
	return out
}

// reset replaces the password, as one does, and looks whether that was enough.
func (r *raid) reset(ctx context.Context, t *thief, at int64) error {
	if t.reset || t.contained {
		return nil
	}
	r.h.clock.reach(at)
	var fresh api.Credential
	if err := r.h.admin.Do(ctx, http.MethodPost, client.Path("credentials", fmt.Sprint(t.p.credential), "renew"), nil, &fresh); err != nil {
		return fmt.Errorf("resetting a password: %w", err)
	}
	t.reset, t.tries = true, 0
	t.p.key, t.p.credential = fresh.Key, fresh.ID // the owner has the new one
	if r.out.ResetAfter == nil {
		after := at - r.began
		r.out.ResetAfter, r.out.LostAtReset = &after, r.lost
	}
	var again func(ctx context.Context, at int64) error
	again = func(ctx context.Context, at int64) error {
		switch {
		case t.gone && t.tries == 0: // the stolen key was all there was
			return nil
		case t.tries == 0:
			r.line.put(at+r.c.responder.Look, again)
			return nil
		}
		return r.contain(ctx, t, at)
	}
	r.line.put(at+r.c.responder.Look, again)
	return nil
}

// contain stops a credential and all that was made through it; of an insider, who has
// their password, all of their credentials.
func (r *raid) contain(ctx context.Context, t *thief, at int64) error {
	r.h.clock.reach(at)
	req := api.ContainRequest{Lineage: t.p.credential, Alarm: t.alarm}
	if t.insider {
		req = api.ContainRequest{Principal: t.p.name, Alarm: t.alarm}
	}
	if err := r.h.as(r.responder().key).Do(ctx, http.MethodPost, client.Path("brands", brand, "containments"), req, nil); err != nil {
		return fmt.Errorf("containing: %w", err)
	}
	t.contained = true
	after := at - r.began
	r.out.Contained = &after // of several the last
	return nil
}
