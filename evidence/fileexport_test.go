package evidence

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cloakroom/cloakroom/api"
)

// exported returns an export of a file with facts, as its reader has it.
func exported(t *testing.T, as string, change func(r *FileReport)) map[string]any {
	t.Helper()
	b := built(t)
	b.story.Opened, b.story.Closed = b.at, b.at.Add(time.Hour)
	r, err := verify(t, b.file(nil), b.key.vkey)
	if err != nil {
		t.Fatal(err, r.Faults)
	}
	if change != nil {
		change(r)
	}
	text, err := r.Export(as)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Export(as)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("a second export differs: %v", err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return out.(map[string]any)
}

// tell gives an incident every kind of fact that an export reads.
func tell(r *FileReport) {
	at := r.Made.Add(-48 * time.Hour)
	for i, name := range api.FactNames() {
		r.Incident.Facts = append(r.Incident.Facts, api.Fact{Entry: uint64(100 + i), At: r.Made, By: "ines", Name: name, When: at.Add(time.Duration(i) * time.Hour), Said: "Dana", Text: "in words", Replaced: i == 3})
	}
	r.Incident.Alarm, r.Incident.Source = "1234-walk", "alarm"
}

// schemas compiles published schemas from a folder, under the addresses that they name.
func schemas(t *testing.T, dir, base string) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return c.AddResource(base+filepath.ToSlash(rel), doc)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each object is valid by the OASIS schema of its type. Their schema of a bundle leaves
// incident out.
func TestSTIXIsValidByThePublishedSchemas(t *testing.T) {
	const base = "http://raw.githubusercontent.com/oasis-open/cti-stix2-json-schemas/stix2.1/schemas/"
	c := schemas(t, "testdata/published/stix/schemas", base)
	for _, change := range []func(r *FileReport){nil, tell, func(r *FileReport) { r.Incident.Scopes = nil }} {
		bundle := exported(t, "stix", change)
		seen := map[string]int{}
		ids := map[any]bool{}
		for _, x := range bundle["objects"].([]any) {
			o := x.(map[string]any)
			kind := o["type"].(string)
			s, err := c.Compile(base + "sdos/" + kind + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(o); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			if ids[o["id"]] {
				t.Errorf("two objects are %v", o["id"])
			}
			ids[o["id"]] = true
			seen[kind]++
		}
		for _, x := range bundle["objects"].([]any) {
			for _, ref := range append(list(x.(map[string]any)["object_refs"]), x.(map[string]any)["created_by_ref"]) {
				if ref != nil && !ids[ref] {
					t.Errorf("%v is referred to and is not in the bundle", ref)
				}
			}
		}
		if seen["incident"] != 1 || seen["identity"] != 1 || seen["report"] != 1 || seen["note"] < 1 {
			t.Errorf("the bundle has %v", seen)
		}
	}
	// The check can fail.
	s, err := c.Compile(base + "sdos/incident.json")
	if err != nil {
		t.Fatal(err)
	}
	if s.Validate(map[string]any{"type": "incident", "id": "incident--1"}) == nil {
		t.Error("an incident without a name is valid")
	}
}

func list(x any) []any {
	l, _ := x.([]any)
	return l
}

func TestVERISIsValidByThePublishedSchema(t *testing.T) {
	s, err := schemas(t, "testdata/published/veris", "https://veris.test/").Compile("https://veris.test/verisc-merged.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(r *FileReport){nil, tell, func(r *FileReport) { r.Incident.Scopes, r.Incident.Source = nil, "report" }} {
		x := exported(t, "veris", change)
		if err := s.Validate(x); err != nil {
			t.Error(err)
		}
		x["security_incident"] = "Perhaps"
		if s.Validate(x) == nil {
			t.Error("the check finds nothing")
		}
	}
	x := exported(t, "veris", tell)
	if x["security_incident"] != "Confirmed" || x["timeline"].(map[string]any)["discovery"].(map[string]any)["unit"] != "Unknown" {
		t.Errorf("%v", x)
	}
}

// attributes are those of an object or event of OCSF.
type attributes map[string]struct {
	Requirement string
	Enum        map[string]any
}

func ocsfOf(t *testing.T, names ...string) attributes {
	t.Helper()
	out := attributes{}
	for _, name := range names {
		b, err := os.ReadFile("testdata/published/ocsf/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Attributes map[string]json.RawMessage }
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		for k, raw := range doc.Attributes {
			a := out[k]
			if strings.HasPrefix(k, "$") || json.Unmarshal(raw, &a) != nil {
				continue
			}
			out[k] = a
		}
	}
	return out
}

// fits finds attributes that OCSF has not, required ones that are missing, and values that
// are none of an enumeration.
func (a attributes) fits(o map[string]any) (faults []string) {
	for k := range o {
		if _, ok := a[k]; !ok {
			faults = append(faults, "no such attribute: "+k)
		}
	}
	for k, x := range a {
		v, ok := o[k]
		if !ok && x.Requirement == "required" {
			faults = append(faults, "missing: "+k)
		}
		if n, isNumber := v.(json.Number); isNumber && len(x.Enum) > 0 && x.Enum[n.String()] == nil {
			faults = append(faults, "not of its enumeration: "+k)
		}
	}
	return faults
}

func TestOCSFHasTheAttributesThatAreDefined(t *testing.T) {
	event := ocsfOf(t, "base_event", "finding", "incident_finding")
	delete(event, "finding_info")                             // an Incident Finding has a list of them
	for _, k := range []string{"class_uid", "category_uid"} { // their numbers are given where classes are put together
		x := event[k]
		x.Enum = nil
		event[k] = x
	}
	x := event["type_uid"]
	x.Enum = nil
	event["type_uid"] = x
	for _, change := range []func(r *FileReport){nil, tell} {
		o := exported(t, "ocsf", change)
		for what, faults := range map[string][]string{
			"the event": event.fits(o),
			"metadata":  ocsfOf(t, "object_metadata").fits(o["metadata"].(map[string]any)),
			"product":   ocsfOf(t, "object__entity", "object_product").fits(o["metadata"].(map[string]any)["product"].(map[string]any)),
			"finding":   ocsfOf(t, "object_finding_info").fits(o["finding_info_list"].([]any)[0].(map[string]any)),
		} {
			if len(faults) > 0 {
				t.Errorf("%s: %q", what, faults)
			}
		}
		delete(o, "status_id")
		o["shoe_size"] = 42
		if got := event.fits(o); len(got) != 2 {
			t.Errorf("the check finds %q", got)
		}
	}
}

// What does not verify is not exported, nor under a name that is not known.
func TestOnlyWhatVerifiesIsExported(t *testing.T) {
	b := built(t)
	r, err := verify(t, b.file(func(b *builder) { b.retell(func(x *api.Incident) { x.Facts[0].Text = "not seen" }) }), b.key.vkey)
	if err == nil {
		t.Fatal("a lie verifies")
	}
	for _, as := range ExportAs() {
		if _, err := r.Export(as); err == nil {
			t.Errorf("a lie is exported as %s", as)
		}
	}
	if _, err = verify(t, b.file(nil), b.key.vkey); err == nil {
		t.Fatal("the story is still the lie's")
	}
	r, err = verify(t, built(t).file(nil), b.key.vkey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Export("csv"); err == nil {
		t.Error("an unknown form is exported")
	}
}
