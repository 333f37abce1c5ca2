package duties

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// mutant is a rule with one number, operator or flag changed.
type mutant struct {
	what string
	rule Rule
}

// mutants returns a rule with each of its numbers, operators and flags changed, one at a
// time.
func mutants(r *Rule) (out []mutant) {
	add := func(what string, change func(*Rule)) {
		c := *r
		c.Entity, c.NotBefore, c.Forbidden = slices.Clone(r.Entity), slices.Clone(r.NotBefore), slices.Clone(r.Forbidden)
		c.When = slices.Clone(r.When)
		for i := range c.When {
			w := &c.When[i]
			w.Data = slices.Clone(w.Data)
			if w.Count != nil {
				n := *w.Count
				w.Count = &n
			}
			if w.Malicious != nil {
				m := *w.Malicious
				w.Malicious = &m
			}
		}
		if r.Deadline != nil {
			d := *r.Deadline
			c.Deadline = &d
		}
		c.Exceptions = slices.Clone(r.Exceptions)
		change(&c)
		out = append(out, mutant{what, c})
	}
	if r.Deadline != nil {
		for _, by := range []int{-1, 1} {
			add(fmt.Sprintf("deadline %+d", by), func(c *Rule) { c.Deadline.N += by })
		}
		for _, unit := range []string{"hours", "days", "business_days", "months"} {
			if unit != r.Deadline.Unit {
				add("unit "+unit, func(c *Rule) {
					c.Deadline.Unit = unit
					if unit == "business_days" {
						c.Deadline.Calendar = "US-SEC"
					}
				})
			}
		}
		for _, kind := range []string{"hard", "outer", "practice"} {
			if kind != r.Deadline.Kind {
				add("kind "+kind, func(c *Rule) { c.Deadline.Kind = kind })
			}
		}
		add("no deadline", func(c *Rule) { c.Deadline = nil })
		if r.Deadline.Calendar != "" {
			add("no holidays", func(c *Rule) { c.Deadline.Calendar = otherCalendar(r.Deadline.Calendar) })
		}
	} else if r.With == "" {
		add("a deadline", func(c *Rule) { c.Deadline = &Deadline{N: 72, Unit: "hours", Kind: "hard"} })
	}
	for name := range clocks {
		if name != r.Clock {
			add("clock "+name, func(c *Rule) { c.Clock = name })
		}
	}
	for i := range r.Entity {
		add("without "+r.Entity[i], func(c *Rule) { c.Entity = slices.Delete(c.Entity, i, i+1) })
	}
	for _, reach := range []string{"", "entity", "established"} {
		if reach != r.Reach {
			add("reach "+reach, func(c *Rule) { c.Reach = reach })
		}
	}
	for _, status := range []string{"", "future", "proposed", "undated"} {
		if status == r.Status || r.Status != "" && status != "" && r.ValidFrom == "" {
			continue // between proposed and undated the words differ, not what follows
		}
		add("status "+status, func(c *Rule) { c.Status = status })
	}
	if r.ValidFrom != "" {
		day, _ := time.Parse(time.DateOnly, r.ValidFrom)
		for _, by := range []int{-1, 1} {
			add(fmt.Sprintf("valid from %+d", by), func(c *Rule) { c.ValidFrom = day.AddDate(0, 0, by).Format(time.DateOnly) })
		}
	}
	add("valid until", func(c *Rule) { c.ValidUntil = "2026-01-01" })
	for i := range r.NotBefore {
		add("not before "+r.NotBefore[i], func(c *Rule) { c.NotBefore = slices.Delete(c.NotBefore, i, i+1) })
	}
	if r.With != "" {
		add("with", func(c *Rule) { c.With = "" })
	}
	if r.NoLaterThan != "" {
		add("no later than", func(c *Rule) { c.NoLaterThan = "" })
	}
	for i := range r.Forbidden {
		add("may say "+r.Forbidden[i], func(c *Rule) { c.Forbidden = slices.Delete(c.Forbidden, i, i+1) })
	}
	add("phased", func(c *Rule) { c.Phased = !c.Phased })
	for i := range r.Exceptions {
		add("exception "+r.Exceptions[i].ID, func(c *Rule) { c.Exceptions = slices.Delete(c.Exceptions, i, i+1) })
	}
	if len(r.When) > 1 {
		for i := range r.When {
			add(fmt.Sprintf("alternative %d", i+1), func(c *Rule) { c.When = slices.Delete(c.When, i, i+1) })
		}
	}
	for i := range r.When {
		w := &r.When[i]
		at := fmt.Sprintf("alternative %d: ", i+1)
		for k := range w.Data {
			if len(w.Data) > 1 {
				add(at+"without "+w.Data[k], func(c *Rule) { c.When[i].Data = slices.Delete(c.When[i].Data, k, k+1) })
			}
		}
		if len(w.Data) > 0 {
			add(at+"any data", func(c *Rule) { c.When[i].Data = nil })
		}
		if n := w.Count; n != nil {
			for _, by := range []int{-1, 1} {
				add(fmt.Sprintf("%snumber %+d", at, by), func(c *Rule) { c.When[i].Count.N += by })
			}
			add(at+"operator", func(c *Rule) { c.When[i].Count.Op = map[string]string{">": ">=", ">=": ">"}[n.Op] })
			add(at+"whom it counts", func(c *Rule) {
				c.When[i].Count.Of = map[string]string{"total": "residents", "residents": "total"}[n.Of]
			})
			add(at+"no number", func(c *Rule) { c.When[i].Count = nil })
		}
		if w.Harm != "" {
			add(at+"no harm", func(c *Rule) { c.When[i].Harm = "" })
			for _, other := range []string{"not_unlikely_risk", "high_risk", "rrosh"} {
				if other != w.Harm {
					add(at+"harm "+other, func(c *Rule) { c.When[i].Harm = other })
				}
			}
		}
		if w.Malicious != nil {
			add(at+"any purpose", func(c *Rule) { c.When[i].Malicious = nil })
			add(at+"the other purpose", func(c *Rule) { *c.When[i].Malicious = !*c.When[i].Malicious })
		}
		if w.Event != "" {
			add(at+"no event", func(c *Rule) { c.When[i].Event = "" })
		}
	}
	return out
}

