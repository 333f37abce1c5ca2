package ledger

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Refusal is a request that policy or budget refused.
type Refusal struct {
	Who     identity.Who
	Action  string // clear, masked, search, write ...
	Purpose string
	Reason  string // a stable word: policy-denied, budget-exhausted ...
	Budget  string // whose budget refused, where one did: lineage, principal, role, brand
	Fields  record.FieldSet
}

// maxRefusals bounds the refusals that are counted at one time. Those beyond it are
// counted together, under the reason "several".
const maxRefusals = 4096

type refusalKey struct {
	principal, credential           uint64
	action, purpose, reason, budget string
}

// refusal counts the repeats of one that was logged when it came first.
type refusal struct {
	refusal Refusal
	repeats int
	until   time.Time
}

// refusals keeps a thief from growing the log: the first of its kind is logged at
// once, its repeats together when the window ends.
type refusals struct {
	mu   sync.Mutex
	open map[refusalKey]*refusal
}

// admit reports whether a refusal is the first of its kind, and counts it
// otherwise.
func (s *refusals) admit(r Refusal, now time.Time, window time.Duration) bool {
	key := refusalKey{r.Who.Principal, r.Who.Credential, r.Action, r.Purpose, r.Reason, r.Budget}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxRefusals && s.open[key] == nil {
		key = refusalKey{reason: several}
		r = Refusal{Who: identity.Who{Brand: r.Who.Brand}, Reason: several}
	}
	if o := s.open[key]; o != nil {
		o.repeats++
		return false
	}
	o := &refusal{refusal: r, until: now.Add(window)}
	s.open[key] = o
	if key.reason == several {
		o.repeats++
		return false
	}
	return true
}

const several = "several"

// due takes out those whose window ended, or all.
func (s *refusals) due(now time.Time, all bool) []*refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*refusal
	for key, o := range s.open {
		if all || !now.Before(o.until) {
			delete(s.open, key)
			if o.repeats > 0 {
				out = append(out, o)
			}
		}
	}
	return out
}

// Refused logs a refusal. Repeats within the window are counted and logged
// together when it ends; a server that is killed loses the count of at most one
// window, never the first. A log that cannot be written changes nothing: what was
// refused stays refused.
func (l *Ledger) Refused(ctx context.Context, r Refusal) {
	if c, err := l.chain(ctx, r.Who.Brand); err == nil {
		c.refuse(ctx, r)
	}
}

func (c *chain) refuse(ctx context.Context, r Refusal) {
	if CheckText("purpose", r.Purpose) != nil { // it is refused and logged, without the number
		r.Purpose = ""
	}
	if c.l.opts.RefusalWindow < 0 {
		_ = c.await(ctx, c.request(r.entry(1), nil, nil)) // refused, logged or not
		return
	}
	if !c.refusals.admit(r, time.Now(), c.l.opts.RefusalWindow) {
		return
	}
	if err := c.await(ctx, c.request(r.entry(1), nil, nil)); err != nil {
		c.refusals.admit(r, time.Now(), c.l.opts.RefusalWindow) // counted, and tried again with the repeats
	}
}

func (r Refusal) entry(times int) entry.Entry {
	e := entryOf(r.Who, entry.KindRefusal)
	e.Purpose, e.Fields = r.Purpose, r.Fields
	e.Detail = entry.Refused{Action: r.Action, Reason: r.Reason, Times: times, Budget: r.Budget}
	return e
}

// flushRefusals is the committer's: it logs the repeats whose window ended.
func (c *chain) flushRefusals() {
	due := c.refusals.due(time.Now(), c.closing())
	for len(due) > 0 {
		n := min(len(due), maxRequests)
		rs := make([]*request, n)
		for i, o := range due[:n] {
			rs[i] = c.request(o.refusal.entry(o.repeats), nil, nil)
			rs[i].state.Store(taken)
		}
		c.commit(rs)
		due = due[n:]
	}
}

func (c *chain) closing() bool {
	select {
	case <-c.l.quit:
		return true
	default:
		return false
	}
}

// refusalOfRelease is what is logged of a release that a budget refused.
func refusalOfRelease(r Release, err error) Refusal {
	return refusalOf(r.Grant.Who(), r.Class.String(), r.Grant.Purpose(), r.Grant.Fields(), err)
}

// refusalOf is what is logged of an action that a budget refused.
func refusalOf(who identity.Who, action, purpose string, fields record.FieldSet, err error) Refusal {
	out := Refusal{Who: who, Action: action, Purpose: purpose, Reason: "budget-exhausted", Fields: fields}
	var full *budget.ExhaustedError
	var none *budget.NoRuleError
	switch {
	case errors.As(err, &full):
		out.Budget = full.Holder.Kind.String()
	case errors.As(err, &none):
		out.Budget = none.Kind.String()
	}
	return out
}
