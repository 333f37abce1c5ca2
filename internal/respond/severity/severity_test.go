package severity

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/api"
)

// Known scores: the vault's own examples, and published cases of the EDPB whose conclusions
// were read. The published cases say whether notices are due, not a score: two of them score
// alike and end differently, so that the score cannot be what decides.
func TestKnownScores(t *testing.T) {
	list := []string{"name", "email", "phone", "postal", "purchase_total", "customer_no"}
	for _, c := range []struct {
		name   string
		in     api.SeverityInputs
		score  float64
		band   string
		source string
	}{
		{"a customer list of a luxury brand, stolen for sale", api.SeverityInputs{Classes: list, Recipients: "unknown", Malicious: "yes"}, 3, "high", "ENISA 2013, worked by hand"},
		{"the same with years of purchases", api.SeverityInputs{Classes: append([]string{"purchase_history"}, list...), Years: true, Recipients: "unknown", Malicious: "yes"}, 4, "very high", "ENISA 2013, worked by hand"},
		{"the same masked", api.SeverityInputs{Classes: list, Masked: true, Recipients: "unknown", Malicious: "yes"}, 1.5, "low", "ENISA 2013, worked by hand"},
		{"G8: marketing mail with all addresses visible", api.SeverityInputs{Classes: []string{"email"}, Persons: 5000, Recipients: "known", Malicious: "no"}, 1.25, "low", "EDPB Guidelines 9/2022, Annex B (a summary): both notices are due"},
		{"G4: a spreadsheet mailed to one trusted party", api.SeverityInputs{Classes: []string{"name", "email"}, Persons: 100, Recipients: "known", Malicious: "no"}, 1.25, "low", "EDPB Guidelines 01/2021, case 09 (a summary): no notice is due"},
		{"G1: encrypted by ransomware, key safe, backup restored", api.SeverityInputs{Classes: []string{"ciphertext_key_safe"}, Persons: 40, Recipients: "none", Availability: "temporary", Malicious: "yes"}, 1, "low", "EDPB Guidelines 01/2021 v2.0, case 01 (the guideline): no notice is due"},
		{"G2: a hospital's patients, two days of disruption", api.SeverityInputs{Classes: []string{"name", "dob", "health"}, Persons: 4000, Recipients: "none", Availability: "temporary", Malicious: "yes"}, 4.75, "very high", "EDPB Guidelines 01/2021, case 03 (a law firm on the draft): both are due"},
		{"G5: two parcels swapped", api.SeverityInputs{Classes: []string{"name", "postal", "purchase_history"}, Persons: 2, Recipients: "known", Malicious: "no"}, 2.25, "medium", "EDPB Guidelines 01/2021, case 13 (a summary): no notice is due"},
		{"G6: sensitive data mailed by mistake", api.SeverityInputs{Classes: []string{"name", "email", "special_category"}, Persons: 60000, Recipients: "known", Malicious: "no"}, 4.25, "very high", "EDPB Guidelines 01/2021, case 14 (a summary): both are due"},
		{"G7: one motor policy in the wrong envelope", api.SeverityInputs{Classes: []string{"name", "postal"}, Persons: 1, Recipients: "known", Malicious: "no"}, 1.25, "low", "EDPB Guidelines 01/2021, case 16 (a summary): the authority alone"},
		{"cards", api.SeverityInputs{Classes: []string{"name", "payment_card_full"}, Recipients: "unknown", Malicious: "yes"}, 4, "very high", "ENISA 2013, worked by hand"},
		{"tokens of a luxury brand's customers", api.SeverityInputs{Classes: []string{"token_only"}, Wealth: true, Recipients: "unknown", Malicious: "yes"}, 1.5, "low", "ENISA 2013, worked by hand"},
		{"tokens", api.SeverityInputs{Classes: []string{"token_only"}, Recipients: "unknown", Malicious: "yes"}, 1.25, "low", "ENISA 2013, worked by hand"},
	} {
		p, err := Propose(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if p.Score != c.score || p.Band != c.band {
			t.Errorf("%s (%s): %s, %s; want %g, %s", c.name, c.source, p.Formula, p.Band, c.score, c.band)
		}
	}
}

func TestBands(t *testing.T) {
	for score, band := range map[float64]string{0.25: "low", 1.99: "low", 2: "medium", 2.99: "medium", 3: "high", 3.99: "high", 4: "very high", 5.75: "very high"} {
		if Band(score) != band {
			t.Errorf("%g is %s", score, Band(score))
		}
	}
}

// Below the proposal needs a reason, above it does not; no value is invented.
func TestSigning(t *testing.T) {
	p, err := Propose(api.SeverityInputs{Classes: []string{"name", "email", "purchase_history"}, Persons: 3000, Malicious: "yes"})
	if err != nil {
		t.Fatal(err)
	}
	half, three, odd := 0.5, 3.0, 0.6
	if _, err := Sign(p, api.SeveritySign{EI: &half}); !errors.Is(err, ErrRequest) {
		t.Errorf("lower without a reason: %v", err)
	}
	if _, err := Sign(p, api.SeveritySign{EI: &odd, Reason: "x"}); !errors.Is(err, ErrRequest) {
		t.Errorf("a value that the methodology does not have: %v", err)
	}
	up, err := Sign(p, api.SeveritySign{DPC: &three})
	if err != nil || up.Score != 4 || up.DPC.Proposed != 2 || len(up.Lowered) != 0 || !slices.Contains(up.Flags, "more than 100 persons") {
		t.Errorf("%+v, %v", up, err)
	}
	// Up in one value does not pay for down in another.
	if _, err := Sign(p, api.SeveritySign{DPC: &three, EI: &half}); !errors.Is(err, ErrRequest) {
		t.Errorf("a lower value under a higher one: %v", err)
	}
	down, err := Sign(p, api.SeveritySign{EI: &half, Reason: "names are shortened"})
	if err != nil || down.Score != 2 || len(down.Lowered) != 1 || down.Reason == "" {
		t.Errorf("%+v, %v", down, err)
	}
}

func TestWhatCannotBeScored(t *testing.T) {
	for _, in := range []api.SeverityInputs{{}, {Classes: []string{"shoe_size"}}, {Classes: []string{"name"}, Recipients: "some"}, {Classes: []string{"name"}, Malicious: "a little"}} {
		if _, err := Propose(in); !errors.Is(err, ErrRequest) {
			t.Errorf("%+v: %v", in, err)
		}
	}
}

// More fields never make a breach milder, and every value has a reason.
func TestMoreIsNeverMilder(t *testing.T) {
	var names []string
	for c := range base {
		if c != "token_only" && c != "ciphertext_key_safe" {
			names = append(names, c)
		}
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		in := api.SeverityInputs{
			Classes: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 6, rapid.ID).Draw(t, "classes"),
			Wealth:  rapid.Bool().Draw(t, "wealth"), Years: rapid.Bool().Draw(t, "years"), Malicious: rapid.SampledFrom([]string{"yes", "no", ""}).Draw(t, "malicious"),
		}
		p, err := Propose(in)
		if err != nil {
			t.Fatal(err)
		}
		more := in
		more.Classes = append(slices.Clone(in.Classes), rapid.SampledFrom(names).Draw(t, "more"))
		q, err := Propose(more)
		if err != nil {
			t.Fatal(err)
		}
		if q.Score < p.Score {
			t.Fatalf("%v: %s; with one more: %s", in.Classes, p.Formula, q.Formula)
		}
		for _, v := range append([]api.SeverityValue{p.DPC, p.EI}, p.CB...) {
			if len(v.Reasons) == 0 {
				t.Fatalf("%s has no reason", v.Name)
			}
		}
	})
}
