package admin

import (
	"context"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// profileOf reads a profile, and refuses a text that cannot be shown or has a card number.
func profileOf(req api.Profile) (identity.Profile, error) {
	p := identity.Profile{Display: req.DisplayName, Team: req.Team, Place: req.Place}
	for field, text := range map[string]string{"display_name": p.Display, "team": p.Team, "place": p.Place} {
		if err := ledger.CheckText(field, text); err != nil {
			return p, err
		}
	}
	return p, p.Check()
}

func logged(p identity.Profile) entry.Profile {
	return entry.Profile{Display: p.Display, Team: p.Team, Place: p.Place}
}

func shownProfile(p identity.Profile) api.Profile {
	return api.Profile{DisplayName: p.Display, Team: p.Team, Place: p.Place}
}

// Describe says who a principal is to customers. It grants nothing, and takes one person.
func (d *Desk) Describe(ctx context.Context, c identity.Caller, name string, req api.Profile) (*api.Principal, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	p, err := profileOf(req)
	if err != nil {
		return nil, err
	}
	who, err := d.Door.Identity.ByName(ctx, name)
	if err != nil {
		return nil, err
	}
	err = d.change(ctx, v, entry.KindAdministration, entry.PrincipalDescribed{Principal: who.Name, Profile: logged(p)}, func(q db.Queryer, _ time.Time) error {
		return d.Door.Identity.SetProfile(ctx, q, who.ID, p)
	})
	if err != nil {
		return nil, err
	}
	return d.principal(ctx, who.Name)
}
