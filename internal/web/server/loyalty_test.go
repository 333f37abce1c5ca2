package server_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

func TestLoyaltyPrefixes(t *testing.T) { onEach(t, loyaltyPrefixes) }

// A brand's own numbers that could be payment cards are kept once the brand has declared
// their range, in the fields that it named and nowhere else.
func loyaltyPrefixes(t *testing.T, h *house) {
	ctx := t.Context()
	const own, ownSpaced, other = "6006490000000012", "6006 4900 0000 0012", "6006500000000018"
	at := func(brand string) string { return client.Path("brands", brand, "loyalty-prefixes") }
	app := h.as["application"]
	put := func(brand string, f api.Fields) string {
		t.Helper()
		w, err := app.Put(ctx, brand, api.PutRequest{Customers: []api.Fields{{"external_id": "F"}, f}}) // one row alone is answered as an error
		h.must(err)
		if r := w.Results[1].Reject; r != nil {
			if strings.Contains(r.Reason, "0000") {
				t.Errorf("the reason repeats the number: %s", r.Reason)
			}
			return r.Code + " " + r.Field
		}
		return w.Results[1].Outcome
	}
	expect := func(brand, want string, f api.Fields) {
		t.Helper()
		if got := put(brand, f); got != want {
			t.Errorf("%v at %s: %s, not %s", f, brand, got, want)
		}
	}
	expect("gucci", "card-number-refused external_id", api.Fields{"external_id": own})

	for _, wrong := range []api.LoyaltyPrefixes{
		{Prefixes: []string{"411111"}, Fields: []string{"external_id"}},
		{Prefixes: []string{"600649", "555555"}, Fields: []string{"external_id"}},
		{Prefixes: []string{"222300"}, Fields: []string{"external_id"}},
		{Prefixes: []string{"378282"}, Fields: []string{"external_id"}},
		{Prefixes: []string{"60064"}, Fields: []string{"external_id"}},
		{Prefixes: []string{own}, Fields: []string{"external_id"}},
		{Prefixes: []string{"60 064"}, Fields: []string{"external_id"}},
		{Prefixes: []string{"600649"}, Fields: []string{"given_name"}},
		{Prefixes: []string{"600649"}, Fields: []string{"attr.A B"}},
		{Prefixes: []string{"600649"}, Fields: []string{}},
		{Prefixes: []string{}, Fields: []string{"external_id"}},
	} {
		err := h.Do(ctx, "PUT", at("gucci"), wrong, nil)
		if !isType(err, api.TypeInvalid) || strings.Contains(err.Error(), "0000") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	declared := api.LoyaltyPrefixes{Prefixes: []string{"600649"}, Fields: []string{"external_id", "attr.loyalty"}}
	if err := app.Do(ctx, "PUT", at("gucci"), declared, nil); !isType(err, api.TypePolicyDenied) {
		t.Errorf("an application declares: %v", err)
	}
	if err := h.Do(ctx, "PUT", at("group"), declared, nil); !isType(err, api.TypeInvalid) {
		t.Errorf("the group declares: %v", err)
	}
	h.must(h.Do(ctx, "PUT", at("gucci"), declared, nil))
	var shown api.LoyaltyPrefixes
	h.must(app.Do(ctx, "GET", at("gucci"), nil, &shown))
	if !reflect.DeepEqual(shown, declared) {
		t.Errorf("shown is %v", shown)
	}
	var logged []entry.SettingsChanged
	for _, e := range h.entriesOf(entry.KindAdministration) {
		if d, ok := e.Detail.(entry.SettingsChanged); ok {
			logged = append(logged, d)
		}
	}
	if len(logged) != 1 || !reflect.DeepEqual(logged[0].Prefixes, declared.Prefixes) || !reflect.DeepEqual(logged[0].Fields, declared.Fields) {
		t.Errorf("logged is %v", logged)
	}

	expect("gucci", "new", api.Fields{"external_id": own, "attr.loyalty": ownSpaced})
	expect("gucci", "new", api.Fields{"external_id": "Z-9", "attr.loyalty": "gold, " + own})
	expect("gucci", "card-number-refused attr.note", api.Fields{"external_id": "Z-8", "attr.note": own})
	expect("gucci", "card-number-refused given_name", api.Fields{"external_id": "Z-8", "given_name": own})
	expect("gucci", "card-number-refused external_id", api.Fields{"external_id": other})
	expect("gucci", "card-number-refused attr.loyalty", api.Fields{"external_id": "Z-8", "attr.loyalty": own + " " + cardPlain})
	expect("gucci", "card-number-refused attr.loyalty", api.Fields{"external_id": "Z-8", "attr.loyalty": cardPlain})
	w, err := app.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "Z-7"}}})
	h.must(err)
	token := w.Results[0].Token
	var patched api.Written
	err = app.Do(ctx, "PATCH", client.Path("brands", "gucci", "customers", token), api.Fields{"attr.loyalty": own}, &patched)
	h.must(err)
	if patched.Results[0].Outcome != "updated" {
		t.Errorf("patched: %+v", patched.Results[0])
	}
	if _, err := h.as["support-agent"].View(ctx, "gucci", token, "customer-support", own); !isType(err, api.TypeCardNumber) {
		t.Errorf("the brand's own number is a ticket: %v", err)
	}

	h.must(h.Do(ctx, "PUT", at("gucci"), api.LoyaltyPrefixes{Prefixes: []string{}, Fields: []string{}}, &shown))
	if len(shown.Prefixes) != 0 {
		t.Errorf("taken back is %v", shown)
	}
	expect("gucci", "card-number-refused attr.loyalty", api.Fields{"external_id": "Z-6", "attr.loyalty": own})
}
