package upkeep

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrListMoved is returned for a list of rows that is not the one to be confirmed any more.
var ErrListMoved = fault.New(fault.Conflict, "the list of unadopted rows changed since it was read: read it again with `cloakroom db adopt`")

// ErrNotListed is returned for a row that cannot be ended, because nobody has to confirm it.
var ErrNotListed = fault.New(fault.NotFound, "no such row among the unadopted ones: name it as `cloakroom db adopt` prints it, such as credentials/12")

// unadoptedPage bounds the rows of one answer.
const unadoptedPage = 1000

// unadopted is what nobody has confirmed in the log of one brand.
type unadopted struct {
	brand record.BrandID
	name  string
	rows  []rights.Row
	all   []entry.Row // also of rows that were changed since, which are void
}

// unadopted reads the rows of every log that nobody has confirmed, the group's first.
func (d *Desk) unadopted(ctx context.Context) (out []unadopted, err error) {
	sizes, err := d.Ledger.Sizes(ctx)
	if err != nil {
		return nil, err
	}
	list, err := d.Door.Brands.List(ctx)
	if err != nil {
		return nil, err
	}
	names := map[record.BrandID]string{record.Group: brands.GroupName}
	for _, b := range list {
		names[b.ID] = b.Name
	}
	rows, err := d.rows(ctx, d.DB)
	if err != nil {
		return nil, err
	}
	for _, brand := range slices.Sorted(maps.Keys(sizes)) {
		u := unadopted{brand: brand, name: cmp.Or(names[brand], fmt.Sprintf("brand %d", brand))}
		if u.rows, u.all, err = d.Ledger.Unadopted(ctx, brand, rows[brand]); err != nil {
			return nil, fmt.Errorf("the log of %s: %w", u.name, err)
		}
		if len(u.all) > 0 {
			out = append(out, u)
		}
	}
	return out, nil
}

