// Package work invents what a brand's people and services do all day: store associates
// on rotas with swapped shifts and customers that come in clumps, service agents, the
// shop's application around the clock, and a letter every Thursday that everybody feels
// the day after.
//
// Numbers are heavy-tailed: a person's day, a store's day and an hour each multiply the
// mean, and one hour in two hundred is an event. Everything is drawn from the seed, so
// that equal places have equal days. There is one such model: detection is measured
// against it, and the drill works by it.
package work

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Begin is when the first day begins: Monday 2026-01-05, 00:00 UTC.
const Begin = 1_767_571_200

const (
	// Day and Hour are in seconds.
	Day  = 86400
	Hour = 3600
)

// Kind is what somebody is employed as.
type Kind string

// The kinds.
const (
	Associate   Kind = "associate"   // of a store
	Agent       Kind = "agent"       // of the customer service
	Application Kind = "application" // the shop
	Campaign    Kind = "campaign"    // sends the letter of the week
)

// Rates are the customers in an ordinary hour of work of one of each kind.
const (
	associateRate   = 3
	agentRate       = 12
	applicationRate = 150
)

// Staff is how many of each kind there are.
type Staff struct {
	Associates, Agents, Applications, Campaigns int
	// Letter is how many customers one campaign of a week writes to, in ten batches.
	Letter int
}

// Worker is one person or service.
type Worker struct {
	ID   uint64 // from 1, in the order of kinds
	Kind Kind
	Rate float64 // customers in an ordinary hour
	// Start is the first hour of a shift of eight, UTC; Rest the first of two days off.
	Start, Rest int
	// Extra, if set, is how many customers this worker takes beside the work in an hour,
	// told how many are usual for it.
	Extra func(day, hour int, usual float64) int
	// Rand is what the worker's days are drawn from.
	Rand *rand.Rand

	today float64
	off   bool
	own   []uint32 // customers it meets again
}

// Act is what is done with customers.
type Act uint8

// The acts.
const (
	Search Act = iota // find one by a value
	Reveal            // see one in clear
	Fulfil            // the shop needs one for an order
	Join              // somebody new is written
	Send              // customers of a letter
	Denied            // something is asked for that the role may not
	Extra             // see one in clear beside the work
)

// Event is one thing done.
type Event struct {
	At        int64 // seconds since Begin
	By        *Worker
	Act       Act
	Customers []uint32 // numbers from 1, sorted, each once
}

// Place is a brand at work.
type Place struct {
	Workers []*Worker
	staff   Staff
	began   int // customers
	newest  uint32
	rng     *rand.Rand
}

// New returns a brand with so many customers and its staff.
func New(seed uint64, staff Staff, customers int) *Place {
	p := &Place{staff: staff, began: customers, newest: uint32(customers), rng: rand.New(rand.NewPCG(seed, 1))}
	add := func(kind Kind, n int, rate, spread float64) {
		for range n {
			id := uint64(len(p.Workers) + 1)
			w := &Worker{ID: id, Kind: kind, Rand: rand.New(rand.NewPCG(seed, id+100))}
			w.Rate = rate * math.Exp(spread*w.Rand.NormFloat64())
			w.Start = 9 + 3*w.Rand.IntN(2)
			w.Rest = w.Rand.IntN(7)
			p.Workers = append(p.Workers, w)
		}
	}
	add(Associate, staff.Associates, associateRate, 0.5)
	add(Agent, staff.Agents, agentRate, 0.3)
	add(Application, staff.Applications, applicationRate, 0.2)
	add(Campaign, staff.Campaigns, 1, 0)
	return p
}

// Poisson draws a count with a mean.
func Poisson(r *rand.Rand, mean float64) int {
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
	return Poisson(r, m*g/3)
}

func (p *Place) pick(w *Worker) uint32 {
	if len(w.own) > 20 && w.Rand.Float64() < 0.3 {
		return w.own[w.Rand.IntN(len(w.own))]
	}
	n := uint32(1 + w.Rand.IntN(int(p.newest)))
	if len(w.own) < 200 {
		w.own = append(w.own, n)
	}
	return n
}

