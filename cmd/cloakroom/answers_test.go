package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// given is one answer with customers.
type given struct {
	principal string
	entry     uint64
	tokens    []string
}

// turned is one refusal by a budget.
type turned struct {
	principal string
	tokens    []string
	at        time.Time // when it was answered
}

// answers is what clients were told, to be held against the log afterwards.
type answers struct {
	mu      sync.Mutex
	given   []given
	turned  []turned
	lost    map[string]int // requests without an answer, or with one that the vault cannot serve now
	strange []error        // answers that no bad day explains
}

// ask reveals customers as somebody and keeps what was answered. It returns the type of
// the error, "" for an answer with customers, "lost" for none.
func (a *answers) ask(ctx context.Context, c *client.Client, principal string, tokens []string) string {
	d, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "customer-support"})
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	var e *api.Error
	switch {
	case err == nil:
		a.given = append(a.given, given{principal, d.Receipt.Entry, tokens})
		return ""
	case !errors.As(err, &e):
		a.lost["no answer"]++
		return "lost"
	case e.Type == api.TypeBudgetExhausted:
		a.turned = append(a.turned, turned{principal, tokens, now})
	case e.Type == api.TypeLogUnavailable || e.Type == api.TypeTimeout:
		a.lost[e.Type]++
	default:
		a.strange = append(a.strange, fmt.Errorf("%s: %w", e.Type, err))
	}
	return e.Type
}

func (a *answers) count() (given, turned int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.given), len(a.turned)
}

// some returns one to three tokens at random.
func some(tokens []string) []string {
	out := make([]string, 1+rand.IntN(3))
	for i := range out {
		out[i] = tokens[rand.IntN(len(tokens))]
	}
	return out
}

// logged is one disclosure of the log.
type logged struct {
	entry.Entry
	ords []record.Ordinal
}

// verdict is what check found.
type verdict struct {
	entries  int                    // disclosures in the log
	distinct map[string]int         // customers in clear by principal
	at       map[string][]time.Time // of disclosures
}

// check replays the brand's log and holds every answer against it: each has its entry
// with exactly its customers; in every trailing window no holder has more than its
// budget; and each refusal would have gone beyond one.
func (a *answers) check(t *testing.T, v *app.Vault) verdict {
	t.Helper()
	ctx := context.Background()
	if _, err := v.Ledger.Verify(ctx, 1, nil); err != nil {
		t.Errorf("the log does not verify: %v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, err := range a.strange {
		t.Errorf("a request was answered %v", err)
	}
	names, ids := map[uint64]string{}, map[string]uint64{}
	principals, err := v.Identity.List(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range principals {
		names[p.ID], ids[p.Name] = p.Name, p.ID
	}
	entries := map[uint64]logged{}
	var order []uint64
	if err := v.Ledger.Scan(ctx, 1, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		if e.Kind == entry.KindDisclosure && e.Class == budget.Clear.String() {
			entries[i] = logged{e, slices.Clone(ords)}
			order = append(order, i)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	rules, err := v.Ledger.Rules(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	ordinals := func(tokens []string) []record.Ordinal {
		out, err := v.Disclose.Seal.Resolve(ctx, 1, tokens)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	for _, g := range a.given {
		e, ok := entries[g.entry]
		if !ok || names[e.Principal] != g.principal || !slices.Equal(e.ords, ordinals(g.tokens)) {
			t.Errorf("%s was given %d customers with entry %d, which names %s and %d customers", g.principal, len(ordinals(g.tokens)), g.entry, names[e.Principal], len(e.ords))
		}
	}
	// Windows by brute force: the customers whose entries lie in it. Everybody here has
	// one lineage; the wide holders, whose windows are long to count, are counted at
	// every hundredth entry and at the last.
	own := map[uint64][]uint64{}
	for _, i := range order {
		own[entries[i].Principal] = append(own[entries[i].Principal], i)
	}
	used := func(among []uint64, since, until time.Time, is func(o *entry.Entry) bool) map[record.Ordinal]bool {
		out := map[record.Ordinal]bool{}
		for _, i := range among {
			if l := entries[i]; is(&l.Entry) && l.At.After(since) && !l.At.After(until) {
				for _, o := range l.ords {
					out[o] = true
				}
			}
		}
		return out
	}
	// over reports whether a release would go beyond a limit: with so many customers more,
	// at a time, and with the windows longer by what a refusal may be early.
	over := func(e *entry.Entry, at time.Time, early time.Duration, ords []record.Ordinal, wide bool) bool {
		for _, h := range []struct {
			kind  budget.HolderKind
			wide  bool
			among []uint64
			is    func(o *entry.Entry) bool
		}{
			{budget.Lineage, false, own[e.Principal], func(o *entry.Entry) bool { return o.Lineage == e.Lineage }},
			{budget.Principal, false, own[e.Principal], func(*entry.Entry) bool { return true }},
			{budget.Role, true, order, func(o *entry.Entry) bool { return o.Role == e.Role }},
			{budget.Brand, true, order, func(*entry.Entry) bool { return true }},
		} {
			for w, l := range rules.Resolve(h.kind, e.Principal, e.Role, budget.Clear, budget.DateOf(at)) {
				if !l.Set || h.wide && !wide {
					continue
				}
				n := used(h.among, at.Add(-budget.Window(w).Length()-early), at, h.is)
				for _, o := range ords {
					n[o] = true
				}
				if len(n) > int(l.Limit) {
					return true
				}
			}
		}
		return false
	}
	out := verdict{entries: len(order), distinct: map[string]int{}, at: map[string][]time.Time{}}
	last := map[string]uint64{}
	for n, i := range order {
		e := entries[i]
		last[names[e.Principal]] = i
		out.at[names[e.Principal]] = append(out.at[names[e.Principal]], e.At)
		if over(&e.Entry, e.At, 0, nil, n%100 == 0 || n == len(order)-1) {
			t.Errorf("with entry %d a budget of %s is exceeded", i, names[e.Principal])
		}
	}
	for name, i := range last {
		e := entries[i].Entry
		out.distinct[name] = len(used(own[e.Principal], time.Time{}, e.At, func(*entry.Entry) bool { return true }))
	}
	for _, r := range a.turned {
		var e entry.Entry
		if i, ok := last[r.principal]; ok {
			e = entries[i].Entry
		} else {
			e = entry.Entry{Principal: ids[r.principal], Role: "support-agent"}
		}
		if !over(&e, r.at, budget.BucketLength, ordinals(r.tokens), false) && !over(&e, r.at, budget.BucketLength, ordinals(r.tokens), true) {
			t.Errorf("%s was refused %d customers by a budget that had room", r.principal, len(ordinals(r.tokens)))
		}
	}
	return out
}
