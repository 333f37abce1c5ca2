package incident

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	// countAtOnce is how many customers one entry of a count names. More would hold up the
	// commits of others.
	countAtOnce = 10_000
	// stepTime is how long one request counts, so that the client sees progress and no
	// request outlives its time limit.
	stepTime = 2 * time.Second
	// keptCounts bounds the counts that are in memory: their customers are lists.
	keptCounts = 4
)

// counting is the count of one version's part at one brand, as far as this server knows it.
type counting struct {
	mu     sync.Mutex
	brand  record.BrandID
	figure uint64 // the entry with the figures of the part
	cohort *disclose.Cohort
	done   int    // customers counted
	last   uint64 // the newest entry of the count that this server has read or written
	counts api.Breakdown
}

// countings are the counts that this server works on, the newest last.
type countings struct {
	mu   sync.Mutex
	list []*counting
}

func (c *countings) of(brand record.BrandID, figure uint64) *counting {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.list {
		if x.brand == brand && x.figure == figure {
			return x
		}
	}
	x := &counting{brand: brand, figure: figure}
	c.list = append(c.list[max(0, len(c.list)-keptCounts+1):], x)
	return x
}

func readBreakdown(text string) (*api.Breakdown, error) {
	var b api.Breakdown
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return nil, fmt.Errorf("reading a breakdown: %w", err)
	}
	return &b, nil
}

// Breakdown counts where the customers of an approved version live, for a while, and says how
// far it is. The caller asks until it is whole. A count that was cut resumes where the log
// says that it was.
func (d *Desk) Breakdown(ctx context.Context, c identity.Caller, brand, id string, req api.BreakdownRequest) (*api.BreakdownStep, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	list, err := d.scopes(ctx, f)
	if err != nil {
		return nil, err
	}
	v := version(list, req.Version, func(v *api.ScopeVersion) bool { return v.Approval != 0 })
	switch {
	case v == nil && (req.Version != 0 || len(list) == 0):
		return nil, ErrNoVersion
	case v == nil || v.Approval == 0:
		return nil, disclose.ErrNotApproved
	}
	out := &api.BreakdownStep{Version: v.Version, Of: v.Records, Parts: v.Breakdown}
	if out.Parts == nil {
		out.Parts = []api.Breakdown{}
	}
	until := time.Now().Add(cmp.Or(d.Step, stepTime))
	for i := range v.Parts {
		p := &v.Parts[i]
		if slices.ContainsFunc(v.Breakdown, func(b api.Breakdown) bool { return b.Brand == p.Brand }) {
			out.Done += p.Records
			continue
		}
		done, whole, err := d.countPart(ctx, c, f, v, p, req.Ticket, until)
		if err != nil {
			return nil, err
		}
		out.Done += done
		if whole == nil {
			return out, nil
		}
		out.Parts = append(out.Parts, *whole)
	}
	out.Whole = true
	return out, nil
}

// countPart counts customers of one brand until a time, and returns the figures once they
// are whole and kept.
func (d *Desk) countPart(ctx context.Context, c identity.Caller, f *found, v *api.ScopeVersion, p *api.ScopeFigures, ticket string, until time.Time) (int, *api.Breakdown, error) {
	visit, err := d.Door.Admit(ctx, c, p.Brand, access.ActRespond)
	if err != nil {
		return 0, nil, err
	}
	x := d.counts.of(visit.Brand.ID, p.Entry)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cohort == nil {
		if x.cohort, err = d.Disclose.Cohort(ctx, visit, f.owner.ID, f.owner.Name, v.Approval); err != nil {
			return 0, nil, err
		}
		x.counts = api.Breakdown{Brand: p.Brand, Records: x.cohort.Len(), Places: []api.BreakdownPlace{}}
	}
	if err := d.resume(ctx, x); err != nil {
		return 0, nil, err
	}
	next := d.fetch(ctx, x, x.done)
	for x.done < x.cohort.Len() {
		got := <-next
		if got.err != nil {
			return 0, nil, got.err
		}
		next = d.fetch(ctx, x, x.done+got.n)
		before, err := json.Marshal(&x.counts)
		if err != nil {
			<-next
			return 0, nil, fmt.Errorf("writing a breakdown: %w", err)
		}
		counts := x.counts
		counts.Places = slices.Clone(counts.Places)
		if err := d.Disclose.Places(ctx, visit, got.batch, ticket, x.done, string(before), &counts); err != nil {
			<-next
			return 0, nil, err
		}
		x.counts, x.done = counts, x.done+got.n
		if x.done < x.cohort.Len() && !time.Now().Before(until) {
			<-next // nothing works on when the request has ended
			return x.done, nil, nil
		}
	}
	<-next
	values, err := json.Marshal(&x.counts)
	if err != nil {
		return 0, nil, fmt.Errorf("writing a breakdown: %w", err)
	}
	detail := entry.ScopeBroken{Incident: f.n, Version: v.Version, Scope: v.Entry, Brand: p.Brand, Values: string(values)}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: ticket, Detail: detail})
	if err != nil {
		return 0, nil, err
	}
	out := x.counts
	out.Entry = r.Entry()
	return x.done, &out, nil
}

// fetched is a batch that was read ahead.
type fetched struct {
	batch *disclose.Batch
	n     int
	err   error
}

// fetch reads the next batch while the one before is logged and opened.
func (d *Desk) fetch(ctx context.Context, x *counting, from int) <-chan fetched {
	out := make(chan fetched, 1)
	ords := x.cohort.Part(from, cmp.Or(d.CountAtOnce, countAtOnce))
	if len(ords) == 0 {
		out <- fetched{}
		return out
	}
	go func() {
		b, err := d.Disclose.Fetch(ctx, x.cohort, disclose.CountPlaces, ords)
		out <- fetched{b, len(ords), err}
	}()
	return out
}

// resume takes over what the log says of a count: after a restart, or where another server
// counted on. The last batch that it names may not have been counted, so it is again.
func (d *Desk) resume(ctx context.Context, x *counting) error {
	b, err := d.read(ctx, x.brand)
	if err != nil {
		return err
	}
	last, ok := b.counted[x.figure]
	b.mu.Unlock()
	if !ok || x.last == last {
		return nil
	}
	e, _, err := d.Ledger.Entry(ctx, x.brand, last)
	if err != nil {
		return err
	}
	x.last = last
	opened, ok := e.Detail.(entry.ScopeOpened)
	if !ok || e.Bare() || int(opened.From) <= x.done && x.done > 0 {
		return nil // this server is as far, or further
	}
	counts, err := readBreakdown(opened.Counts)
	if err != nil {
		return fmt.Errorf("reading entry %d: %w", last, err)
	}
	x.counts, x.done = *counts, int(opened.From)
	return nil
}
