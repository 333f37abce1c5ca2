package canary

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
)

// listed is a brand whose canaries are listed or retired.
type listed struct {
	Brand record.BrandID `json:"brand"`
}

// Register registers that listing and retiring canaries take a second person: a thief who
// knows the canaries goes round them, and without them nobody meets one.
func (d *Desk) Register(c *change.Desk) {
	two := func(ctx context.Context, _ change.Order, p listed) (change.Need, error) {
		st, _, err := d.Store.read(ctx, d.Store.db, p.Brand)
		return change.Need{Two: err == nil && (len(live(st.Canaries)) > 0 || st.Order != nil)}, err
	}
	text := func(title string) func(context.Context, change.Order, listed) (change.Text, error) {
		return func(ctx context.Context, _ change.Order, p listed) (change.Text, error) {
			st, _, err := d.Store.read(ctx, d.Store.db, p.Brand)
			return change.Text{Title: title, Lines: []string{fmt.Sprintf("%d canaries", len(live(st.Canaries)))}}, err
		}
	}
	d.list = change.Register(c, change.Act[listed, []api.Canary]{
		Name: "canary-list", Action: access.ActCanaries, Need: two, Text: text("List which customers are canaries, to the requester"), ToAsker: true,
		Apply: func(ctx context.Context, o change.Order, p listed) ([]api.Canary, error) {
			v, err := d.visit(ctx, o, p)
			if err != nil {
				return nil, err
			}
			return d.show(ctx, v)
		},
	})
	d.retire = change.Register(c, change.Act[listed, *api.CanariesRetired]{
		Name: "canary-retire", Action: access.ActCanaries, Need: two, Text: text("Retire the canaries: nobody who reads customers meets one any more"), ToAsker: true,
		Apply: func(ctx context.Context, o change.Order, p listed) (*api.CanariesRetired, error) {
			v, err := d.visit(ctx, o, p)
			if err != nil {
				return nil, err
			}
			return d.retireSome(ctx, v)
		},
	})
}

func (d *Desk) visit(ctx context.Context, o change.Order, p listed) (*door.Visit, error) {
	b, err := d.Door.Brands.Get(ctx, p.Brand)
	if err != nil {
		return nil, err
	}
	return d.Door.Admit(ctx, o.Who.Caller, b.Name, access.ActCanaries)
}
