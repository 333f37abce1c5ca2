package canary

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	sealed "github.com/cloakroom/cloakroom/internal/vault/seal"
)

// order is what a brand wants of canaries with its imports.
type order struct {
	style
	Rate    float64 `json:"rate,omitempty"`    // which share of all customers they are to be
	Waiting int     `json:"waiting,omitempty"` // how many are owed beside, to customers who are there, and to those of small imports
	Share   float64 `json:"share,omitempty"`   // which share of all they are, as far as is known
}

const (
	// mixLeast is how many customers an import has to make for canaries to go in among them
	// by the rate. What it owes smaller ones is noted, and waits.
	mixLeast = 20
	// mixFew is how many it has to make for one that waits to go in, now and then: of three
	// in an entry where two are usual, one is easily found.
	mixFew = 5
	// mixMost is which share of an import's customers the canaries that wait are at most,
	// beyond those of the rate: a heap of them would stand out.
	mixMost = 0.02
	// learnAlone is how many customers one import has to bring for canaries to be made after
	// it alone; canaries among fewer are made after several imports.
	learnAlone = 200
	// learnSome is of how many of an import's customers is learned.
	learnSome = 400
)

// mixer is what a server knows of a brand's imports. All of it may be forgotten.
type mixer struct {
	mu     sync.Mutex
	recent *invent.Likeness // of small imports
	before *invent.Likeness // the one before it, while recent is of few
	owed   float64          // what rounding left over; 0 on average, so that a restart loses nothing
}

func (s *Store) mixer(brand record.BrandID) *mixer {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mixers[brand]
	if m == nil {
		m = &mixer{recent: invent.NewLikeness()}
		s.mixers[brand] = m
	}
	return m
}

// learn returns what canaries among these customers are to be like, and nil while too
// little is known.
func (m *mixer) learn(puts []sealed.Put) *invent.Likeness {
	like := m.recent
	alone := len(puts) >= learnAlone
	if alone {
		like = invent.NewLikeness()
	} else if like.Full() {
		m.before, m.recent = like, invent.NewLikeness()
		like = m.recent
	}
	step := max(1, len(puts)/learnSome)
	for i := range puts {
		if id := puts[i].Customer.Get(record.ExternalID); id != "" {
			like.Number(id)
		}
		if i%step == 0 && puts[i].Ord == 0 {
			like.Learn(&puts[i].Customer, puts[i].Purchases)
		}
	}
	if like.Seen() < learnedLeast && m.before != nil {
		return m.before
	}
	if like.Seen() < learnedLeast {
		return nil
	}
	return like
}

// Mix implements intake.Canaries. Of an import without purchases the canaries have none.
func (s *Store) Mix(ctx context.Context, brand record.BrandID, puts []sealed.Put) (*sealed.Among, func(context.Context, []record.Ordinal) error, error) {
	if err := s.Refresh(ctx, brand); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	have := s.sets[brand]
	s.mu.RUnlock()
	if have.order == nil || have.order.Rate == 0 && have.order.Waiting == 0 {
		return nil, nil, nil
	}
	o := *have.order
	m := s.mixer(brand)
	m.mu.Lock()
	defer m.mu.Unlock()
	like := m.learn(puts)
	each := o.Rate / (1 - o.Rate) // canaries for each customer
	waiting := func(fresh int) int { return min(o.Waiting, int(math.Ceil(mixMost*float64(fresh)))) }
	most := 0
	among := &sealed.Among{Draw: s.Draw}
	few := len(puts) < mixLeast
	// Of those that wait one goes in with a small import as often as its share allows.
	lot := 1.0
	if few && o.Waiting > 0 && like != nil {
		lot = s.chance()
	}
	seldom := func(fresh int) bool { return fresh >= mixFew && lot < (each+mixMost)*float64(fresh) }
	if like != nil && (!few || seldom(len(puts))) {
		due := each*float64(len(puts)) + max(0, m.owed)
		most = int(math.Ceil(min(due, (each+mixMost)*float64(len(puts))))) + 1 + waiting(len(puts))
		if few {
			most = 1
		}
		most = max(0, min(most, maxListed-len(have.list), intake.MaxChunk-len(puts)))
		names := used(have.list)
		for i := range puts {
			if id, err := record.NormalExternalID(puts[i].Customer.Get(record.ExternalID)); err == nil {
				names[id] = true
			}
		}
		var err error
		if among.Puts, err = o.invent(like, most, names, random); err != nil && !errors.Is(err, ErrRequest) {
			return nil, nil, err
		}
		most = len(among.Puts)
	}
	taken, of, waited, owing := 0, -1, 0, 0
	among.Take = func(fresh int) int {
		if of >= 0 { // the import is prepared anew
			return min(taken, fresh)
		}
		of = fresh
		m.mu.Lock()
		defer m.mu.Unlock()
		if fresh < mixLeast || most == 0 {
			// Rounded at random: so no server has to remember the rest.
			if fresh > 0 && each > 0 {
				owing = int(math.Floor(each*float64(fresh) + s.chance()))
			}
			if few && most > 0 && seldom(fresh) {
				waited = 1
			}
			taken = waited
			return taken
		}
		due := m.owed + each*float64(fresh)
		regular := int(math.Floor(min(due, (each+mixMost)*float64(fresh)) + s.chance()))
		regular = min(max(regular, 0), most)
		m.owed = due - float64(regular)
		waited = min(waiting(fresh), most-regular)
		taken = regular + waited
		return taken
	}
	var told []record.Ordinal
	return among, func(ctx context.Context, ords []record.Ordinal) error {
		var mixed []Canary
		for i, ord := range ords {
			if ord != 0 {
				mixed = append(mixed, canaryOf(ord, &among.Puts[i]))
			}
		}
		if len(mixed)+len(told)+owing == 0 {
			return nil
		}
		before, fewer := told, waited-owing
		told, waited, owing = nil, 0, 0
		for _, d := range mixed {
			told = append(told, d.Ord)
		}
		return neutral(s.change(ctx, brand, time.Time{}, func(st *state) error {
			retire(st.Canaries, before)
			st.Canaries = append(st.Canaries, mixed...)
			if st.Order != nil {
				st.Order.Waiting = max(0, st.Order.Waiting-fewer)
			}
			return nil
		}))
	}, nil
}

