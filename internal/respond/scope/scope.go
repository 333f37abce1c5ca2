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
	Size(ctx context.Context, brand record.BrandID) (uint64, error)
	Scan(ctx context.Context, brand record.BrandID, from uint64, fn func(index uint64, e entry.Entry, ords []record.Ordinal) error) error
}

var errEnd = errors.New("the end of the scope")

// Count counts the entries of a brand's log below a size.
func Count(ctx context.Context, log Log, brand record.BrandID, size uint64, f *evidence.Filter) (*evidence.Tally, error) {
	t := evidence.NewTally(f)
	err := log.Scan(ctx, brand, 0, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
		if index >= size {
			return errEnd
		}
		if index%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		_, err := t.Add(&e, ords)
		return err
	})
	if err != nil && !errors.Is(err, errEnd) {
		return nil, fmt.Errorf("reading the scope: %w", err)
	}
	return t, nil
}

// Desk answers scopes.
type Desk struct {
	Door   *door.Door
	Ledger *ledger.Ledger
}

// Scope answers a request at a brand, or from the group at several, and logs each part in
// its brand's log first.
func (d *Desk) Scope(ctx context.Context, c identity.Caller, brand string, req api.ScopeRequest) (*api.Scope, error) {
	visits, err := d.visits(ctx, c, brand, req.Brands, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	named, err := d.Number(ctx, &req)
	if err != nil {
		return nil, err
	}
	var parts []api.BrandScope
	for _, v := range visits {
		p, err := d.part(ctx, v, &req)
		if err != nil {
			return nil, err
		}
		for i, u := range p.Unmatched {
			p.Unmatched[i] = named[u]
		}
		parts = append(parts, *p)
	}
	return evidence.Total(parts), nil
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

// Number puts numbers in place of the names of principals, and lineages in place of their
// credentials: what the log can be held against. It returns the names by number. A name
// that nobody has becomes 0, whom no entry names, so the answer to it is that of a
// principal who did nothing here.
func (d *Desk) Number(ctx context.Context, req *api.ScopeRequest) (map[string]string, error) {
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

// Again returns the set of an earlier scope, by its filter as the log has it.
func (d *Desk) Again(ctx context.Context, brand record.BrandID, size uint64, filter string) (*entry.Set, error) {
	var req api.ScopeRequest
	if err := json.Unmarshal([]byte(filter), &req); err != nil {
		return nil, fmt.Errorf("reading the filter of an earlier scope: %w", err)
	}
	f, err := evidence.NewFilter(&req)
	if err != nil {
		return nil, err
	}
	t, err := Count(ctx, d.Ledger, brand, size, f)
	if err != nil {
		return nil, err
	}
	return t.Set(), nil
}

// part counts a numbered request in one brand's log as it is now, and logs the figures.
func (d *Desk) part(ctx context.Context, v *door.Visit, req *api.ScopeRequest) (*api.BrandScope, error) {
	f, err := evidence.NewFilter(req)
	if err != nil {
		return nil, errors.Join(ErrRequest, err)
	}
	size, err := d.Ledger.Size(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	t, err := Count(ctx, d.Ledger, v.Brand.ID, size, f)
	if err != nil {
		return nil, err
	}
	text, err := FilterText(req)
	if err != nil {
		return nil, err
	}
	out := t.Figures()
	out.Brand, out.Size = v.Brand.Name, size
	detail := entry.IncidentScope{Filter: text, Size: size, Digest: out.Digest,
		Entries: uint64(out.Entries), Disclosures: uint64(out.Disclosures), Records: uint64(out.Records)}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: v.Who, Ticket: req.Ticket, Detail: detail})
	if err != nil {
		return nil, err
	}
	out.Entry = r.Entry()
	return &out, nil
}

// FilterText is a numbered request as its entry has it.
func FilterText(req *api.ScopeRequest) (string, error) {
	b, err := json.Marshal(api.ScopeRequest{Any: req.Any, Except: req.Except, Investigators: req.Investigators})
	if err != nil {
		return "", fmt.Errorf("writing the filter: %w", err)
	}
	return string(b), nil
}