func otherCalendar(name string) string {
	if name == "US-SEC" {
		return "BR"
	}
	return "US-SEC"
}

// Every number, operator and flag of every rule, changed, makes one of the rule's own
// worked cases fail.
func TestEveryMutantDies(t *testing.T) {
	b, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	ran, alive := 0, []string{}
	for _, r := range b.order {
		for _, m := range mutants(r.Rule) {
			ran++
			if b.prove(&bound{&m.rule, r.law}) == nil {
				alive = append(alive, r.ID+": "+m.what)
			}
		}
	}
	// Sets are shared: what changes one is noticed by a case of some rule.
	sets := 0
	for name := range b.sets {
		for i, list := range b.sets[name] {
			change := func(what string, lists [][]string) {
				ran++
				sets++
				old := b.sets[name]
				b.sets[name] = lists
				if b.Prove() == nil {
					alive = append(alive, "set "+name+": "+what)
				}
				b.sets[name] = old
			}
			change("without "+strings.Join(list, " and "), slices.Delete(slices.Clone(b.sets[name]), i, i+1))
			for k := range list {
				if len(list) > 1 {
					lists := slices.Clone(b.sets[name])
					lists[i] = slices.Delete(slices.Clone(list), k, k+1)
					change(strings.Join(list, " and ")+" without "+list[k], lists)
				}
			}
		}
	}
	t.Logf("%d mutants, %d of them of sets; %d died, %d live", ran, sets, ran-len(alive), len(alive))
	for _, a := range alive {
		t.Errorf("alive: %s", a)
	}
}