// Buy implements intake.Canaries: as large a share of an import's buyers as canaries are of
// all customers. Those who never bought come first, since most customers did.
func (s *Store) Buy(ctx context.Context, brand record.BrandID, appends []sealed.Append) ([]sealed.Append, func(context.Context) error, error) {
	if len(appends) < mixLeast {
		return nil, nil, nil
	}
	if err := s.Refresh(ctx, brand); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	have := s.sets[brand]
	s.mu.RUnlock()
	if have.order == nil {
		return nil, nil, nil
	}
	all := live(have.list)
	share := max(have.order.Rate, have.order.Share)
	n := min(len(all), int(math.Floor(share/(1-share)*float64(len(appends))+s.chance())))
	if n == 0 {
		return nil, nil, nil
	}
	like := invent.NewLikeness()
	for i := 0; i < len(appends); i += max(1, len(appends)/learnSome) {
		like.LearnPurchases(appends[i].ExternalID, appends[i].Purchases)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b Canary) int { return min(a.Had, 1) - min(b.Had, 1) })
	v := have.order.inventor(like)
	var out []sealed.Append
	more := map[record.Ordinal]int{}
	for _, d := range all[:n] {
		if bought := v.More(random(), d.ExternalID, d.Country, d.Had); len(bought) > 0 {
			out = append(out, sealed.Append{Ord: d.Ord, Purchases: bought})
			more[d.Ord] = len(bought)
		}
	}
	if len(out) == 0 {
		return nil, nil, nil
	}
	return out, func(ctx context.Context) error {
		return neutral(s.change(ctx, brand, time.Time{}, func(st *state) error {
			for i := range st.Canaries {
				st.Canaries[i].Had += more[st.Canaries[i].Ord]
			}
			return nil
		}))
	}, nil
}

// chance draws from 0 to below 1.
func (s *Store) chance() float64 {
	if s.Draw == nil {
		return rand.Float64()
	}
	const fine = 1 << 30
	return float64(s.Draw(fine)) / fine
}

// neutral is an error as a caller may see it who must not know of canaries.
func neutral(err error) error {
	if errors.Is(err, ErrRequest) {
		return sealed.ErrConflict
	}
	return err
}

// Giving implements intake.Canaries.
func (s *Store) Giving(ctx context.Context, brand record.BrandID, ords []record.Ordinal) (map[record.Ordinal]bool, error) {
	if err := s.Refresh(ctx, brand); err != nil {
		return nil, err
	}
	s.mu.RLock()
	have := s.sets[brand]
	s.mu.RUnlock()
	way := map[record.Ordinal]bool{}
	for _, ord := range ords {
		if i, is := have.ords[ord]; is && !have.list[i].Retired {
			way[ord] = true
		}
	}
	return way, nil
}

// GiveWay implements intake.Canaries. The list has the new numbers first: what is planted
// after it may name nobody, and never a customer.
func (s *Store) GiveWay(ctx context.Context, brand record.BrandID, ords []record.Ordinal) ([]sealed.Put, error) {
	way, err := s.Giving(ctx, brand, ords)
	if err != nil || len(way) == 0 {
		return nil, err
	}
	var out []sealed.Put
	err = s.change(ctx, brand, time.Time{}, func(st *state) error {
		out = out[:0]
		names := used(st.Canaries)
		for i := range st.Canaries {
			d := &st.Canaries[i]
			if !way[d.Ord] || d.Retired {
				continue
			}
			id, err := another(d.ExternalID, names)
			if err != nil {
				return err
			}
			d.ExternalID = id
			p := sealed.Put{Ord: d.Ord, Set: record.Fields(record.ExternalID)}
			p.Customer.Set(record.ExternalID, id)
			out = append(out, p)
		}
		return nil
	})
	return out, neutral(err)
}

// another draws a number that no canary has.
func another(id string, names map[string]bool) (string, error) {
	r := rand.New(rand.NewPCG(random(), random()))
	for range tries {
		next := invent.Renumber(r, id)
		if n, err := record.NormalExternalID(next); err == nil && !names[n] {
			names[n] = true
			return next, nil
		}
	}
	return "", fmt.Errorf("drawing another number: %w", sealed.ErrConflict)
}
