// Package severity scores how badly a breach could hurt the people it is about, by the
// methodology that ENISA published in December 2013: SE = DPC x EI + CB.
//
//   - DPC, the context of the data: simple 1, behavioural 2, financial 3, sensitive 4, raised
//     or lowered for what the set as a whole tells;
//   - EI, how easily somebody is identified: 0.25 negligible, 0.5 limited, 0.75 significant,
//     1 maximum;
//   - CB, the circumstances: how far confidentiality, integrity and availability are lost, and
//     whether somebody meant harm.
//
// Below 2 the severity is low, below 3 medium, below 4 high, from 4 very high.
//
// The proposal follows from the classes of fields that were really disclosed. Each value
// stands with its reason, and with what else could be argued. A person signs the values;
// who goes below the proposal says why. The score informs, it never decides: of two cases
// that score 1.25 one owes both notices and the other none.
package severity

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// ErrRequest is joined to errors of values that the methodology does not have.
var ErrRequest = fault.New(fault.Invalid, "the severity cannot be scored so")

// Method names the methodology.
const Method = "ENISA, Recommendations for a methodology of the assessment of severity of personal data breaches, 2013"

// Informs stands beside every score.
const Informs = "The score informs. It does not decide which notices are due: `cloakroom duties` does not look at it."

// profile is above how many kinds of habits a set draws a picture of how somebody lives.
const profile = 2

// manyPersons is the number above which the methodology flags a breach.
const manyPersons = 100

// base values of the classes of fields: 1 simple, 2 behavioural, 3 financial, 4 sensitive.
var base = map[string]int{
	"name": 1, "email": 1, "phone": 1, "postal": 1, "dob": 1, "gender": 1, "customer_no": 1, "password_login": 1,
	"mothers_maiden_name": 1, "token_only": 1, "ciphertext_key_safe": 1,
	"preferences": 2, "purchase_history": 2, "purchase_total": 2, "geo_precise": 2,
	"bank_account_no_code": 3, "bank_account_access": 3, "payment_card_full": 3, "ssn": 3, "gov_id": 3, "passport_id": 3,
	"health": 4, "health_insurance": 4, "biometric": 4, "genetic": 4, "special_category": 4, "minors": 4,
}

var kinds = [...]string{1: "simple", 2: "behavioural", 3: "financial", 4: "sensitive"}

// direct are the classes that name or reach a person by themselves.
var direct = []string{"name", "email", "phone", "ssn", "gov_id", "passport_id", "biometric", "genetic"}

// Propose scores what was disclosed.
func Propose(in api.SeverityInputs) (api.Severity, error) {
	if err := check(in); err != nil {
		return api.Severity{}, err
	}
	out := api.Severity{Method: Method, Informs: Informs, Inputs: in}
	out.DPC = context(in)
	out.EI = identification(in)
	out.CB = circumstances(in)
	finish(&out)
	return out, nil
}

func finish(out *api.Severity) {
	sum := 0.0
	for _, c := range out.CB {
		sum += c.Value
	}
	out.Score = math.Round((out.DPC.Value*out.EI.Value+sum)*100) / 100
	out.Formula = fmt.Sprintf("%g x %g + %g = %g", out.DPC.Value, out.EI.Value, sum, out.Score)
	out.Band = Band(out.Score)
	if out.Inputs.Persons > manyPersons {
		out.Flags = append(out.Flags, fmt.Sprintf("more than %d persons", manyPersons))
	}
	if slices.Contains(out.Inputs.Classes, "ciphertext_key_safe") {
		out.Flags = append(out.Flags, "the data were unintelligible: sealed, and the key is safe")
	}
}

// Band names the range of a score.
func Band(score float64) string {
	switch {
	case score < 2:
		return "low"
	case score < 3:
		return "medium"
	case score < 4:
		return "high"
	}
	return "very high"
}

