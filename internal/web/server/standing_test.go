package server_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

func TestStanding(t *testing.T) {
	t.Parallel()
	onEach(t, standing)
}

// What has to be known before anybody writes to a customer comes in with imports, is set
// by a logged act, and is shown to those who would write.
func standing(t *testing.T, h *house) {
	ctx := t.Context()
	fields := zoe()
	fields["standing"] = "Minor; do not write"
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{fields}})
	h.must(err)
	token := w.Results[0].Token
	shown := func(want string) {
		t.Helper()
		for as, purpose := range map[string]string{"support-agent": "customer-support", "marketing": "marketing", "data-protection-officer": "data-subject-request"} {
			d, err := h.as[as].View(ctx, "gucci", token, purpose, "")
			h.must(err)
			if got := d.Customers[0].Fields["standing"]; got != want {
				t.Errorf("%s sees %q, not %q", as, got, want)
			}
		}
		d, err := h.as["application"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"standing"}, Purpose: "order-fulfilment"})
		h.must(err)
		if got := d.Customers[0].Fields["standing"]; got != want {
			t.Errorf("the application is shown %q, not %q", got, want)
		}
	}
	shown("minor,do-not-write")

	officer := h.as["data-protection-officer"]
	out, err := officer.SetStanding(ctx, "gucci", token, api.StandingRequest{Standing: []string{"deceased"}, Ticket: "CASE-7"})
	h.must(err)
	if r := out.Results[0]; r.Outcome != "updated" || r.Token != token || out.Receipt == nil {
		t.Fatalf("%+v", out)
	}
	e, err := officer.Entry(ctx, "gucci", out.Receipt.Entry)
	h.must(err)
	if e.Kind != "write" || !slices.Equal(e.Fields, []string{"standing"}) || e.Ticket != "CASE-7" || strings.Contains(string(e.Leaf), "deceased") {
		t.Errorf("the log says %+v", e)
	}
	shown("deceased")
	if out, err = officer.SetStanding(ctx, "gucci", token, api.StandingRequest{Standing: []string{"deceased"}}); err != nil || out.Results[0].Outcome != "unchanged" {
		t.Errorf("the same again: %+v, %v", out, err)
	}

	for _, words := range [][]string{{"alive"}, {"deceased,minor "}, {""}} {
		_, err := officer.SetStanding(ctx, "gucci", token, api.StandingRequest{Standing: words})
		if !isType(err, api.TypeInvalid) || strings.Contains(err.Error(), "alive") {
			t.Errorf("%q: %v", words, err)
		}
	}
	if _, err := officer.SetStanding(ctx, "gucci", token, api.StandingRequest{Ticket: "Mrs Smith", Standing: []string{"minor"}}); !isType(err, api.TypeInvalid) {
		t.Errorf("a name as a ticket: %v", err)
	}
	if _, err := h.as["support-agent"].SetStanding(ctx, "gucci", token, api.StandingRequest{Standing: []string{"minor"}}); !isType(err, api.TypePolicyDenied) {
		t.Errorf("a support agent: %v", err)
	}
	if _, err := officer.SetStanding(ctx, "gucci", "cus_aaaaaaaaaaaaaaaaaaaaaaaaaa", api.StandingRequest{Standing: []string{"minor"}}); !isType(err, api.TypeUnknownToken) {
		t.Errorf("a token that nobody has: %v", err)
	}
	shown("deceased")
	_, err = officer.SetStanding(ctx, "gucci", token, api.StandingRequest{Standing: []string{}})
	h.must(err)
	shown("")
	if _, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "Z-1", "standing": "late"}}}); !isType(err, api.TypeInvalid) {
		t.Errorf("a standing that there is not: %v", err)
	}
}

func TestDefaultCountry(t *testing.T) {
	t.Parallel()
	onEach(t, defaultCountry)
}

// A national number is kept with the country of the day it came in: the row's, the
// customer's, or the brand's. No later change makes it another person's number.
func defaultCountry(t *testing.T, h *house) {
	ctx := t.Context()
	app := h.as["application"]
	phone := func(fields api.Fields) (string, api.WriteResult) {
		t.Helper()
		w, err := app.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{fields}})
		h.must(err)
		d, err := h.as["data-protection-officer"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{w.Results[0].Token}, Fields: []string{"phone"}, Purpose: "data-subject-request"})
		h.must(err)
		return d.Customers[0].Fields["phone"], w.Results[0]
	}
	expect := func(want string, unfindable bool, fields api.Fields) {
		t.Helper()
		if got, r := phone(fields); got != want || unfindable != slices.Contains(r.Unfindable, "phone") {
			t.Errorf("%v: %q, %+v; want %q", fields, got, r, want)
		}
	}
	expect("06 12 34 56 78", true, api.Fields{"external_id": "P-1", "phone": "06 12 34 56 78"})
	if _, err := app.SetDefaultCountry(ctx, "gucci", api.BrandCountry{Country: "FR"}); !isType(err, api.TypePolicyDenied) {
		t.Errorf("an application sets it: %v", err)
	}
	for _, wrong := range []string{"XX", "EU", "Atlantis"} {
		if _, err := h.SetDefaultCountry(ctx, "gucci", api.BrandCountry{Country: wrong}); !isType(err, api.TypeInvalid) || strings.Contains(err.Error(), "Atlantis") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	set, err := h.SetDefaultCountry(ctx, "gucci", api.BrandCountry{Country: "france"})
	h.must(err)
	if got, err := app.DefaultCountry(ctx, "gucci"); err != nil || *got != *set || got.Country != "FR" {
		t.Errorf("%+v, %v", got, err)
	}
	expect("+33612345678", false, api.Fields{"external_id": "P-2", "phone": "06 12 34 56 78"})
	expect("+390612345678", false, api.Fields{"external_id": "P-3", "phone": "06 1234 5678", "country": "IT"})
	expect("+390612345679", false, api.Fields{"external_id": "P-3", "phone": "06 1234 5679"}) // the customer's own

	_, err = h.SetDefaultCountry(ctx, "gucci", api.BrandCountry{Country: "BE"})
	h.must(err)
	expect("+33612345678", false, api.Fields{"external_id": "P-2", "given_name": "Ana", "country": "BE"})
	expect("+390612345679", false, api.Fields{"external_id": "P-3", "country": "CH"})
	if found, err := h.as["support-agent"].Search(ctx, "gucci", api.SearchRequest{By: "phone", Value: "+33 6 12 34 56 78", Purpose: "customer-support"}); err != nil || len(found.Customers) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
	_, err = h.SetDefaultCountry(ctx, "gucci", api.BrandCountry{})
	h.must(err)
	expect("0612345679", true, api.Fields{"external_id": "P-4", "phone": "0612345679"})
}
