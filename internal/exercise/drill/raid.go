package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// thief is who holds a credential that is not theirs to use.
type thief struct {
	p       *person        // whose it is
	client  *client.Client // nil for an insider, who uses their own
	insider bool
	size    int   // customers that the next request asks for at most
	wait    int64 // until when a budget refuses
	gone    bool  // nothing works any more, or there is no more
	tries   int   // requests that the vault knew the sender of, since the reset
	full    int64 // when a budget refused last

	alarmed, reset, contained bool
	answer                    int64  // when the responder acts
	alarm                     string // on which alarm
}

// raid is one attack on a copy of the vault. One goroutine owns it.
type raid struct {
	c       *Config
	h       *house
	s       *state
	shop    *shop
	place   *work.Place
	line    timeline
	close   func() // ends the newcomers
	out     *RunResult
	began   int64
	next    uint64 // the entry from which on alarms are new
	logged  uint64 // the entry from which on it is the attack
	offs    []Defence
	thieves []*thief

	// The stolen list: numbers of customers, and beyond them canaries.
	list []uint32
	at   int
	// What was received, by the vault's numbers.
	received *roaring.Bitmap
	clear    []taken
	lost     int
	gained   *roaring.Bitmap // of customers, by the thief beside any work
}

// taken is one customer received in clear.
type taken struct {
	at  int64
	ord record.Ordinal
}

func (r *raid) off(d Defence) bool { return slices.Contains(r.offs, d) }

func (r *raid) responder() *person { return &r.shop.people[len(r.shop.people)-1] }

func (r *raid) workers(k work.Kind) (out []*work.Worker) {
	for _, w := range r.place.Workers {
		if w.Kind == k {
			out = append(out, w)
		}
	}
	return out
}

// shuffle makes the stolen list: of every customer at the end of the baseline period, and of
// the canaries among them; at random, or in the order in which they joined.
func (r *raid) shuffle(ctx context.Context, inOrder bool) error {
	customers := r.s.tokens.len()
	rng := rand.New(rand.NewPCG(r.c.Seed, 77))
	r.list = make([]uint32, customers, customers+len(r.s.canaries))
	for i := range r.list {
		r.list[i] = uint32(i)
	}
	if !r.off(Canaries) {
		for i := range r.s.canaries {
			r.list = append(r.list, uint32(customers+i))
		}
	}
	if !inOrder {
		rng.Shuffle(len(r.list), func(i, j int) { r.list[i], r.list[j] = r.list[j], r.list[i] })
		return nil
	}
	tokens := make([]string, len(r.list))
	for i := range tokens {
		tokens[i] = r.token(r.list[i])
	}
	ords, err := r.h.v.Disclose.Seal.Resolve(ctx, r.h.brand, tokens)
	if err != nil {
		return fmt.Errorf("reading the tokens of the list: %w", err)
	}
	slices.SortFunc(r.list, func(a, b uint32) int { return cmp.Compare(ords[a], ords[b]) })
	return nil
}

func (r *raid) token(n uint32) string {
	if customers := r.s.tokens.len(); int(n) >= customers {
		return r.s.canaries[int(n)-customers]
	}
	return r.s.tokens.at(int(n))
}

// stolen is the key of a worker in other hands.
func (r *raid) stolen(w *work.Worker) *thief {
	p := &r.shop.people[w.ID-1]
	t := &thief{p: p, client: r.h.abroad(p.key), size: api.MaxReveal}
	r.thieves = append(r.thieves, t)
	return t
}

// consent makes a connected app with an agent's key, as the agent is talked into doing.
func (r *raid) consent(ctx context.Context, w *work.Worker, label string, at int64) (*thief, error) {
	t := r.stolen(w)
	r.h.clock.reach(at)
	var app api.Credential
	if err := t.client.Do(ctx, http.MethodPost, "/v1/credentials", api.CredentialRequest{Label: label}, &app); err != nil {
		return nil, fmt.Errorf("connecting an app: %w", err)
	}
	t.client = r.h.abroad(app.Key)
	return t, nil
}

// loot is what a thief asks for.
func loot(role string) []string {
	if role == "support-agent" {
		return []string{"given_name", "family_name", "email", "phone", "street", "postal_code", "city", "country"}
	}
	return contact()
}

// backOff is how long a thief whom a budget refuses even one customer waits.
const backOff = 5 * 60

