package intake

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// ErrReason is returned where withheld rows are admitted without a reason.
var ErrReason = fault.New(fault.Invalid, "say why these rows are admitted: give a reason")

const (
	withheldPrefix = "wh_"
	// maxWithheld is how many rows one answer lists.
	maxWithheld = 1000
)

func withheldID(id int64) string { return withheldPrefix + strconv.FormatInt(id, 36) }

func parseWithheld(text string) (int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(text, withheldPrefix), 36, 64)
	if err != nil || id <= 0 {
		return 0, seal.ErrNoWithheld
	}
	return id, nil
}

// Withheld lists rows that stayed out because of somebody who was erased, for those who may
// erase. The list is logged before it is given.
func (d *Desk) Withheld(ctx context.Context, c identity.Caller, brand string, q api.WithheldQuery) (*api.WithheldRows, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	after := int64(0)
	if q.After != "" {
		if after, err = parseWithheld(q.After); err != nil {
			return nil, err
		}
	}
	limit := min(q.Limit, maxWithheld)
	if limit <= 0 {
		limit = maxWithheld
	}
	list, next, err := d.Seal.ListWithheld(ctx, v.Brand.ID, after, limit)
	if err != nil {
		return nil, err
	}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: entry.WithheldListed{Rows: len(list)}}); err != nil {
		return nil, err
	}
	out := &api.WithheldRows{Rows: make([]api.WithheldRow, len(list))}
	for i, x := range list {
		row := api.WithheldRow{ID: withheldID(x.ID), ExternalID: x.ExternalID, Matches: x.Why.Names(), Existing: x.Live, Admissible: x.Kept, Since: x.Created}
		if x.Live {
			row.ExternalID = ""
		}
		if row.Token, err = d.Seal.Token(ctx, v.Brand.ID, x.Ord); err != nil {
			return nil, err
		}
		if by, err := d.Door.Identity.Get(ctx, x.By); err == nil && x.By != 0 {
			row.By = by.Name
		}
		out.Rows[i] = row
	}
	if next != 0 {
		out.Next = withheldID(next)
	}
	return out, nil
}

// Admit writes withheld rows as they were sent, with a reason: a spouse's shared address, or
// somebody who is a customer again. The tokens that were answered then are theirs.
func (d *Desk) Admit(ctx context.Context, c identity.Caller, brand string, req api.WithheldDecision) (*api.WithheldDecided, error) {
	v, ids, err := d.decide(ctx, c, brand, req)
	if err != nil {
		return nil, err
	}
	if req.Reason == "" {
		return nil, ErrReason
	}
	if err := ledger.CheckText("reason", req.Reason); err != nil {
		return nil, err
	}
	out := &api.WithheldDecided{}
	for _, id := range ids {
		put, err := d.Seal.Admitted(ctx, v.Brand.ID, id)
		if err != nil {
			return out, err
		}
		put.Country = v.Brand.Settings.PhoneCountry
		puts := []seal.Put{put}
		w := d.puts(v, puts)
		w.returns(puts, req.Reason)
		w.ticket = req.Ticket
		if err := w.begin(ctx); err != nil {
			return out, err
		}
		if err := w.finish(ctx); err != nil {
			return out, err
		}
		if err := w.p.Err(0); err != nil {
			return out, fmt.Errorf("admitting a withheld row: %w", err)
		}
		token, err := d.Seal.Token(ctx, v.Brand.ID, w.p.Ord(0))
		if err != nil {
			return out, err
		}
		out.Rows, out.Tokens = out.Rows+1, append(out.Tokens, token)
	}
	return out, nil
}

// Refuse drops withheld rows. Later ones of the same external ids stay out, and nobody is
// asked about them.
func (d *Desk) Refuse(ctx context.Context, c identity.Caller, brand string, req api.WithheldDecision) (*api.WithheldDecided, error) {
	v, ids, err := d.decide(ctx, c, brand, req)
	if err != nil {
		return nil, err
	}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Ticket: req.Ticket, Detail: entry.WithheldRefused{Rows: len(ids)}})
	if err != nil {
		return nil, err
	}
	out := &api.WithheldDecided{}
	for _, id := range ids {
		if err := d.Seal.RefuseWithheld(ctx, v.Brand.ID, id, r.At()); err != nil {
			return out, err
		}
		out.Rows++
	}
	return out, nil
}

// decide lets in somebody who decides over withheld rows.
func (d *Desk) decide(ctx context.Context, c identity.Caller, brand string, req api.WithheldDecision) (*door.Visit, []int64, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, nil, err
	}
	if req.Ticket != "" {
		if err := door.Ticket(req.Ticket); err != nil {
			return nil, nil, err
		}
	}
	ids := make([]int64, len(req.IDs))
	for i, text := range req.IDs {
		if ids[i], err = parseWithheld(text); err != nil {
			return nil, nil, err
		}
	}
	return v, ids, nil
}
