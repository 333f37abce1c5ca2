package drill

import (
	"context"
	"net/http"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// lostBy is how many customers were lost until a time.
func (r *raid) lostBy(at int64) int {
	n := int64(0)
	for _, p := range r.out.Series {
		if p[0] > at-r.began {
			break
		}
		n = p[1]
	}
	return int(n)
}

// bound reads, before anything is taken, what could be: by the rules that hold, as
// `cloakroom exposure` does.
func (r *raid) bound(ctx context.Context) error {
	var text api.BudgetRules
	if err := r.h.admin.Do(ctx, http.MethodGet, client.Path("brands", brand, "budgets"), nil, &text); err != nil {
		return err
	}
	rules, err := budget.DecodeRules([]byte(text.Rules))
	if err != nil {
		return err
	}
	var sum, role budget.Bound
	for _, t := range r.thieves {
		one := rules.Bound(budget.Holder{Kind: budget.Principal, ID: t.p.principal}, t.p.principal, t.p.role, budget.Clear, r.h.clock.now())
		role = rules.Bound(budget.Holder{Kind: budget.Role, Role: t.p.role}, 0, t.p.role, budget.Clear, r.h.clock.now())
		for w := range sum {
			sum[w] += one[w]
		}
	}
	for w := range sum {
		sum[w] = min(sum[w], role[w])
	}
	r.out.Bound = Windows{sum[budget.Hour], sum[budget.Day], sum[budget.Month]}
	return nil
}

// judge holds what was received against the log and the bound.
func (r *raid) judge(ctx context.Context) error {
	r.out.Lost, r.out.Received = r.lost, int(r.received.GetCardinality())
	lineages := map[uint64]bool{}
	for _, t := range r.thieves {
		lineages[t.p.lineage] = true
	}
	logged := roaring.New()
	err := r.h.v.Ledger.Scan(ctx, r.h.brand, r.logged, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
		if !lineages[e.Lineage] || e.Kind != entry.KindDisclosure && e.Kind != entry.KindSearch {
			return nil
		}
		for _, ord := range ords {
			logged.Add(uint32(ord))
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.out.Logged, r.out.Exact = int(logged.GetCardinality()), logged.Equals(r.received)
	r.out.Most = Windows{most(r.clear, budget.Hour), most(r.clear, budget.Day), most(r.clear, budget.Month)}
	m, b := r.out.Most, r.out.Bound
	r.out.WithinBound = m.Hour <= b.Hour && m.Day <= b.Day && m.Month <= b.Month
	r.out.Series = thin(r.out.Series, 200)
	return nil
}

// most is the largest number of distinct customers received in a window of that length.
func most(list []taken, w budget.Window) uint64 {
	length := int64(w.Length().Seconds())
	count := map[record.Ordinal]int{}
	best, from := 0, 0
	for _, t := range list {
		count[t.ord]++
		for list[from].at <= t.at-length {
			if count[list[from].ord]--; count[list[from].ord] == 0 {
				delete(count, list[from].ord)
			}
			from++
		}
		best = max(best, len(count))
	}
	return uint64(best)
}

// thin keeps about n points of a series, the first and the last among them.
func thin(list [][2]int64, n int) [][2]int64 {
	if len(list) <= n {
		return list
	}
	out := make([][2]int64, 0, n+1)
	for i := range n {
		out = append(out, list[i*len(list)/n])
	}
	return append(out, list[len(list)-1])
}