func check(in api.SeverityInputs) error {
	if len(in.Classes) == 0 {
		return fmt.Errorf("%w: nobody has said what was disclosed: count the scope, or state the fact disclosed", ErrRequest)
	}
	for _, c := range in.Classes {
		if base[c] == 0 {
			return fmt.Errorf("%w: a class of fields is unknown: `cloakroom duties words` lists them", ErrRequest)
		}
	}
	for _, x := range []struct {
		what, got string
		of        []string
	}{
		{"recipients", in.Recipients, []string{"", "none", "known", "unknown"}},
		{"integrity", in.Integrity, []string{"", "kept", "recoverable", "lost"}},
		{"availability", in.Availability, []string{"", "kept", "temporary", "lost"}},
		{"malicious", in.Malicious, []string{"", "yes", "no", "unknown"}},
	} {
		if !slices.Contains(x.of, x.got) {
			return fmt.Errorf("%w: %s is one of %s", ErrRequest, x.what, strings.Join(x.of[1:], ", "))
		}
	}
	return nil
}

// context scores what the data tell.
func context(in api.SeverityInputs) api.SeverityValue {
	v := api.SeverityValue{Name: "DPC"}
	worst, which := 0, ""
	for _, c := range slices.Sorted(slices.Values(in.Classes)) {
		if base[c] > worst {
			worst, which = base[c], c
		}
	}
	v.Value = float64(worst)
	v.Reasons = append(v.Reasons, fmt.Sprintf("%s data (%s): %d", kinds[worst], which, worst))
	habits := 0
	for _, c := range []string{"preferences", "purchase_history", "purchase_total", "geo_precise"} {
		if slices.Contains(in.Classes, c) {
			habits++
		}
	}
	simple := worst == 1 && !slices.ContainsFunc(in.Classes, func(c string) bool { return c != "token_only" && c != "ciphertext_key_safe" })
	switch {
	case simple && in.Wealth:
		v.Value = 2
		v.Reasons = append(v.Reasons, "no value was readable, and that somebody is a customer of this brand tells about means: +1")
	case simple:
		v.Reasons = append(v.Reasons, "no value of a person was readable")
	case worst == 1 && in.Wealth:
		v.Value = 2
		v.Reasons = append(v.Reasons, "that somebody is a customer of this brand tells about means and standing: +1")
	case worst == 2 && (in.Years || habits > profile):
		v.Value = 3
		v.Reasons = append(v.Reasons, "the set shows in detail how somebody lives: +1")
	case worst == 2:
		v.Borderline = append(v.Borderline, "3, where years of purchases, or several kinds of habits, draw a profile of everyday life")
	case worst == 3 && slices.ContainsFunc(in.Classes, func(c string) bool { return c == "payment_card_full" || c == "bank_account_access" }):
		v.Value = 4
		v.Reasons = append(v.Reasons, "full financial data make fraud possible: +1")
	case worst == 3:
		v.Borderline = append(v.Borderline, "2, where a bare number gives no insight into somebody's finances")
	}
	if worst == 1 && !in.Wealth && !simple {
		v.Borderline = append(v.Borderline, "2, where being a customer of the brand tells about somebody's means")
	}
	if worst == 4 {
		v.Borderline = append(v.Borderline, "3 or less, where the nature of the set gives only general assumptions")
	}
	if !slices.Contains(in.Classes, "minors") && worst < 4 {
		v.Borderline = append(v.Borderline, "4, where people whose safety depends on it are among them")
	}
	return v
}

// identification scores how easily somebody is recognised.
func identification(in api.SeverityInputs) api.SeverityValue {
	v := api.SeverityValue{Name: "EI"}
	has := func(c string) bool { return slices.Contains(in.Classes, c) }
	n := 0
	for _, c := range direct {
		if has(c) {
			n++
		}
	}
	switch {
	case !slices.ContainsFunc(in.Classes, func(c string) bool { return c != "token_only" && c != "ciphertext_key_safe" }):
		v.Value, v.Reasons = 0.25, []string{"tokens and sealed values name nobody without the vault's keys: 0.25"}
	case in.Masked:
		v.Value, v.Reasons = 0.25, []string{"only masked values were shown: 0.25"}
		v.Borderline = []string{"0.5, where a mask leaves enough to recognise people in a small group"}
	case has("name") && n > 1, has("email"), has("ssn"), has("gov_id"), has("passport_id"), has("biometric"), has("genetic"):
		v.Value, v.Reasons = 1, []string{"the fields name and reach a person directly: 1"}
	case has("name") && (has("postal") || has("dob")):
		v.Value, v.Reasons = 1, []string{"a name with an address or a date of birth is one person: 1"}
	case has("name"), has("phone"):
		v.Value, v.Reasons = 0.75, []string{"one field that names or reaches a person, with others: 0.75"}
		v.Borderline = []string{"1, where the name is rare or the number is listed", "0.5, where many people share the name"}
	case has("postal"), has("customer_no"):
		v.Value, v.Reasons = 0.5, []string{"an address or a number that others can look up: 0.5"}
	default:
		v.Value, v.Reasons = 0.25, []string{"nothing in the set names anybody: 0.25"}
		v.Borderline = []string{"0.5, where several fields together are unique"}
	}
	return v
}

