// Package scope answers whose data was concerned: which customers the entries that match a
// filter disclosed, changed or erased. The set follows from the logs alone and is exact: it
// is that of one size of each log, so what is written meanwhile does not blur it.
//
// The figures leave after an entry of the log that holds them. They count against no
// budget of disclosures, because they show no field of anybody, so a contained brand can
// still be asked. No answer names a customer.
package scope

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrRequest is joined to errors that the request itself is to blame for.
var ErrRequest = fault.New(fault.Invalid, "invalid request")

// Log is what a scope is read from: the entries of a brand from an index on.
type Log interface {
	Scan(ctx context.Context, brand record.BrandID, from uint64, fn func(index uint64, e entry.Entry, ords []record.Ordinal) error) error
}

var errEnd = errors.New("the end of the scope")

// Question is what to count in a brand's log: the entries below a size.
type Question struct {
	Size  uint64
	Tally *evidence.Tally
}

// Count reads a brand's log once, and counts its entries for every question. Opening the
// entries is what takes the time, so questions of one log are asked together.
func Count(ctx context.Context, log Log, brand record.BrandID, questions ...Question) error {
	size := uint64(0)
	for _, q := range questions {
		size = max(size, q.Size)
	}
	err := log.Scan(ctx, brand, 0, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
		if index >= size {
			return errEnd
		}
		if index%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for _, q := range questions {
			if index >= q.Size {
				continue
			}
			if _, err := q.Tally.Add(&e, ords); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnd) {
		return fmt.Errorf("reading the scope: %w", err)
	}
	return nil
}

// Earlier is a scope that was counted before, as its entry has it.
type Earlier struct {
	Size   uint64
	Filter string
}

// Change is how many customers a scope has that an earlier one had not, and the other way
// round.
type Change struct {
	Added, Removed int
}

// Answer is a scope, the filter that it was counted by as the log has it, and by brand what
// it changes of an earlier scope, where there is one.
type Answer struct {
	Scope   *api.Scope
	Filter  string
	Changes map[string]Change
}

// Desk answers scopes.
type Desk struct {
	Door   *door.Door
	Ledger *ledger.Ledger
}

// Scope answers a request at a brand, or from the group at several, and logs each part in
// its brand's log first.
func (d *Desk) Scope(ctx context.Context, c identity.Caller, brand string, req api.ScopeRequest) (*api.Scope, error) {
	a, err := d.Since(ctx, c, brand, req, nil)
	if err != nil {
		return nil, err
	}
	return a.Scope, nil
}

// Since answers a request as [Desk.Scope] does, and holds the answer at each brand against
// an earlier scope, by the brand's name.
func (d *Desk) Since(ctx context.Context, c identity.Caller, brand string, req api.ScopeRequest, earlier map[string]Earlier) (*Answer, error) {
	visits, err := d.visits(ctx, c, brand, req.Brands, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	named, err := d.number(ctx, &req)
	if err != nil {
		return nil, err
	}
	a := &Answer{Changes: map[string]Change{}}
	if a.Filter, err = filterText(&req); err != nil {
		return nil, err
	}
	var parts []api.BrandScope
	for _, v := range visits {
		p, err := d.part(ctx, v, &req, a, earlier)
		if err != nil {
			return nil, err
		}
		for i, u := range p.Unmatched {
			p.Unmatched[i] = named[u]
		}
		parts = append(parts, *p)
	}
	a.Scope = evidence.Total(parts)
	return a, nil
}

// visits lets a caller in at the brands that a request is about. From the group these are
// the brands that it names, or all.
func (d *Desk) visits(ctx context.Context, c identity.Caller, brand string, names []string, action access.Action) ([]*door.Visit, error) {
	if brand != brands.GroupName {
		if len(names) > 0 {
			return nil, fmt.Errorf("%w: brands are chosen from the group: ask brand %s, or leave brands out", ErrRequest, brands.GroupName)
		}
		v, err := d.Door.Admit(ctx, c, brand, action)
		return []*door.Visit{v}, err
	}
	if _, err := d.Door.Admit(ctx, c, brand, action); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		list, err := d.Door.Brands.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range list {
			names = append(names, b.Name)
		}
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var out []*door.Visit
	for _, name := range names {
		v, err := d.Door.Admit(ctx, c, name, action)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// number puts numbers in place of the names of principals, and lineages in place of their
// credentials: what the log can be held against. It returns the names by number. A name
// that nobody has becomes 0, whom no entry names, so the answer to it is that of a
// principal who did nothing here.
func (d *Desk) number(ctx context.Context, req *api.ScopeRequest) (map[string]string, error) {
	names := map[string]string{}
	number := func(in []api.ScopeFilter) ([]api.ScopeFilter, error) {
		out := slices.Clone(in)
		for i := range out {
			f := &out[i]
			f.Principals, f.Lineages = slices.Clone(f.Principals), slices.Clone(f.Lineages)
			for j, name := range f.Principals {
				n, err := d.principal(ctx, name)
				if err != nil {
					return nil, err
				}
				f.Principals[j] = strconv.FormatUint(n, 10)
				if before, ok := names[f.Principals[j]]; ok && before != name {
					name = before + ", " + name
				}
				names[f.Principals[j]] = name
			}
			for j, n := range f.Lineages {
				if root, _, err := d.Door.Identity.Lineage(ctx, n); err == nil {
					f.Lineages[j] = root
				} else if !errors.Is(err, identity.ErrNoCredential) {
					return nil, err
				}
			}
		}
		return out, nil
	}
	var err error
	if req.Any, err = number(req.Any); err != nil {
		return nil, err
	}
	req.Except, err = number(req.Except)
	return names, err
}

func (d *Desk) principal(ctx context.Context, name string) (uint64, error) {
	if err := ledger.CheckText("principal", name); err != nil {
		return 0, err
	}
	if n, err := strconv.ParseUint(name, 10, 63); err == nil {
		return n, nil
	}
	p, err := d.Door.Identity.ByName(ctx, name)
	if errors.Is(err, identity.ErrNoPrincipal) {
		return 0, nil
	}
	return p.ID, err
}

// question is the one that an earlier scope answered.
func (w *Earlier) question() (Question, error) {
	var req api.ScopeRequest
	if err := json.Unmarshal([]byte(w.Filter), &req); err != nil {
		return Question{}, fmt.Errorf("reading the filter of an earlier scope: %w", err)
	}
	f, err := evidence.NewFilter(&req)
	if err != nil {
		return Question{}, err
	}
	return Question{Size: w.Size, Tally: evidence.NewTally(f)}, nil
}

// part counts a numbered request in one brand's log as it is now, and logs the figures.
func (d *Desk) part(ctx context.Context, v *door.Visit, req *api.ScopeRequest, a *Answer, earlier map[string]Earlier) (*api.BrandScope, error) {
	f, err := evidence.NewFilter(req)
	if err != nil {
		return nil, errors.Join(ErrRequest, err)
	}
	size, err := d.Ledger.Size(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	questions := []Question{{Size: size, Tally: evidence.NewTally(f)}}
	if w, ok := earlier[v.Brand.Name]; ok {
		q, err := w.question()
		if err != nil {
			return nil, err
		}
		questions = append(questions, q)
	}
	if err := Count(ctx, d.Ledger, v.Brand.ID, questions...); err != nil {
		return nil, err
	}
	if len(questions) > 1 {
		is, was := questions[0].Tally.Set(), questions[1].Tally.Set()
		a.Changes[v.Brand.Name] = Change{Added: is.Without(was).Len(), Removed: was.Without(is).Len()}
	}
	out := questions[0].Tally.Figures()
	out.Brand, out.Size = v.Brand.Name, size
	detail := entry.IncidentScope{Filter: a.Filter, Size: size, Digest: out.Digest,
		Entries: uint64(out.Entries), Disclosures: uint64(out.Disclosures), Records: uint64(out.Records)}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: v.Who, Ticket: req.Ticket, Detail: detail})
	if err != nil {
		return nil, err
	}
	out.Entry = r.Entry()
	return &out, nil
}

// filterText is a numbered request as its entry has it.
func filterText(req *api.ScopeRequest) (string, error) {
	b, err := json.Marshal(api.ScopeRequest{Any: req.Any, Except: req.Except, Investigators: req.Investigators})
	if err != nil {
		return "", fmt.Errorf("writing the filter: %w", err)
	}
	return string(b), nil
}
