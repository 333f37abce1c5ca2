package detect

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/record"
)

// The simulation is a brand at work: store associates on rotas with swapped shifts and
// customers that come in clumps, service agents, the shop's application around the
// clock, and a campaign every Thursday that everybody feels the day after. Numbers are
// heavy-tailed: a person's day, a store's day and an hour each multiply the mean, and
// one hour in two hundred is an event. It is seeded, and its counts are the same at
// every run.

const simBegin = 1_767_571_200 // Monday 2026-01-05 00:00 UTC

type worker struct {
	id     uint64
	role   string
	kind   string // associate, agent, application, campaign
	rate   float64
	start  int // of a shift
	rest   int // first of two days off
	theft  func(day, hour int, usual float64) int
	walkAt func() (record.Ordinal, bool)
	rng    *rand.Rand
	today  float64
	off    bool
	own    []record.Ordinal // customers it meets again
}

type simulation struct {
	customers int
	workers   []*worker
	rng       *rand.Rand
	index     uint64
	newest    record.Ordinal
}

func newSimulation(seed uint64, associates, agents, applications, campaigns, customers int) *simulation {
	s := &simulation{customers: customers, rng: rand.New(rand.NewPCG(seed, 1)), newest: record.Ordinal(customers)}
	add := func(kind, role string, n int, rate, spread float64) {
		for range n {
			id := uint64(len(s.workers) + 1)
			w := &worker{id: id, kind: kind, role: role, rng: rand.New(rand.NewPCG(seed, id+100))}
			w.rate = rate * math.Exp(spread*w.rng.NormFloat64())
			w.start = 9 + 3*w.rng.IntN(2)
			w.rest = w.rng.IntN(7)
			s.workers = append(s.workers, w)
		}
	}
	add("associate", access.SupportAgent, associates, 3, 0.5)
	add("agent", "service-agent", agents, 12, 0.3)
	add("application", access.Application, applications, 150, 0.2)
	add("campaign", access.Marketing, campaigns, 1, 0)
	return s
}

func poisson(r *rand.Rand, mean float64) int {
	if mean > 60 {
		return max(0, int(mean+math.Sqrt(mean)*r.NormFloat64()+0.5))
	}
	n, p, limit := 0, 1.0, math.Exp(-mean)
	for p *= r.Float64(); p > limit; p *= r.Float64() {
		n++
	}
	return n
}

// clumped is a count with mean m that is wider than Poisson.
func clumped(r *rand.Rand, m float64) int {
	g := 0.0 // gamma with shape 3
	for range 3 {
		g -= math.Log(1 - r.Float64())
	}
	return poisson(r, m*g/3)
}

func (s *simulation) pick(w *worker) record.Ordinal {
	if len(w.own) > 20 && w.rng.Float64() < 0.3 {
		return w.own[w.rng.IntN(len(w.own))]
	}
	o := record.Ordinal(1 + w.rng.IntN(int(s.newest)))
	if len(w.own) < 200 {
		w.own = append(w.own, o)
	}
	return o
}

type event struct {
	at   int64
	e    *entry.Entry
	ords []record.Ordinal
}

// run feeds days of entries to fn, in the order of the log.
func (s *simulation) run(days int, fn func(index uint64, e *entry.Entry, ords []record.Ordinal)) {
	for day := range days {
		store := math.Exp(0.2*s.rng.NormFloat64() - 0.02)
		dow := day % 7
		for _, w := range s.workers {
			w.today = math.Exp(0.35*w.rng.NormFloat64() - 0.06)
			w.off = dow == w.rest || dow == (w.rest+1)%7
			if w.rng.Float64() < 0.1 { // a swapped shift
				w.off = !w.off
			}
		}
		for hour := range 24 {
			var events []event
			for _, w := range s.workers {
				events = append(events, s.hour(w, day, dow, hour, store)...)
			}
			slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
			for _, ev := range events {
				ev.e.At = time.Unix(simBegin+ev.at, 0).UTC()
				fn(s.index, ev.e, ev.ords)
				s.index++
			}
		}
	}
}

func (s *simulation) hour(w *worker, day, dow, hour int, store float64) []event {
	r := w.rng
	base := int64(day)*86400 + int64(hour)*3600
	var out []event
	emit := func(kind entry.Kind, purpose, level string, fields record.FieldSet, ords ...record.Ordinal) {
		slices.Sort(ords)
		ords = slices.Compact(ords)
		e := &entry.Entry{Kind: kind, Brand: 1, Principal: w.id, Credential: w.id, Lineage: w.id, Role: w.role, Purpose: purpose,
			Class: level, Level: level, Fields: fields, Count: entry.Bucket(len(ords))}
		out = append(out, event{base + int64(r.IntN(3600)), e, ords})
	}
	contact := record.Fields(record.GivenName, record.Email, record.Phone)
	mean := 0.0
	after := dow == 4 // the day after the campaign
	shift := hour >= w.start && hour < w.start+8
	switch w.kind {
	case "associate":
		if !w.off && shift {
			mean = w.rate * w.today * store * (0.6 + 0.8*math.Abs(math.Sin(float64(hour))))
			if dow == 5 {
				mean *= 1.6
			}
			if after {
				mean *= 1.2
			}
		}
	case "agent":
		if dow < 5 && !w.off && shift {
			mean = w.rate * (0.5 + 0.5*w.today) * store
			if after {
				mean *= 1.8
			}
		}
	case "application":
		mean = w.rate * store * (0.3 + math.Pow(math.Sin(math.Pi*float64(hour)/24), 2))
		if dow == 3 && hour >= 17 {
			mean *= 3
		}
	case "campaign":
		if dow == 3 && hour == 10 {
			for batch := range 10 {
				var ords []record.Ordinal
				o := record.Ordinal(1 + batch*s.customers/10)
				for range 1000 {
					o += record.Ordinal(1 + r.IntN(10))
					ords = append(ords, min(o, s.newest))
				}
				emit(entry.KindDisclosure, "marketing", "masked", contact, ords...)
			}
		}
		return out
	}
	n := 0
	if mean > 0 {
		if r.Float64() < 0.005 { // a private viewing, a recall, a strike of parcels
			mean *= 4
		}
		n = clumped(r, mean)
	}
	for range n {
		switch {
		case w.kind == "application" && r.Float64() < 0.2: // somebody new
			s.newest++
			emit(entry.KindWrite, "", "", record.AllFields, s.newest)
			emit(entry.KindDisclosure, "order-fulfilment", "clear", contact, s.newest)
		case w.kind == "application":
			emit(entry.KindDisclosure, "order-fulfilment", "clear", contact, s.pick(w))
		case r.Float64() < 0.3:
			emit(entry.KindSearch, "customer-support", "masked", record.AllFields, s.pick(w))
		default:
			emit(entry.KindDisclosure, "customer-support", "clear", contact, s.pick(w))
		}
	}
	if r.Float64() < 0.002 && mean > 0 {
		e := &entry.Entry{Kind: entry.KindRefusal, Brand: 1, Principal: w.id, Credential: w.id, Lineage: w.id, Role: w.role,
			Detail: map[string]string{"action": "clear", "reason": "policy-denied", "times": "3"}}
		out = append(out, event{base + int64(r.IntN(3600)), e, nil})
	}
	if w.theft != nil {
		for range w.theft(day, hour, mean) {
			o := record.Ordinal(1 + r.IntN(s.customers))
			if w.walkAt != nil {
				if next, ok := w.walkAt(); ok {
					o = next
				}
			}
			emit(entry.KindDisclosure, "customer-support", "clear", contact, o)
		}
	}
	return out
}
