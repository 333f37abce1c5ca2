package evidence

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// The exports say what a file of evidence says, in the words of other systems. They are
// made of a file that was verified, name no customer, and are the same each time.

// object is one of JSON.
type object map[string]any

// ExportAs are the names of the exports.
func ExportAs() []string { return []string{"stix", "veris", "ocsf"} }

// Export returns the incident of a verified file in the form of another system: a bundle of
// STIX 2.1, an incident of VERIS 1.4.1, or an Incident Finding of OCSF 1.8.
func (r *FileReport) Export(as string) ([]byte, error) {
	if !r.Good() || r.Incident == nil {
		return nil, fmt.Errorf("%w: it is not exported", ErrFault)
	}
	var out object
	switch as {
	case "stix":
		out = r.stix()
	case "veris":
		out = r.veris()
	case "ocsf":
		out = r.ocsf()
	default:
		return nil, fmt.Errorf("an export is one of %s", strings.Join(ExportAs(), ", "))
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("exporting as %s: %w", as, err)
	}
	return append(b, '\n'), nil
}

// figures are those of the newest version of the scope.
func (r *FileReport) figures() (records, disclosures int, persons api.Persons, ok bool) {
	n := len(r.Incident.Scopes)
	if n == 0 {
		return 0, 0, persons, false
	}
	v := &r.Incident.Scopes[n-1]
	for _, p := range v.Parts {
		records, disclosures = records+p.Records, disclosures+p.Disclosures
		persons.AtLeast = max(persons.AtLeast, p.Records)
	}
	persons.AtMost = records
	return records, disclosures, persons, true
}

// fact returns the newest version of a fact that has a time.
func (r *FileReport) fact(name string) (at time.Time) {
	for _, f := range r.Incident.Facts {
		if f.Name == name && !f.Replaced && !f.When.IsZero() {
			at = f.When
		}
	}
	return at.UTC()
}

// began is when the incident occurred, as far as people said, else when it was opened.
func (r *FileReport) began() time.Time {
	if at := r.fact("occurred-from"); !at.IsZero() {
		return at
	}
	return r.Incident.Opened.UTC()
}

// sentence sums the figures up.
func (r *FileReport) sentence() string {
	records, disclosures, persons, ok := r.figures()
	if !ok {
		return "The scope was not counted."
	}
	return fmt.Sprintf("Version %d of the scope: %d customer records in %d disclosures, of at least %d and at most %d persons. Evidence %s.",
		len(r.Incident.Scopes), records, disclosures, persons.AtLeast, persons.AtMost, r.Digest)
}

// namespace is that of the identifiers that exports derive (RFC 9562, version 5).
const namespace = "cloakroom evidence export 1\x00"

