package console

import (
	"github.com/cloakroom/cloakroom/api"
)

type settingsPage struct {
	Frame
	Whoami     *api.Whoami
	Settings   *api.Settings
	Purposes   []api.Purpose
	Principals []api.Principal
	Receivers  []api.Receiver
	Keys       []api.Key
	// Asked says that people and keys were asked for: the API refuses them to others, and
	// logs each refusal.
	Asked bool
	More  bool
}

// settings shows what is set, and how it is changed. Of people, receivers and keys it asks
// only for roles that are made for it: a refusal would be logged.
func settings(v *visit) error {
	p := &settingsPage{Frame: v.frame("settings", v.Say("Settings"), "cloakroom settings show --brand "+v.brand, "cloakroom purpose list --brand "+v.brand, "cloakroom principal list", "cloakroom alarm receiver list --brand "+v.brand), Whoami: v.me}
	var err error
	if v.brand != group {
		if p.Settings, err = v.api.Settings(v.ctx, v.brand); err != nil {
			return err
		}
		if p.Purposes, err = v.purposes(); err != nil {
			return err
		}
	}
	if p.Role == "administrator" {
		if p.Keys, err = v.api.Keys(v.ctx, v.brand); err != nil {
			return err
		}
		if p.Receivers, err = v.api.Receivers(v.ctx, v.brand); err != nil {
			return err
		}
		p.Asked = true
	}
	if v.me.Roles[group] == "administrator" {
		if p.Principals, err = v.api.Principals(v.ctx, 0); err != nil {
			return err
		}
		if p.More = len(p.Principals) > 200; p.More {
			p.Principals = p.Principals[:200]
		}
	}
	return v.show("settings", p)
}
