package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

const (
	// entriesSpan is how many entries are read at a time, from the newest back.
	entriesSpan = 2000
	// entriesRead bounds what one request reads of the log: where it found little, the caller
	// asks for the next page.
	entriesRead = 20_000
)

// EntriesQuery says which entries of a log somebody looks for. Zero values are for all.
type EntriesQuery struct {
	Principal string // name or number
	Lineage   uint64
	Kind      string
	Since     time.Time
	Before    uint64 // the entry of this index and all after it were seen
	Limit     int
}

var errSpanRead = errors.New("the span is read")

// Entries returns entries of a brand's log, the newest first, to those who may audit it.
// Entries whose values were erased name nobody, and are found by kind alone.
func (d *Desk) Entries(ctx context.Context, c identity.Caller, brand string, q EntriesQuery) (*api.Entries, error) {
	id, err := d.Watch(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if q.Limit < 1 || q.Limit > api.EntriesPage {
		return nil, fmt.Errorf("%w: limit is 1 to %d", ErrRequest, api.EntriesPage)
	}
	if q.Kind != "" {
		if _, err := entry.ParseKind(q.Kind); err != nil {
			return nil, fmt.Errorf("%w: no such kind of entry: `cloakroom help log list` names them", ErrRequest)
		}
	}
	out := &api.Entries{Entries: []api.Entry{}}
	principal, err := d.principalNumber(ctx, q.Principal)
	if errors.Is(err, identity.ErrNoPrincipal) {
		return out, nil // as somebody who did nothing here
	}
	if err != nil {
		return nil, err
	}
	high, err := d.Ledger.Size(ctx, id)
	if err != nil {
		return nil, err
	}
	if q.Before != 0 {
		high = min(high, q.Before)
	}
	names := map[uint64]string{}
	for read := 0; high > 0 && read < entriesRead && len(out.Entries) < q.Limit; read += entriesSpan {
		low := high - min(high, entriesSpan)
		var span []api.Entry
		past := false
		err := d.Ledger.Scan(ctx, id, low, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
			switch {
			case index >= high:
				return errSpanRead
			case e.At.Before(q.Since):
				past = true
			case q.Kind != "" && e.Kind.String() != q.Kind, principal != 0 && e.Principal != principal, q.Lineage != 0 && e.Lineage != q.Lineage:
			default:
				span = append(span, api.Entry{
					Index: index, Kind: e.Kind.String(), At: e.At, Principal: e.Principal, Lineage: e.Lineage, Role: e.Role, Purpose: e.Purpose,
					Ticket: e.Ticket, Fields: e.Fields.Names(), Level: e.Level, Customers: len(ords), Detail: e.Texts(),
				})
			}
			return nil
		})
		if err != nil && !errors.Is(err, errSpanRead) {
			return nil, err
		}
		high = low
		slices.Reverse(span)
		if more := q.Limit - len(out.Entries); len(span) > more {
			span = span[:more]
			high, past = span[more-1].Index, false
		}
		out.Entries = append(out.Entries, span...)
		if past {
			high = 0
		}
	}
	out.Before = high
	for i := range out.Entries {
		out.Entries[i].Name = d.principalName(ctx, names, out.Entries[i].Principal)
	}
	return out, nil
}

// principalNumber reads a principal's name or number; 0 is for none given.
func (d *Desk) principalNumber(ctx context.Context, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(text, 10, 63); err == nil && n > 0 {
		return n, nil
	}
	p, err := d.Door.Identity.ByName(ctx, text)
	return p.ID, err
}

func (d *Desk) principalName(ctx context.Context, names map[uint64]string, id uint64) string {
	if id == 0 {
		return ""
	}
	n, ok := names[id]
	if !ok {
		if p, err := d.Door.Identity.Get(ctx, id); err == nil {
			n = p.Name
		}
		names[id] = n
	}
	return n
}
