package exposure

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// brandOf draws a brand of three people of two roles, with one or two lineages each, of
// whom some are revoked, contained or disabled.
func brandOf(t *rapid.T) []person {
	var out []person
	for id := range uint64(3) {
		p := person{Staff: identity.Staff{ID: id + 1, Role: []string{access.SupportAgent, access.SupportAgent, access.Analyst}[id],
			Disabled: rapid.IntRange(0, 9).Draw(t, "disabled") == 0}}
		for n := range rapid.Uint64Range(1, 2).Draw(t, "lineages") {
			p.Lineages = append(p.Lineages, identity.StaffLineage{ID: 10*p.ID + n, Live: rapid.IntRange(0, 9).Draw(t, "live") > 0,
				Links: rapid.IntRange(0, 2).Draw(t, "links") == 0})
			p.stops = append(p.stops, containment.Stop{All: rapid.IntRange(0, 9).Draw(t, "all") == 0, Clear: rapid.IntRange(0, 9).Draw(t, "clear") == 0,
				Files: rapid.IntRange(0, 9).Draw(t, "files") == 0})
		}
		out = append(out, p)
	}
	return out
}

// drawn are the classes by which somebody takes customers here.
var drawn = []budget.Class{budget.Clear, budget.Masked, budget.Export}

func rulesOf(t *rapid.T) *budget.Rules {
	var list []budget.Rule
	for kind := budget.Lineage; kind <= budget.Brand; kind++ {
		for _, class := range drawn {
			list = append(list,
				budget.Rule{Kind: kind, Class: class, Window: budget.Hour, Limit: rapid.Uint32Range(0, 4).Draw(t, "hour")},
				budget.Rule{Kind: kind, Class: class, Window: budget.Month, Limit: rapid.Uint32Range(0, 12).Draw(t, "month")})
		}
	}
	rules, err := budget.NewRules(list)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// Whatever everybody does whom the policy and the door let do it, no holder takes more
// people than its bound says at the moment of theft, whatever was taken before: by all
// classes together and by each. A holder whose people take all they can at once takes
// exactly its bound of an hour.
func TestNobodyTakesMoreThanTheBoundAndTheGreedyTakeIt(t *testing.T) {
	t.Parallel()
	policy, err := access.Load(access.DefaultText())
	if err != nil {
		t.Fatal(err)
	}
	reach := policy.Reach([]string{"customer-support", "analysis"})
	rapid.Check(t, func(t *rapid.T) {
		people, rules := brandOf(t), rulesOf(t)
		list := bounds(&terms{time.UnixMicro(1), rules, reach}, people)
		book := budget.NewBook(rules)
		clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		taken := map[budget.Holder]map[budget.Class]map[record.Ordinal]bool{}
		take := func(p *person, lineage int, class budget.Class, ord record.Ordinal) bool {
			l := p.Lineages[lineage]
			if p.Disabled || !l.Live && !(l.Links && class == budget.Export) || p.stops[lineage].All || !allowed(reach(p.ID, p.Role), p.stops[lineage])[class] {
				return false
			}
			g := book.Begin(clock)
			if g.Decide(budget.Disclosure{Lineage: l.ID, Principal: p.ID, Role: p.Role, Class: class, Ords: []record.Ordinal{ord}}) != nil {
				return false
			}
			g.Commit()
			for _, h := range []budget.Holder{{Kind: budget.Lineage, ID: l.ID}, {Kind: budget.Principal, ID: p.ID}, {Kind: budget.Role, Role: p.Role}, {Kind: budget.Brand}} {
				if taken[h] == nil {
					taken[h] = map[budget.Class]map[record.Ordinal]bool{budget.Clear: {}, budget.Masked: {}, budget.Export: {}}
				}
				taken[h][class][ord] = true
			}
			return true
		}
		within := func(w budget.Window) {
			for i := range list {
				h := &list[i]
				persons := map[record.Ordinal]bool{}
				for class, ords := range taken[h.Holder] {
					if uint64(len(ords)) > h.bound[class][w] {
						t.Fatalf("%s took %d, %s; the bound of the %s was %d", h.Holder, len(ords), class, w, h.bound[class][w])
					}
					for o := range ords {
						persons[o] = true
					}
				}
				if sum := h.bound.together(); uint64(len(persons)) > sum[w] {
					t.Fatalf("%s took %d together; the bound of the %s was %d", h.Holder, len(persons), w, sum[w])
				}
			}
		}
		random := func(steps int, most time.Duration) {
			for range steps {
				clock = clock.Add(time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, "later")))
				p := &people[rapid.IntRange(0, 2).Draw(t, "who")]
				take(p, rapid.IntRange(0, len(p.Lineages)-1).Draw(t, "by"), rapid.SampledFrom(drawn).Draw(t, "class"),
					record.Ordinal(rapid.IntRange(1, 40).Draw(t, "customer")))
			}
		}
		random(rapid.IntRange(0, 10).Draw(t, "before"), 10*time.Hour)
		clear(taken) // now everything is stolen
		random(rapid.IntRange(0, 12).Draw(t, "hour"), 5*time.Minute-1)
		within(budget.Hour)
		random(rapid.IntRange(0, 30).Draw(t, "month"), 23*time.Hour)
		within(budget.Month)

		// The greedy, of a book where nobody took anything: one holder alone.
		h := &list[rapid.IntRange(0, len(list)-1).Draw(t, "stolen")]
		book = budget.NewBook(rules)
		clear(taken)
		next := record.Ordinal(1)
		for i := range people {
			p := &people[i]
			for j := range p.Lineages {
				mine := map[budget.HolderKind]bool{budget.Lineage: h.ID == p.Lineages[j].ID, budget.Principal: h.ID == p.ID, budget.Role: h.role == p.Role, budget.Brand: true}
				for _, class := range drawn {
					for mine[h.Kind] && take(p, j, class, next) {
						next++
					}
				}
			}
		}
		for _, class := range drawn {
			if n := len(taken[h.Holder][class]); uint64(n) != h.bound[class][budget.Hour] {
				t.Fatalf("%s took %d at once, %s; the bound was %d", h.Holder, n, class, h.bound[class][budget.Hour])
			}
		}
		if sum := h.bound.together(); uint64(next-1) != sum[budget.Hour] {
			t.Fatalf("%s took %d people at once; the bound was %d", h.Holder, next-1, sum[budget.Hour])
		}
	})
}

func TestHappy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p99, most, bound, want uint64
	}{
		{0, 0, 40, 0}, {2, 2, 40, 3}, {20, 22, 150, 30}, {20, 90, 150, 90}, {30, 30, 40, 40}, {33, 47, 40, 47},
		{31, 40, 500, 50}, {333, 400, 5000, 500}, {401, 700, 5000, 700}, {4001, 4010, 1e6, 7000},
	} {
		var u budget.Use
		u.P99[0], u.Most[0] = uint32(c.p99), uint32(c.most)
		if got := happy(u, budget.Bound{c.bound}); got[0] != c.want {
			t.Errorf("p99 %d, most %d of %d: %d, want %d", c.p99, c.most, c.bound, got[0], c.want)
		}
	}
}
