package upkeep

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrGroupLoss is returned for the group's log: it says who may confirm anything.
var ErrGroupLoss = fault.New(fault.Denied, "the group's log says who may confirm, so nobody can accept a loss of its entries: restore the vault from a backup, with `cloakroom restore --accept-loss` where the backup lacks entries, too")

// lost is what somebody accepts as lost.
type lost struct {
	Brand  record.BrandID `json:"brand"`
	Name   string         `json:"name"`
	Size   uint64         `json:"size"`
	Seen   uint64         `json:"seen"`
	Reason string         `json:"reason"`
}

// registerLoss registers that accepting the loss of entries takes two people. It is asked
// for at the group, whose log is another one: who may ask and approve is known from entries
// that are not lost. The server that misses the entries has to do it, so that the requester
// asks it once more when the change is approved.
func (d *Desk) registerLoss(c *change.Desk) {
	d.accept = change.Register(c, change.Act[lost, *api.LossAccepted]{
		Name: "log-accept-loss", Action: access.ActAdminister, ToAsker: true, Answers: true,
		Need: func(context.Context, change.Order, lost) (change.Need, error) { return change.Need{Two: true}, nil },
		Text: func(_ context.Context, _ change.Order, p lost) (change.Text, error) {
			return change.Text{Title: fmt.Sprintf("Accept that the last %d entries of the log of %s are lost, and continue it as a new epoch", p.Seen-p.Size, p.Name), Lines: []string{
				fmt.Sprintf("the log has %d entries; the server has seen it with %d", p.Size, p.Seen),
				"budgets, containments and erasures that only the lost entries record are not known any more",
			}}, nil
		},
		Apply: d.acceptLoss,
	})
}

// AcceptLoss asks to accept that entries of a brand's log are lost, on a server that found
// them missing.
func (d *Desk) AcceptLoss(ctx context.Context, c identity.Caller, brand string, req api.LossRequest) (*api.LossAccepted, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if brand == brands.GroupName {
		return nil, ErrGroupLoss
	}
	if err := ledger.CheckText("reason", req.Reason); err != nil {
		return nil, err
	}
	if strings.TrimSpace(req.Reason) == "" {
		return nil, fmt.Errorf("%w: say with reason why nobody can bring the entries back", ErrRequest)
	}
	list, err := d.Door.Brands.List(ctx) // as the group's log has it: the brand's own lost entries
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(b brands.Brand) bool { return b.Name == brand })
	if i < 0 {
		return nil, brands.ErrNoBrand
	}
	b := list[i]
	d.Ledger.Look(ctx, b.ID)
	l, err := d.Ledger.Lost(b.ID)
	if err != nil {
		return nil, err
	}
	return d.accept.Do(ctx, v, "", lost{b.ID, b.Name, l.Size, l.Seen, req.Reason})
}

func (d *Desk) acceptLoss(ctx context.Context, o change.Order, p lost) (*api.LossAccepted, error) {
	b := ledger.Beginning{Cause: entry.CauseAcceptLoss, By: entry.ByTwoPeople, First: o.Who.Principal, Second: o.Second.Principal, Reason: p.Reason}
	if o.Second.Principal == 0 {
		b.By = entry.ByBreakGlass // at the socket: see ToAsker
	}
	who := o.Who
	who.Brand = p.Brand
	n, files, err := d.Ledger.AcceptLoss(ctx, who, ledger.Loss{Size: p.Size, Seen: p.Seen}, b)
	if err != nil {
		return nil, err
	}
	return &api.LossAccepted{Brand: p.Name, Epoch: n, Size: p.Size, Missing: p.Seen - p.Size, Files: files}, nil
}
