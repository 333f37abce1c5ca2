package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Settings returns a brand's settings, to anybody with a role there.
func (d *Desk) Settings(ctx context.Context, c identity.Caller, brand string) (*api.Settings, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if v.Brand.ID == record.Group {
		return nil, errGroup
	}
	s := &v.Brand.Settings
	return &api.Settings{
		Version: v.Brand.Version, Country: s.Country, PhoneCountry: s.PhoneCountry, Languages: some(s.Languages),
		MailFrom: s.MailFrom, MailReplyTo: s.MailReplyTo, TicketPattern: s.TicketPattern,
		CoolingDays: s.CoolingDays, TombstoneDays: s.TombstoneDays, RetentionDays: s.RetentionDays, GlassHours: s.GlassHours,
		LoyaltyPrefixes: some(s.LoyaltyPrefixes), LoyaltyFields: some(s.LoyaltyFields),
	}, nil
}

var errGroup = fmt.Errorf("%w: the group has no customers: name a brand", ErrRequest)

// some is a list that JSON writes as one, also where it is empty.
func some(list []string) []string { return append([]string{}, list...) }

// changed lays a change over settings.
func changed(s brands.Settings, req api.SettingsChange) brands.Settings {
	for _, x := range []struct{ to, from *string }{
		{&s.Country, req.Country}, {&s.PhoneCountry, req.PhoneCountry}, {&s.MailFrom, req.MailFrom},
		{&s.MailReplyTo, req.MailReplyTo}, {&s.TicketPattern, req.TicketPattern},
	} {
		if x.from != nil {
			*x.to = *x.from
		}
	}
	for _, x := range []struct{ to, from *int }{{&s.CoolingDays, req.CoolingDays}, {&s.TombstoneDays, req.TombstoneDays}, {&s.RetentionDays, req.RetentionDays}, {&s.GlassHours, req.GlassHours}} {
		if x.from != nil {
			*x.to = *x.from
		}
	}
	for _, x := range []struct {
		to   *[]string
		from []string
	}{{&s.Languages, req.Languages}, {&s.LoyaltyPrefixes, req.LoyaltyPrefixes}, {&s.LoyaltyFields, req.LoyaltyFields}} {
		if x.from != nil {
			*x.to = x.from
		}
	}
	return s
}

// SetSettings says what a change of settings changes, and with apply set makes it, in the
// place of the version that the request names, or of the one in force. Where it weakens
// something it takes a second person.
func (d *Desk) SetSettings(ctx context.Context, c identity.Caller, brand string, req api.SettingsChange, apply bool) (*api.SettingsSet, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if v.Brand.ID == record.Group {
		return nil, errGroup
	}
	was := v.Brand.Version
	if req.Version != 0 && req.Version != was {
		return nil, brands.ErrSettingsMoved
	}
	to, err := changed(v.Brand.Settings, req).Checked()
	if err != nil {
		return nil, err
	}
	diff := brands.Differences(v.Brand.Settings, to)
	out := &api.SettingsSet{Version: was, Changes: settingChanges(diff)}
	if !apply || len(diff) == 0 {
		return out, nil
	}
	if out.Version, err = d.acts.settings.Do(ctx, v, "", settingsGiven{Brand: v.Brand.ID, Version: was, Settings: to}); err != nil {
		return nil, err
	}
	out.Applied = true
	return out, nil
}

func settingChanges(diff []brands.Difference) []api.SettingChange {
	out := []api.SettingChange{}
	for _, x := range diff {
		out = append(out, api.SettingChange{Name: x.Name, Was: x.Was, Is: x.Is, Weaker: x.Weaker})
	}
	return out
}

// SettingsHistory returns versions of a brand's settings with who asked for them, to those
// who audit it.
func (d *Desk) SettingsHistory(ctx context.Context, c identity.Caller, brand string, before, limit int) (*api.SettingsHistory, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if v.Brand.ID == record.Group {
		return nil, errGroup
	}
	list, err := d.Door.Brands.History(ctx, v.Brand.Name, before, limit)
	if err != nil {
		return nil, err
	}
	out := &api.SettingsHistory{Versions: []api.SettingsVersion{}}
	for _, x := range list {
		one := api.SettingsVersion{Version: x.Number, At: x.At, Changes: settingChanges(x.Changes), NotLogged: x.Changed}
		if p, err := d.Door.Identity.Get(ctx, x.Author); err == nil {
			one.By = p.Name
		}
		out.Versions = append(out.Versions, one)
	}
	if n := len(list); n == limit && list[n-1].Number > 2 { // version 1 is nobody's
		out.Next = list[n-1].Number
	}
	return out, nil
}

// settingsGiven are settings in the place of a version.
type settingsGiven struct {
	Brand    record.BrandID  `json:"brand"`
	Version  int             `json:"version"` // in force when it was asked for
	Settings brands.Settings `json:"settings"`
}

// settingsDiff holds a request against the settings in force.
func (d *Desk) settingsDiff(ctx context.Context, p settingsGiven) ([]brands.Difference, brands.Brand, error) {
	b, err := d.Door.Brands.Whole(ctx, p.Brand)
	if err != nil {
		return nil, b, err
	}
	return brands.Differences(b.Settings, p.Settings), b, nil
}

// settingsNeed asks for a second person where something gets weaker: otherwise one hand
// sets the cooling time to 0 and erases everybody.
func (d *Desk) settingsNeed(ctx context.Context, _ change.Order, p settingsGiven) (need change.Need, err error) {
	diff, _, err := d.settingsDiff(ctx, p)
	for _, x := range diff {
		need.Two = need.Two || x.Weaker != ""
	}
	return need, err
}

