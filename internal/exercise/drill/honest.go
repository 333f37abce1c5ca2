package drill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

// tokens are many tokens in little memory.
type tokens struct{ b []byte }

const (
	tokenPrefix = "cus_"
	tokenLength = 26
)

func (t *tokens) add(token string) error {
	if len(token) != len(tokenPrefix)+tokenLength {
		return errors.New("a token of an unexpected form")
	}
	t.b = append(t.b, token[len(tokenPrefix):]...)
	return nil
}

func (t *tokens) len() int { return len(t.b) / tokenLength }

func (t *tokens) at(i int) string {
	return tokenPrefix + string(t.b[i*tokenLength:(i+1)*tokenLength])
}

// person is somebody of the staff.
type person struct {
	name       string
	key        string
	principal  uint64
	credential uint64
	lineage    uint64
	role       string
	purpose    string
}

// The parts that kinds of workers play at the vault.
func part(k work.Kind) (role, purpose string) {
	switch k {
	case work.Agent:
		return access.SupportAgent, "customer-support"
	case work.Associate:
		return access.StoreAssociate, "store-service"
	}
	return access.Application, "order-fulfilment"
}

// responderName is who watches and contains.
const responderName = "ines"

func (h *house) employ(ctx context.Context, name, kind, role string) (p person, err error) {
	var made api.Principal
	if err := h.admin.Do(ctx, http.MethodPost, "/v1/principals", api.Principal{Name: name, Kind: kind, Roles: map[string]string{brand: role}}, &made); err != nil {
		return p, fmt.Errorf("registering %s: %w", name, err)
	}
	var c api.Credential
	if err := h.admin.Do(ctx, http.MethodPost, client.Path("principals", name, "credentials"), api.CredentialRequest{Label: "work"}, &c); err != nil {
		return p, fmt.Errorf("making a key for %s: %w", name, err)
	}
	return person{name: name, key: c.Key, principal: made.ID, credential: c.ID, lineage: c.Lineage, role: role}, nil
}

// newcomers are those who join while the shop works.
func newcomers(seed uint64) (next func() (*invent.Customer, bool), stop func()) {
	return iter.Pull(invent.Customers(invent.Config{Customers: invent.MaxCustomers, Seed: seed, Brands: []string{brand}}))
}

func externalID(n int) string { return fmt.Sprintf("C%09d", n) }

func fieldsOf(c *invent.Customer, n int) api.Fields {
	out := api.Fields{}
	for _, f := range record.Texts {
		if v := c.Get(f); v != "" {
			out[f.String()] = v
		}
	}
	for name, v := range c.Attributes {
		out["attr."+name] = v
	}
	out[record.ExternalID.String()] = externalID(n)
	return out
}

// putBatch is how many customers are written at once.
const putBatch = 2000

