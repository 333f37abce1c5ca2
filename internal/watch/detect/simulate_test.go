package detect

import (
	"time"

	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

const simBegin = work.Begin

// simulation is a brand at work as the entries of its log.
type simulation struct {
	*work.Place
	index uint64
	// renew, if set, is after how many days everybody has a new credential; limits makes
	// budgets refuse people as the default budgets do, by the hour and day of the clock.
	renew  int64
	limits bool
	had    map[uint64]*had
}

// had is what somebody met in an hour and a day.
type had struct {
	hour, day     int64
	inHour, inDay map[record.Ordinal]bool
}

// refuses reports whether a budget refuses what an entry asks for.
func (s *simulation) refuses(by uint64, at time.Time, ords []record.Ordinal) bool {
	const hourly, daily = 40, 150
	h := s.had[by]
	if h == nil {
		h = &had{}
		s.had[by] = h
	}
	now := momentOf(at)
	if h.hour != now.hour {
		h.hour, h.inHour = now.hour, map[record.Ordinal]bool{}
	}
	if h.day != now.day {
		h.day, h.inDay = now.day, map[record.Ordinal]bool{}
	}
	for _, o := range ords {
		if !h.inHour[o] && len(h.inHour) >= hourly || !h.inDay[o] && len(h.inDay) >= daily {
			return true
		}
		h.inHour[o], h.inDay[o] = true, true
	}
	return false
}

func newSimulation(seed uint64, associates, agents, applications, campaigns, customers int) *simulation {
	staff := work.Staff{Associates: associates, Agents: agents, Applications: applications, Campaigns: campaigns, Letter: 10_000}
	return &simulation{had: map[uint64]*had{}, Place: work.New(seed, staff, customers)}
}

func roleOf(w *work.Worker) string {
	switch w.Kind {
	case work.Agent:
		return "service-agent"
	case work.Application:
		return access.Application
	case work.Campaign:
		return access.Marketing
	}
	return access.SupportAgent
}

type event struct {
	e    *entry.Entry
	ords []record.Ordinal
}

// run feeds days of entries to fn, in the order of the log.
func (s *simulation) run(days int, fn func(index uint64, e *entry.Entry, ords []record.Ordinal)) {
	s.Hours(0, days, func(_, _ int, events []work.Event) error {
		for _, ev := range events {
			e, ords := logged(ev)
			if s.renew > 0 {
				e.Credential = ev.By.ID + 1_000_000*uint64((ev.At/work.Day+int64(ev.By.ID)*7)/s.renew)
			}
			if s.limits && e.Kind == entry.KindDisclosure && (ev.By.Kind == work.Associate || ev.By.Kind == work.Agent) && s.refuses(ev.By.ID, e.At, ords) {
				e = &entry.Entry{Kind: entry.KindRefusal, At: e.At, Brand: 1, Principal: e.Principal, Credential: e.Credential, Lineage: e.Lineage, Role: e.Role,
					Detail: entry.Refused{Action: "clear", Reason: "budget-exhausted", Times: 1}}
				ords = nil
			}
			fn(s.index, e, ords)
			s.index++
		}
		return nil
	})
}

// logged is an event's entry.
func logged(ev work.Event) (*entry.Entry, []record.Ordinal) {
	var ords []record.Ordinal
	for _, n := range ev.Customers {
		ords = append(ords, record.Ordinal(n))
	}
	id := ev.By.ID
	e := &entry.Entry{Kind: entry.KindDisclosure, At: time.Unix(simBegin+ev.At, 0).UTC(), Brand: 1, Principal: id, Credential: id, Lineage: id,
		Role: roleOf(ev.By), Purpose: "customer-support", Class: "clear", Level: "clear",
		Fields: record.Fields(record.GivenName, record.Email, record.Phone), Count: entry.Bucket(len(ords))}
	switch ev.Act {
	case work.Send:
		e.Purpose, e.Class, e.Level = "marketing", "masked", "masked"
	case work.Join:
		e.Kind, e.Purpose, e.Class, e.Level, e.Fields = entry.KindWrite, "", "", "", record.AllFields
	case work.Fulfil:
		e.Purpose = "order-fulfilment"
	case work.Search:
		e.Kind, e.Class, e.Level, e.Fields = entry.KindSearch, "masked", "masked", record.AllFields
	case work.Denied:
		e = &entry.Entry{Kind: entry.KindRefusal, At: e.At, Brand: 1, Principal: id, Credential: id, Lineage: id, Role: e.Role,
			Detail: entry.Refused{Action: "clear", Reason: "policy-denied", Times: 3}}
	}
	return e, ords
}
