package access

import "testing"

func TestReach(t *testing.T) {
	t.Parallel()
	purposes := []string{"order-fulfilment", "customer-support", "marketing", "analysis", "data-subject-request", "migration", "incident-response"}
	reach := load(t, DefaultText()).Reach(purposes)
	for role, want := range map[string]Reach{
		Application:           {Clear: true, Masked: true, Search: true, Write: true},
		SupportAgent:          {Clear: true, Masked: true, Search: true},
		StoreAssociate:        {}, // its purpose is not among them
		Marketing:             {Masked: true, Export: true},
		Analyst:               {Masked: true, Export: true},
		DataProtectionOfficer: {Clear: true, Masked: true, Search: true, Export: true, Write: true, Erase: true},
		IncidentResponder:     {Masked: true, Search: true},
		Administrator:         {Administer: true, Write: true, Erase: true},
		"nobody":              {},
	} {
		if got := reach(7, role); got != want {
			t.Errorf("%s: %+v, want %+v", role, got, want)
		}
	}
	reach = load(t, DefaultText()+`permit (principal == Principal::"7", action == Action::"clear", resource == Field::"email");`+
		`forbid (principal in Role::"support-agent", action == Action::"masked", resource);`+
		`permit (principal in Role::"marketing", action == Action::"search", resource == Field::"city");`).Reach(purposes)
	if !reach(7, Marketing).Clear || reach(8, Marketing).Clear {
		t.Error("a rule for one principal is for another, or not for that one")
	}
	if got := reach(8, SupportAgent); got != (Reach{Clear: true}) {
		t.Errorf("who may see nothing masked finds nobody: %+v", got)
	}
	if reach(8, Marketing).Search {
		t.Error("nobody can be found by a city")
	}
}