// digestOf is the digest of a list: of the digests in the logs, not of the rows.
func digestOf(list []unadopted) string {
	h := sha256.New()
	for _, u := range list {
		fmt.Fprintf(h, "%d %d\n", u.brand, len(u.all))
		for _, r := range u.all {
			fmt.Fprintf(h, "%s/%s %x\n", r.Table, r.Key, r.Digest)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (u *unadopted) shown(r *rights.Row) api.UnadoptedRow {
	row := r.Table + "/" + r.Key
	if u.brand != record.Group {
		row = u.name + ":" + row // keys are of one log
	}
	return api.UnadoptedRow{Brand: u.name, Row: row, Says: r.Says}
}

// Unadopted lists the rows of rights that stand as they were found and that nobody has
// confirmed, from the n-th on.
func (d *Desk) Unadopted(ctx context.Context, c identity.Caller, n int) (*api.Unadopted, error) {
	if _, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister); err != nil {
		return nil, err
	}
	list, err := d.unadopted(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.Unadopted{Rows: []api.UnadoptedRow{}, Digest: digestOf(list)}
	for _, u := range list {
		for i := range u.rows {
			if out.Total >= n && len(out.Rows) < unadoptedPage {
				out.Rows = append(out.Rows, u.shown(&u.rows[i]))
			}
			out.Total++
		}
	}
	return out, nil
}

// Adopt confirms every row of a list that was read, and ends those of them that the request
// names. It logs one entry in the log of each brand that has such rows.
func (d *Desk) Adopt(ctx context.Context, c identity.Caller, req api.AdoptRequest) (*api.Adopted, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	list, err := d.unadopted(ctx)
	if err != nil {
		return nil, err
	}
	if req.Digest != digestOf(list) {
		return nil, ErrListMoved
	}
	out := &api.Adopted{Voided: []api.UnadoptedRow{}}
	ends := map[record.BrandID][]rights.Row{}
	left := map[string]bool{}
	for _, row := range req.Void {
		left[row] = true
	}
	for _, u := range list {
		for i := range u.rows {
			r := &u.rows[i]
			if at := u.shown(r); left[at.Row] {
				delete(left, at.Row)
				ends[u.brand] = append(ends[u.brand], *r)
				out.Voided = append(out.Voided, at)
			}
		}
		out.Confirmed += len(u.all) - len(ends[u.brand])
	}
	if len(left) > 0 {
		return nil, ErrNotListed
	}
	for brand, rows := range ends {
		if err := d.mayEnd(ctx, brand, rows); err != nil {
			return nil, err
		}
	}
	if req.DryRun {
		return out, nil
	}
	for _, u := range list {
		if err := d.adopt(ctx, v.Who, u, ends[u.brand]); err != nil {
			return nil, fmt.Errorf("the rows of %s: %w", u.name, err)
		}
		ctx = revision.Unbound(ctx) // the entry before may have moved it
	}
	return out, nil
}

func (d *Desk) adopt(ctx context.Context, who identity.Who, u unadopted, ends []rights.Row) error {
	who.Brand = u.brand
	for _, r := range ends { // a stop needs no row
		if s, ok := stopOf(&r); ok {
			d.Changes.Stop(ctx, who, "", record.Group, s)
		}
	}
	detail := entry.RowsAdopted{Rows: len(u.all) - len(ends), Void: len(ends)}
	moved, err := d.Changes.Make(ctx, ledger.Event{Kind: entry.KindAdministration, Who: who, Detail: detail}, func(q db.Queryer, at time.Time) error {
		if !slices.Equal(rights.Inherited(q), u.all) {
			return ErrListMoved
		}
		for i := range ends {
			if err := d.end(ctx, q, &ends[i], at); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && moved {
		err = d.Changes.Pass(ctx, u.brand, 0)
	}
	return err
}

// The tables whose rows adoption ends itself. Of the others, ending one row may widen what
// somebody may do: each has its own verb, and that may take two people.
const (
	rowsPrincipals  = "principals"
	rowsRoles       = "roles"
	rowsCredentials = "credentials"
	rowsPurposes    = "purposes"
)

// endedBy says how the rows of a table are ended that adoption does not end.
var endedBy = map[string]string{
	"brands":          "a brand is not ended",
	"settings":        "set them again: `cloakroom settings set`",
	"brand-settings":  "set them again: `cloakroom settings set`",
	"profiles":        "say it again: `cloakroom principal describe`",
	"policies":        "activate another policy: `cloakroom policy apply`",
	"containments":    "ask to lift it: `cloakroom contain undo`",
	"exports":         "stop it: `cloakroom export stop`",
	"receivers":       "remove it: `cloakroom alarm receiver remove`",
	"write_approvals": "end it: `cloakroom change end-approval`",
	"owners":          "invite the service with another owner: `cloakroom principal invite`",
	"invitations":     "it ends by itself within a day",
}

// mayEnd refuses rows that adoption does not end.
func (d *Desk) mayEnd(ctx context.Context, brand record.BrandID, rows []rights.Row) error {
	gone := map[string]bool{}
	for i := range rows {
		gone[rows[i].Table+"/"+rows[i].Key] = true
	}
	for i := range rows {
		r := &rows[i]
		switch r.Table {
		case rowsCredentials, rowsPurposes:
		case rowsPrincipals:
			if p, err := d.Door.Identity.ByName(ctx, identity.LocalAdministrator); err == nil && r.Key == rights.Key(p.ID) {
				return fmt.Errorf("%w: %s/%s is the owner of this machine at the socket, who is confirmed and not ended", ErrRequest, r.Table, r.Key)
			}
		case rowsRoles:
			who, at, err := roleKey(r)
			if err != nil {
				return err
			}
			if at == record.Group || gone[rowsRoles+"/"+rights.Key(who, uint16(record.Group))] {
				continue
			}
			if held, err := d.Door.Identity.Roles(ctx, who); err != nil {
				return err
			} else if slices.ContainsFunc(held, func(h identity.Role) bool { return h.Brand == record.Group }) { // which would hold at the brand then
				return fmt.Errorf("%w: without %s/%s, the principal's role at the group holds at the brand: end that one, too, or set the role with `cloakroom principal role`", ErrRequest, r.Table, r.Key)
			}
		default:
			return fmt.Errorf("%w: %s/%s is not ended by adoption: %s", ErrRequest, r.Table, r.Key, cmp.Or(endedBy[r.Table], "confirm it"))
		}
	}
	return nil
}

// roleKey reads whose role a row is, and at which brand.
func roleKey(r *rights.Row) (principal uint64, brand record.BrandID, err error) {
	a, b, _ := strings.Cut(r.Key, ".")
	principal, err = strconv.ParseUint(a, 10, 64)
	at, berr := strconv.ParseUint(b, 10, 16)
	if err = errors.Join(err, berr); err != nil {
		return 0, 0, ErrNotListed
	}
	return principal, record.BrandID(at), nil
}

// stopOf returns the stop that ends what a row granted in every log, before any row says so.
func stopOf(r *rights.Row) (s ledger.Stop, ok bool) {
	n, err := strconv.ParseUint(r.Key, 10, 64)
	if err != nil {
		return s, false
	}
	switch r.Table {
	case rowsPrincipals:
		return ledger.Stop{Cause: "disabled", Kind: ledger.StopPrincipal, Target: n}, true
	case rowsCredentials:
		return ledger.Stop{Cause: "revoked", Kind: ledger.StopCredential, Target: n}, true
	}
	return s, false
}

// end ends what a row grants, inside the entry that says so.
func (d *Desk) end(ctx context.Context, q db.Queryer, r *rights.Row, at time.Time) (err error) {
	n, _ := strconv.ParseUint(r.Key, 10, 64)
	switch r.Table {
	case rowsPrincipals:
		if err = d.Door.Identity.Disable(ctx, q, n, at); errors.Is(err, identity.ErrNoPrincipal) {
			err = nil // it is disabled
		}
	case rowsCredentials:
		if _, err = d.Door.Identity.RevokeOne(ctx, q, n, at); errors.Is(err, identity.ErrNoCredential) {
			err = nil // it is revoked, perhaps with the one that it was made through
		}
	case rowsRoles:
		principal, brand, perr := roleKey(r)
		if perr != nil {
			return perr
		}
		err = d.Door.Identity.RemoveRole(ctx, q, principal, brand)
	case rowsPurposes:
		if brand, ok := r.Cells[0].(int64); ok {
			err = d.Door.Brands.RetirePurpose(ctx, q, record.BrandID(brand), r.Key, at)
		}
	}
	return err
}