// take asks for up to n customers of the list. Where a budget refuses it asks for half,
// down to one, and then waits.
func (r *raid) take(ctx context.Context, t *thief, at int64, n int) error {
	for n > 0 && !t.gone && at >= t.wait {
		size := min(n, t.size, len(r.list)-r.at)
		if size <= 0 {
			t.gone = true
			return nil
		}
		req := api.RevealRequest{Fields: loot(t.p.role), Purpose: t.p.purpose, Tokens: make([]string, size)}
		for i := range req.Tokens {
			req.Tokens[i] = r.token(r.list[r.at+i])
		}
		r.h.clock.reach(at)
		r.out.Requests++
		out, err := t.client.Reveal(ctx, brand, req)
		switch {
		case isType(err, api.TypeUnauthenticated), isType(err, api.TypeContained):
			r.out.Requests--
			t.gone = true
			return nil
		case isType(err, api.TypeBudgetExhausted):
			t.tries++
			r.out.Refused++
			t.full = at
			if size == 1 {
				t.wait = at + backOff
				return nil
			}
			t.size = size / 2
		case err != nil:
			return fmt.Errorf("the thief: %w", err)
		default:
			t.tries++
			r.at += size
			n -= size
			t.size = min(api.MaxReveal, 2*t.size)
			if err := r.got(ctx, at, "clear", true, out.Customers); err != nil {
				return err
			}
		}
		at++
	}
	return nil
}

// got notes what left the vault, by the tokens of the answer.
func (r *raid) got(ctx context.Context, at int64, class string, theft bool, customers []api.Customer) error {
	if len(customers) == 0 {
		return nil
	}
	list := make([]string, len(customers))
	for i := range customers {
		list[i] = customers[i].Token
	}
	ords, err := r.h.v.Disclose.Seal.Resolve(ctx, r.h.brand, list)
	if err != nil {
		return fmt.Errorf("reading the tokens of an answer: %w", err)
	}
	for _, ord := range ords {
		r.received.Add(uint32(ord))
		if class == "clear" {
			r.clear = append(r.clear, taken{at, ord})
		}
		if !theft {
			continue
		}
		if r.s.decoys[ord] {
			r.out.CanariesMet++
		} else if r.gained.CheckedAdd(uint32(ord)) {
			r.lost++
		}
	}
	if theft {
		r.out.Series = append(r.out.Series, [2]int64{at - r.began, int64(r.lost)})
	}
	return nil
}