// circumstances scores how the breach happened.
func circumstances(in api.SeverityInputs) (out []api.SeverityValue) {
	add := func(name string, value float64, reason string, borderline ...string) {
		out = append(out, api.SeverityValue{Name: name, Value: value, Reasons: []string{reason}, Borderline: borderline})
	}
	switch in.Recipients {
	case "none":
		add("confidentiality", 0, "exposed, and nothing shows that anybody processed it: 0", "0.5, where the absence of evidence is only that")
	case "known":
		add("confidentiality", 0.25, "a number of known recipients has it: +0.25")
	case "":
		add("confidentiality", 0.5, "nobody has said who has it, so an unknown number of recipients is assumed: +0.5", "0.25, where the recipients are known")
	default:
		add("confidentiality", 0.5, "an unknown number of recipients has it: +0.5")
	}
	switch in.Integrity {
	case "recoverable":
		add("integrity", 0.25, "data were altered and can be recovered: +0.25")
	case "lost":
		add("integrity", 0.5, "data were altered and cannot be recovered: +0.5")
	default:
		add("integrity", 0, "nothing was altered: 0")
	}
	switch in.Availability {
	case "temporary":
		add("availability", 0.25, "data were not available for a time: +0.25")
	case "lost":
		add("availability", 0.5, "data are lost: +0.5")
	default:
		add("availability", 0, "nothing was lost: 0")
	}
	switch in.Malicious {
	case "yes":
		add("intent", 0.5, "somebody meant harm: +0.5")
	case "no":
		add("intent", 0, "nobody meant harm: 0")
	default:
		add("intent", 0.5, "nobody has said whether harm was meant, so it is assumed: +0.5", "0, where it was a mistake")
	}
	return out
}

// Sign puts a person's values in the place of proposed ones. A value that the methodology
// does not have is refused, and so is going below the proposal without a reason.
func Sign(p api.Severity, req api.SeveritySign) (api.Severity, error) {
	out := p
	out.CB = slices.Clone(p.CB)
	change := func(v *api.SeverityValue, to *float64, allowed ...float64) error {
		if to == nil {
			return nil
		}
		if !slices.Contains(allowed, *to) {
			return fmt.Errorf("%w: %s is one of %v", ErrRequest, v.Name, allowed)
		}
		if *to < v.Value {
			out.Lowered = append(out.Lowered, fmt.Sprintf("%s from %g to %g", v.Name, v.Value, *to))
		}
		if *to != v.Value {
			v.Proposed, v.Value = v.Value, *to
		}
		return nil
	}
	if err := change(&out.DPC, req.DPC, 1, 2, 3, 4); err != nil {
		return p, err
	}
	if err := change(&out.EI, req.EI, 0.25, 0.5, 0.75, 1); err != nil {
		return p, err
	}
	for i := range out.CB {
		to := map[string]*float64{"confidentiality": req.Confidentiality, "integrity": req.AlteredValue, "availability": req.LostValue, "intent": req.Intent}[out.CB[i].Name]
		allowed := []float64{0, 0.25, 0.5}
		if out.CB[i].Name == "intent" {
			allowed = []float64{0, 0.5}
		}
		if err := change(&out.CB[i], to, allowed...); err != nil {
			return p, err
		}
	}
	if len(out.Lowered) > 0 && strings.TrimSpace(req.Reason) == "" {
		return p, fmt.Errorf("%w: below the proposal (%s): say why with a reason", ErrRequest, strings.Join(out.Lowered, ", "))
	}
	out.Flags, out.Reason = nil, req.Reason
	finish(&out)
	return out, nil
}