// uuid derives an identifier from what it stands for.
func (r *FileReport) uuid(what string) string {
	sum := sha1.Sum([]byte(namespace + r.Signer + "\x00" + r.Subject.Incident + "\x00" + what)) // an identifier, and no proof of anything
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func stixTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (r *FileReport) stix() object {
	x := r.Incident
	made, opened := stixTime(r.Made), stixTime(x.Opened)
	owner := "identity--" + r.uuid("owner "+x.Owner)
	common := func(kind, what, at string) object {
		return object{"type": kind, "spec_version": "2.1", "id": kind + "--" + r.uuid(what), "created": at, "modified": max(at, made), "created_by_ref": owner}
	}
	with := func(o object, pairs ...any) object {
		for i := 0; i < len(pairs); i += 2 {
			o[pairs[i].(string)] = pairs[i+1]
		}
		return o
	}
	objects := []object{{"type": "identity", "spec_version": "2.1", "id": owner, "created": opened, "modified": opened, "name": x.Owner, "identity_class": "organization"}}
	incident := with(common("incident", "incident", opened), "name", x.Title, "description", r.sentence(),
		"external_references", []object{{"source_name": "cloakroom", "external_id": r.Signer + "#" + x.ID, "description": "SHA-256 of the signed manifest of the evidence: " + r.Digest}})
	refs := []string{owner, incident["id"].(string)}
	objects = append(objects, incident)
	for i := range x.Facts {
		f := &x.Facts[i]
		text := f.Name
		if !f.When.IsZero() {
			text += " " + f.When.UTC().Format(time.RFC3339)
		}
		if f.Text != "" {
			text += ": " + f.Text
		}
		if f.Replaced {
			text += " (a later version took its place)"
		}
		n := with(common("note", fmt.Sprint("fact ", f.Entry), stixTime(f.At)), "abstract", f.Name, "content", text,
			"authors", []string{cmp.Or(f.Said, f.By, "unknown")}, "object_refs", []string{incident["id"].(string)})
		refs = append(refs, n["id"].(string))
		objects = append(objects, n)
	}
	report := with(common("report", "report", made), "name", "Evidence of "+x.Title, "description", r.sentence(), "published", made, "report_types", []string{"incident"}, "object_refs", refs)
	return object{"type": "bundle", "id": "bundle--" + r.uuid("bundle "+r.Digest), "objects": append(objects, report)}
}

func (r *FileReport) veris() object {
	x := r.Incident
	began := r.began()
	span := func(to time.Time) object {
		if to.IsZero() || to.Before(began) {
			return object{"unit": "Unknown"}
		}
		return object{"unit": "Seconds", "value": int(to.Sub(began).Seconds())}
	}
	found, variety := "internal", "Unknown"
	switch x.Source {
	case "alarm":
		variety = "Security alarm"
	case "report":
		found = "external"
	}
	records, _, _, counted := r.figures()
	leaked := object{"data_disclosure": "Potentially", "data_victim": []string{"Customer"}, "data": []object{{"variety": "Personal"}}}
	if counted {
		leaked["data_total"] = records
		leaked["data"] = []object{{"variety": "Personal", "amount": records}}
	}
	state := "Suspected"
	if !r.fact("determined").IsZero() || !r.fact("personal-data-hit").IsZero() {
		state = "Confirmed"
	}
	return object{
		"schema_version": "1.4.1", "incident_id": r.uuid("incident"), "security_incident": state, "summary": x.Title + ". " + r.sentence(),
		"reference": r.Signer + "#" + x.ID, "source_id": "cloakroom",
		"timeline": object{
			"incident":    object{"year": began.Year(), "month": int(began.Month()), "day": began.Day()},
			"discovery":   span(r.fact("detected")),
			"containment": span(r.fact("contained")),
		},
		"actor":            object{"unknown": object{"notes": "The log names principals and credentials, not who used them."}},
		"action":           object{"unknown": object{"notes": "How access was gained is not in the log."}},
		"asset":            object{"assets": []object{{"variety": "S - Database"}}, "cloud": []string{"Unknown"}},
		"attribute":        object{"confidentiality": leaked},
		"discovery_method": object{found: object{"variety": []string{variety}}},
		"victim":           object{"victim_id": x.Owner, "country": []string{"Unknown"}, "industry": "000", "employee_count": "Unknown", "government": []string{"NA"}},
		"plus":             object{"master_id": r.uuid("master"), "created": r.Made.UTC().Format(time.RFC3339), "modified": r.Made.UTC().Format(time.RFC3339)},
	}
}

// ocsfVersion is the release of OCSF whose Incident Finding is written.
const ocsfVersion = "1.8.0"

func (r *FileReport) ocsf() object {
	x := r.Incident
	const class, category = 2005, 2
	activity, state := 1, 2 // created, in progress
	if !x.Closed.IsZero() {
		activity, state = 3, 5 // closed
	}
	findings := []object{{"uid": r.Signer + "#" + x.ID, "title": x.Title, "created_time": x.Opened.UnixMilli()}}
	if x.Alarm != "" {
		findings = append(findings, object{"uid": x.Alarm, "title": "alarm"})
	}
	out := object{
		"class_uid": class, "category_uid": category, "activity_id": activity, "type_uid": class*100 + activity, "severity_id": 0,
		"status_id": state, "time": x.Opened.UnixMilli(), "start_time": r.began().UnixMilli(), "desc": x.Title, "message": r.sentence(),
		"finding_info_list":   findings,
		"is_suspected_breach": true,
		"metadata":            object{"version": ocsfVersion, "product": object{"name": "Cloakroom", "vendor_name": "Cloakroom"}, "uid": r.Digest},
	}
	if at := r.fact("occurred-to"); !at.IsZero() {
		out["end_time"] = at.UnixMilli()
	}
	return out
}