// attack plays one variant against one set of defences.
func attack(ctx context.Context, c *Config, s *state, v Variant, off []Defence) (_ *RunResult, err error) {
	dir := filepath.Join(c.Dir, "attack-"+v.Name+"-"+strings.ReplaceAll(Label(off), " ", "-"))
	dsn, err := s.copy(ctx, c, dir)
	defer func() {
		gone := context.WithoutCancel(ctx)
		if dsn != "" {
			err = errors.Join(err, c.Database.Drop(gone, dsn))
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if err != nil {
		return nil, err
	}
	midnight := int64(c.worked()) * work.Day
	h, err := open(ctx, dir, dsn, midnight)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	r := &raid{
		c: c, h: h, s: s, offs: off, began: midnight + v.begins, received: roaring.New(), gained: roaring.New(),
		out: &RunResult{Defence: Label(off), Off: []string{}, Bystanders: &Bystanders{}, Series: [][2]int64{{0, 0}}},
	}
	for _, o := range off {
		r.out.Off = append(r.out.Off, string(o))
	}
	defer func() {
		if r.close != nil {
			r.close()
		}
	}()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if err := r.play(ctx, v); err != nil {
		return nil, err
	}
	return r.out, r.judge(ctx)
}

// prepare opens the shop on the day of the attack, under the budgets of this run.
func (r *raid) prepare(ctx context.Context) error {
	join, stop := newcomers(r.c.Seed + 3)
	r.close = stop
	r.shop = &shop{h: r.h, people: slices.Clone(r.s.people), tokens: tokens{slices.Clone(r.s.tokens.b)}, join: join, tally: tally{byRole: map[string]int{}}}
	r.shop.seen = func(ctx context.Context, p *person, class string, act work.Act, customers []api.Customer) error {
		for _, t := range r.thieves {
			if t.p == p {
				return r.got(ctx, r.h.clock.at.Load(), class, act == work.Extra, customers)
			}
		}
		return nil
	}
	r.place = r.c.place()
	// The days that were, again without the vault: everybody's dice stand as they stood.
	if err := r.place.Hours(0, r.c.worked(), func(int, int, []work.Event) error { return nil }); err != nil {
		return err
	}
	if r.off(Budgets) {
		text, err := boundless()
		if err != nil {
			return err
		}
		if err := r.h.admin.Do(ctx, http.MethodPut, client.Path("brands", brand, "budgets"), api.BudgetRules{Rules: text}, nil); err != nil {
			return fmt.Errorf("switching budgets off: %w", err)
		}
	}
	if r.off(Canaries) {
		if err := r.h.withdraw(ctx, r.responder()); err != nil {
			return err
		}
	}
	size, err := r.h.v.Ledger.Size(ctx, r.h.brand)
	r.next, r.logged = size, size
	return err
}

// boundless are budgets that nobody reaches.
func boundless() (string, error) {
	var list []budget.Rule
	for kind := budget.Lineage; kind <= budget.Brand; kind++ {
		for _, class := range budget.InUse() {
			for window := budget.Hour; window <= budget.Month; window++ {
				list = append(list, budget.Rule{Kind: kind, Class: class, Window: window, Limit: math.MaxUint32})
			}
		}
	}
	rules, err := budget.NewRules(list)
	if err != nil {
		return "", err
	}
	return string(rules.Encode()), nil
}

// play runs the attack to its end.
func (r *raid) play(ctx context.Context, v Variant) error {
	end := r.began + int64(r.c.Horizon)*work.Day
	if err := v.start(ctx, r, r.began); err != nil {
		return err
	}
	if err := r.bound(ctx); err != nil {
		return err
	}
	r.days()
	var tick func(ctx context.Context, at int64) error
	tick = func(ctx context.Context, at int64) error {
		if err := r.look(ctx, at); err != nil {
			return err
		}
		if r.over() {
			r.line.ended = true
			return nil
		}
		r.line.put(at+lookEvery, tick)
		return nil
	}
	r.line.put(r.began, tick)
	if err := r.line.run(ctx, end); err != nil {
		return err
	}
	if err := r.look(ctx, end); err != nil { // what the last minutes said
		return err
	}
	r.out.EndedAfter = r.h.clock.at.Load() - r.began
	switch {
	case r.at >= len(r.list):
		r.out.Ended = "everything taken"
	case !r.over():
		r.out.Ended, r.out.EndedAfter = neverStopped, end-r.began
	case r.out.Contained != nil:
		r.out.Ended = "contained"
	default:
		r.out.Ended = "reset"
	}
	return nil
}

// over reports whether no thief can do anything more.
func (r *raid) over() bool {
	for _, t := range r.thieves {
		if !t.gone && !t.contained {
			return false
		}
	}
	return true
}

// days has those at work, from its midnight, who share a role with a thief: the others
// share the brand's budget alone, which is not near. Where nobody acts on alarms only the
// thieves' own work is done: the rest could change nothing but use up budgets that the
// thief shares.
func (r *raid) days() {
	roles := map[string]bool{}
	for _, t := range r.thieves {
		roles[t.p.role] = true
	}
	works := func(e *work.Event) bool {
		p := &r.shop.people[e.By.ID-1]
		if r.off(Detection) {
			return slices.ContainsFunc(r.thieves, func(t *thief) bool { return t.p == p })
		}
		return roles[p.role]
	}
	day := r.c.worked()
	var next func(ctx context.Context, at int64) error
	next = func(context.Context, int64) error {
		err := r.place.Hours(day, day+1, func(_, _ int, events []work.Event) error {
			for _, e := range events {
				if e.At >= r.began && works(&e) {
					r.line.put(e.At, func(ctx context.Context, _ int64) error { return r.event(ctx, e) })
				}
			}
			return nil
		})
		day++
		r.line.put(int64(day)*work.Day, next)
		return err
	}
	r.line.put(r.began, next)
}

// event is a thing done at work, or by an insider beside it.
func (r *raid) event(ctx context.Context, e work.Event) error {
	before := r.shop.tally
	var t *thief
	if e.Act == work.Extra {
		for _, x := range r.thieves {
			if x.p == &r.shop.people[e.By.ID-1] {
				t = x
			}
		}
		if t == nil || t.contained {
			return nil
		}
		if r.at >= len(r.list) {
			t.gone = true
			return nil
		}
		return r.own(ctx, t, e.At)
	}
	err := r.shop.do(ctx, e)
	r.out.Bystanders.Requests = r.shop.tally.requests
	r.out.Bystanders.Refused += r.shop.tally.refused - before.refused
	r.out.Bystanders.LockedOut += r.shop.tally.locked - before.locked
	return err
}

// own is a customer whom an insider takes with their own key, new or old.
func (r *raid) own(ctx context.Context, t *thief, at int64) error {
	t.client = r.h.abroad(t.p.key)
	t.size, t.wait = 1, 0
	return r.take(ctx, t, at, 1)
}