// Hours calls fn with what is done in each hour of the days before the given one, in
// order. It goes on from where the place was before: a place is worked once.
func (p *Place) Hours(from, days int, fn func(day, hour int, events []Event) error) error {
	for day := from; day < days; day++ {
		store := math.Exp(0.2*p.rng.NormFloat64() - 0.02)
		dow := day % 7
		for _, w := range p.Workers {
			w.today = math.Exp(0.35*w.Rand.NormFloat64() - 0.06)
			w.off = dow == w.Rest || dow == (w.Rest+1)%7
			if w.Rand.Float64() < 0.1 { // a swapped shift
				w.off = !w.off
			}
		}
		for hour := range 24 {
			var events []Event
			for _, w := range p.Workers {
				events = p.hour(events, w, day, hour, store)
			}
			slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
			if err := fn(day, hour, events); err != nil {
				return err
			}
		}
	}
	return nil
}

// mean is how many customers a worker is expected to have in an hour.
func (p *Place) mean(w *Worker, dow, hour int, store float64) float64 {
	after := dow == 4 // the day after the letter
	shift := hour >= w.Start && hour < w.Start+8
	mean := 0.0
	switch w.Kind {
	case Associate:
		if !w.off && shift {
			mean = w.Rate * w.today * store * (0.6 + 0.8*math.Abs(math.Sin(float64(hour))))
			if dow == 5 {
				mean *= 1.6
			}
			if after {
				mean *= 1.2
			}
		}
	case Agent:
		if dow < 5 && !w.off && shift {
			mean = w.Rate * (0.5 + 0.5*w.today) * store
			if after {
				mean *= 1.8
			}
		}
	case Application:
		mean = w.Rate * store * (0.3 + math.Pow(math.Sin(math.Pi*float64(hour)/24), 2))
		if dow == 3 && hour >= 17 {
			mean *= 3
		}
	}
	return mean
}

// batches is in how many requests a letter's customers are asked for.
const batches = 10

func (p *Place) hour(out []Event, w *Worker, day, hour int, store float64) []Event {
	r, dow := w.Rand, day%7
	base := int64(day)*Day + int64(hour)*Hour
	emit := func(act Act, customers ...uint32) {
		slices.Sort(customers)
		out = append(out, Event{base + int64(r.IntN(Hour)), w, act, slices.Compact(customers)})
	}
	if w.Kind == Campaign {
		if dow == 3 && hour == 10 {
			size := p.staff.Letter / batches
			gap := max(1, p.began/batches/max(1, size)*2)
			for batch := range batches {
				var list []uint32
				n := uint32(1 + batch*p.began/batches)
				for range size {
					n += uint32(1 + r.IntN(gap))
					list = append(list, min(n, p.newest))
				}
				emit(Send, list...)
			}
		}
		return out
	}
	mean := p.mean(w, dow, hour, store)
	n := 0
	if mean > 0 {
		if r.Float64() < 0.005 { // a private viewing, a recall, a strike of parcels
			mean *= 4
		}
		n = clumped(r, mean)
	}
	for range n {
		switch {
		case w.Kind == Application && r.Float64() < 0.2: // somebody new
			p.newest++
			emit(Join, p.newest)
			joined := out[len(out)-1].At
			emit(Fulfil, p.newest)
			last := &out[len(out)-1]
			last.At = max(last.At, joined+1)
		case w.Kind == Application:
			emit(Fulfil, p.pick(w))
		case r.Float64() < 0.3:
			emit(Search, p.pick(w))
		default:
			emit(Reveal, p.pick(w))
		}
	}
	if r.Float64() < 0.002 && mean > 0 {
		out = append(out, Event{At: base + int64(r.IntN(Hour)), By: w, Act: Denied})
	}
	if w.Extra != nil {
		for range w.Extra(day, hour, mean) {
			emit(Extra, uint32(1+r.IntN(p.began)))
		}
	}
	return out
}