// load writes the brand's customers, and remembers their tokens.
func (h *house) load(ctx context.Context, c *Config, s *state) error {
	var req api.PutRequest
	flush := func() error {
		w, err := h.admin.Put(ctx, brand, req)
		if err != nil {
			return err
		}
		for _, r := range w.Results {
			if r.Reject != nil {
				return fmt.Errorf("an invented customer was refused: %s %s", r.Reject.Field, r.Reject.Reason)
			}
			if err := s.tokens.add(r.Token); err != nil {
				return err
			}
		}
		req.Customers = req.Customers[:0]
		c.Progress("sealing customers", int64(s.tokens.len()), int64(c.Customers))
		return nil
	}
	s.tokens.b = make([]byte, 0, tokenLength*(c.Customers+c.Customers/8))
	n := 0
	for x := range invent.Customers(invent.Config{Customers: c.Customers, Seed: c.Seed, Brands: []string{brand}}) {
		n++
		if req.Customers = append(req.Customers, fieldsOf(x, n)); len(req.Customers) == putBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(req.Customers) > 0 {
		return flush()
	}
	return nil
}

// tally counts what honest people asked for.
type tally struct {
	requests, refused, locked int
	byRole                    map[string]int
	joined                    int
}

// shop is the staff at work at one house.
type shop struct {
	h      *house
	people []person
	tokens tokens
	join   func() (*invent.Customer, bool)
	tally  tally
	// seen, if set, is told of what a person received.
	seen func(ctx context.Context, p *person, class string, act work.Act, customers []api.Customer) error
}

// contact is what somebody who serves a customer asks for.
func contact() []string { return []string{"given_name", "family_name", "email", "phone"} }

// do does one thing as the person whose it is.
func (s *shop) do(ctx context.Context, e work.Event) error {
	p := &s.people[e.By.ID-1]
	cl := s.h.as(p.key)
	s.h.clock.reach(e.At)
	s.tally.requests++
	class := "clear"
	var out *api.Disclosed
	var err error
	switch e.Act {
	case work.Join:
		n := s.tokens.len() + 1
		x, ok := s.join()
		if !ok {
			return errors.New("there are no more customers to invent")
		}
		var w *api.Written
		if w, err = cl.Put(ctx, brand, api.PutRequest{Customers: []api.Fields{fieldsOf(x, n)}}); err != nil {
			return fmt.Errorf("the shop writing a customer: %w", err)
		}
		s.tally.joined++
		return s.tokens.add(w.Results[0].Token)
	case work.Search:
		class = "search"
		out, err = cl.Search(ctx, brand, api.SearchRequest{By: "external_id", Value: externalID(s.number(e.Customers[0])), Purpose: p.purpose})
	case work.Denied:
		_, err = cl.Reveal(ctx, brand, api.RevealRequest{Tokens: []string{s.tokens.at(0)}, Fields: []string{"birth_date"}, Purpose: p.purpose})
		if isType(err, api.TypePolicyDenied) || isType(err, api.TypeUnauthenticated) || isType(err, api.TypeContained) {
			return nil // as it should be
		}
		return fmt.Errorf("the birth date of a customer was not denied to %s: %w", p.role, err)
	default:
		req := api.RevealRequest{Fields: contact(), Purpose: p.purpose}
		for _, n := range e.Customers {
			req.Tokens = append(req.Tokens, s.tokens.at(s.number(n)-1))
		}
		out, err = cl.Reveal(ctx, brand, req)
	}
	switch {
	case isType(err, api.TypeBudgetExhausted):
		s.tally.refused++
		s.tally.byRole[p.role]++
		return nil
	case isType(err, api.TypeUnauthenticated), isType(err, api.TypeContained):
		s.tally.locked++
		return nil
	case err != nil:
		return fmt.Errorf("%s at work: %w", p.role, err)
	case s.seen != nil:
		return s.seen(ctx, p, class, e.Act, out.Customers)
	}
	return nil
}

// number is a customer that is there: one who joins later in the hour is not yet.
func (s *shop) number(n uint32) int {
	if have := s.tokens.len(); int(n) > have {
		return 1 + int(n)%have
	}
	return int(n)
}

// honest makes the vault and works it for the days before an attack.
func honest(ctx context.Context, c *Config, s *state, out *Result) (err error) {
	h, err := open(ctx, s.dir, s.dsn, -work.Day)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	if err := h.admin.Do(ctx, http.MethodPost, "/v1/brands", api.Brand{Name: brand, Title: "Gucci"}, nil); err != nil {
		return err
	}
	b, err := h.v.Alarms.Door.Brands.ByName(ctx, brand)
	if err != nil {
		return err
	}
	h.brand = b.ID
	place := c.place()
	for _, w := range place.Workers {
		role, purpose := part(w.Kind)
		kind := "person"
		if w.Kind == work.Application || w.Kind == work.Campaign {
			kind = "service"
		}
		p, err := h.employ(ctx, string(w.Kind)+"-"+strconv.FormatUint(w.ID, 10), kind, role)
		if err != nil {
			return err
		}
		p.purpose = purpose
		s.people = append(s.people, p)
	}
	responder, err := h.employ(ctx, responderName, "person", access.IncidentResponder)
	if err != nil {
		return err
	}
	s.people = append(s.people, responder)
	if err := order(ctx, h, c, &responder); err != nil {
		return err
	}
	if err := h.load(ctx, c, s); err != nil {
		return err
	}
	if err := decoys(ctx, h, s, &responder); err != nil {
		return err
	}
	join, stop := newcomers(c.Seed + 1)
	defer stop()
	sh := &shop{h: h, people: s.people, tokens: s.tokens, join: join, tally: tally{byRole: map[string]int{}}}
	err = place.Hours(0, c.worked(), func(day, hour int, events []work.Event) error {
		for _, e := range events {
			if err := sh.do(ctx, e); err != nil {
				return err
			}
		}
		c.Progress("baseline period", int64(day*24+hour+1), int64(c.worked()*24))
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	s.tokens = sh.tokens
	alarms, err := h.alarms(ctx, h.as(responder.key), 0)
	if err != nil {
		return err
	}
	var rules api.BudgetRules
	if err := h.admin.Do(ctx, http.MethodGet, client.Path("brands", brand, "budgets"), nil, &rules); err != nil {
		return err
	}
	out.Budgets, out.Canaries = rules.Rules, len(s.canaries)
	o := &out.Honest
	staff := c.staff()
	o.Associates, o.Agents = staff.Associates, staff.Agents
	o.Requests, o.Refused, o.RefusedByRole, o.Customers = sh.tally.requests, sh.tally.refused, sh.tally.byRole, sh.tally.joined
	o.Alarms, o.AlarmsByRule = len(alarms), map[string]int{}
	for _, a := range alarms {
		o.AlarmsByRule[a.Rule]++
		if pages(&a) {
			o.Pages++
		}
	}
	o.Months = float64(len(place.Workers)*c.worked()) / 30
	o.AlarmsEachMonth, o.PagesEachMonth = float64(o.Alarms)/o.Months, float64(o.Pages)/o.Months
	return nil
}