func (d *Desk) settingsText(ctx context.Context, _ change.Order, p settingsGiven) (change.Text, error) {
	diff, b, err := d.settingsDiff(ctx, p)
	t := change.Text{Title: fmt.Sprintf("Change settings of %s in the place of version %d", b.Name, p.Version)}
	for _, x := range diff {
		line := fmt.Sprintf("%s: %s, not %s", x.Name, orNone(x.Is), orNone(x.Was))
		if x.Weaker != "" {
			line += ": " + x.Weaker
		}
		t.Lines = append(t.Lines, line)
	}
	return t, err
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// settingsFit refuses a request that was made for other settings.
func (d *Desk) settingsFit(ctx context.Context, _ change.Order, p settingsGiven) error {
	_, b, err := d.settingsDiff(ctx, p)
	if err == nil && b.Version != p.Version {
		err = fmt.Errorf("%w: version %d of the settings is in force by now, and this was written for version %d", change.ErrChanged, b.Version, p.Version)
	}
	return err
}

func (d *Desk) giveSettings(ctx context.Context, o change.Order, p settingsGiven) (version int, err error) {
	diff, _, err := d.settingsDiff(ctx, p)
	if err != nil {
		return 0, err
	}
	detail := entry.SettingsChanged{Version: p.Version + 1, Were: map[string]string{}, Set: map[string]string{}, Mail: map[string]string{}}
	for _, x := range diff {
		switch {
		case x.Named:
			detail.Mail[x.Name] = orNone(x.Is)
		case x.Name == "loyalty_prefixes", x.Name == "loyalty_fields": // in lists: digits beside digits read like a card
			detail.Prefixes, detail.Fields = p.Settings.LoyaltyPrefixes, p.Settings.LoyaltyFields
			detail.Set[x.Name] = fmt.Sprint(len(p.Settings.LoyaltyPrefixes))
			if x.Name == "loyalty_fields" {
				detail.Set[x.Name] = fmt.Sprint(len(p.Settings.LoyaltyFields))
			}
		default:
			detail.Were[x.Name], detail.Set[x.Name] = orNone(x.Was), orNone(x.Is)
		}
	}
	err = d.changeAs(ctx, o.Who, entry.KindAdministration, detail, func(q db.Queryer, at time.Time) (err error) {
		version, err = d.Door.Brands.SetSettings(ctx, q, p.Brand, p.Version, p.Settings, o.Who.Principal, at)
		return err
	})
	return version, err
}

// SetLoyaltyPrefixes is SetSettings for the ranges of a brand's own numbers, and where such
// numbers are no payment cards.
func (d *Desk) SetLoyaltyPrefixes(ctx context.Context, c identity.Caller, brand string, req api.LoyaltyPrefixes) (*api.LoyaltyPrefixes, error) {
	_, err := d.SetSettings(ctx, c, brand, api.SettingsChange{LoyaltyPrefixes: some(req.Prefixes), LoyaltyFields: some(req.Fields)}, true)
	if err != nil {
		return nil, err
	}
	return &req, nil
}

// LoyaltyPrefixes is those of Settings.
func (d *Desk) LoyaltyPrefixes(ctx context.Context, c identity.Caller, brand string) (*api.LoyaltyPrefixes, error) {
	s, err := d.Settings(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	return &api.LoyaltyPrefixes{Prefixes: s.LoyaltyPrefixes, Fields: s.LoyaltyFields}, nil
}

// SetCooling is SetSettings for how long erased customers' keys lie aside.
func (d *Desk) SetCooling(ctx context.Context, c identity.Caller, brand string, req api.ErasureCooling) (*api.ErasureCooling, error) {
	if _, err := d.SetSettings(ctx, c, brand, api.SettingsChange{CoolingDays: &req.Days}, true); err != nil {
		return nil, err
	}
	return &req, nil
}

// Cooling is that of Settings.
func (d *Desk) Cooling(ctx context.Context, c identity.Caller, brand string) (*api.ErasureCooling, error) {
	s, err := d.Settings(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	return &api.ErasureCooling{Days: s.CoolingDays}, nil
}

// SetTombstones is SetSettings for how long erased customers are kept out of imports.
func (d *Desk) SetTombstones(ctx context.Context, c identity.Caller, brand string, req api.ErasureTombstones) (*api.ErasureTombstones, error) {
	if _, err := d.SetSettings(ctx, c, brand, api.SettingsChange{TombstoneDays: &req.Days}, true); err != nil {
		return nil, err
	}
	return &req, nil
}

// Tombstones is that of Settings.
func (d *Desk) Tombstones(ctx context.Context, c identity.Caller, brand string) (*api.ErasureTombstones, error) {
	s, err := d.Settings(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	return &api.ErasureTombstones{Days: s.TombstoneDays}, nil
}

// SetCountry is SetSettings for the country of national phone numbers.
func (d *Desk) SetCountry(ctx context.Context, c identity.Caller, brand string, req api.BrandCountry) (*api.BrandCountry, error) {
	to := brands.DefaultSettings()
	to.PhoneCountry = req.Country
	to, err := to.Checked()
	if err == nil {
		_, err = d.SetSettings(ctx, c, brand, api.SettingsChange{PhoneCountry: &to.PhoneCountry}, true)
	}
	if err != nil {
		return nil, err
	}
	return &api.BrandCountry{Country: to.PhoneCountry}, nil // what is read now was in force before
}

// Country is the one of Settings for national phone numbers.
func (d *Desk) Country(ctx context.Context, c identity.Caller, brand string) (*api.BrandCountry, error) {
	s, err := d.Settings(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	return &api.BrandCountry{Country: s.PhoneCountry}, nil
}
