package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/cloakroom/cloakroom/api"
	"gopkg.in/yaml.v3"
)

// cardInName is a card number in a text that can be a name too.
const cardInName = "c5500000000000004"

// textDoor is an operation of the API with a body that has texts.
type textDoor struct {
	as   string // role of the caller; empty: the local administrator
	body string // a body that is right in all but the text that is tried
	// instead says for texts by their place what becomes of a card number there, where it is
	// not refused as one: the type of another refusal, or accepted, where it is not kept.
	instead map[string]string
	// value is what is tried where a bare name is never right.
	value map[string]string
	key   string // of a map
}

const accepted = "accepted"

// doors are all operations with a body: a new one fails the test until it stands here.
var doors = map[string]textDoor{
	"brand-create": {body: `{"name":"b1"}`},
	"loyalty-prefix-set": {body: `{"prefixes":["600649"],"fields":["external_id"]}`,
		value: map[string]string{"fields": "attr." + cardInName}, instead: map[string]string{"prefixes": api.TypeInvalid}},
	"default-country-set": {body: `{"country":"FR"}`, instead: map[string]string{"country": api.TypeInvalid}},
	"standing-set":        {as: "data-protection-officer", body: `{"standing":["minor"]}`, instead: map[string]string{"standing": api.TypeInvalid}},
	"feed": {as: "application", body: `[{"source":"shop","position":1,"customer":{"external_id":"D-2"}}]`, key: "attr.note",
		instead: map[string]string{ // a purchase needs more than one text: the test of feeds tries it
			"[].changed_at": api.TypeInvalid, "[].purchase.amount": api.TypeInvalid, "[].purchase.at": api.TypeInvalid, "[].purchase.channel": api.TypeInvalid,
			"[].purchase.currency": api.TypeInvalid, "[].purchase.description": api.TypeInvalid, "[].purchase.external_id": api.TypeInvalid,
			"[].purchase.purchase_id": api.TypeInvalid, "[].purchase.sku": api.TypeInvalid, "[].purchase.store": api.TypeInvalid,
		}},
	"purpose-create":     {body: `{"name":"p1","legal_basis":"consent"}`},
	"principal-create":   {body: `{"name":"n1","kind":"person"}`, key: "gucci", instead: map[string]string{"roles.*": api.TypeInvalid, "owner": api.TypeNotFound, "country": api.TypeInvalid}},
	"principal-describe": {body: `{"display_name":"Ann"}`},
	"settings-set": {body: `{}`, instead: map[string]string{"country": api.TypeInvalid, "phone_country": api.TypeInvalid, "languages": api.TypeInvalid,
		"mail_from": api.TypeInvalid, "mail_reply_to": api.TypeInvalid, "loyalty_prefixes": api.TypeInvalid, "loyalty_fields": api.TypeInvalid}},
	"rights-adopt":           {body: `{"digest":"x"}`, instead: map[string]string{"digest": api.TypeConflict, "void": api.TypeConflict}},
	"role-set":               {body: `{"role":"application"}`, instead: map[string]string{"role": api.TypeInvalid}},
	"credential-create":      {body: `{}`, instead: map[string]string{"valid_for": api.TypeInvalid}},
	"credential-connect":     {as: "support-agent", body: `{}`, instead: map[string]string{"valid_for": api.TypeInvalid}},
	"customers-put":          {as: "application", body: `{"customers":[{"external_id":"D-1"}]}`, key: "attr.note"},
	"customer-patch":         {as: "application", body: `{}`, key: "attr.note"},
	"erasure-begin":          {as: "data-protection-officer", body: `{"token":"TOKEN"}`, instead: map[string]string{"token": api.TypeUnknownToken}},
	"erase-now":              {as: "data-protection-officer", body: `{"tokens":["TOKEN"]}`, instead: map[string]string{"tokens": api.TypeUnknownToken}},
	"erasure-undo":           {as: "data-protection-officer", body: `{"tokens":["TOKEN"]}`, instead: map[string]string{"tokens": api.TypeUnknownToken}},
	"erasure-cooling-set":    {body: `{"days":14}`},
	"erasure-tombstones-set": {body: `{"days":1095}`},
	"withheld-admit":         {as: "data-protection-officer", body: `{"ids":["wh_1"],"reason":"r"}`, instead: map[string]string{"ids": api.TypeNotFound}},
	"withheld-refuse":        {as: "data-protection-officer", body: `{"ids":["wh_1"]}`, instead: map[string]string{"ids": api.TypeNotFound, "reason": api.TypeNotFound /* not kept */}},
	"hold-place": {as: "data-protection-officer", body: `{"tokens":["TOKEN"],"ground":"claim","review":"2999-12-31"}`, instead: map[string]string{
		"tokens": api.TypeUnknownToken, "external_ids": accepted /* not kept */, "from": api.TypeInvalid, "to": api.TypeInvalid, "review": api.TypeInvalid}},
	"hold-release": {as: "data-protection-officer", body: `{"reason":"claim withdrawn"}`},
	"erasure-take-back": {as: "data-protection-officer", body: `{"code":"x","address":"x"}`, instead: map[string]string{
		"code": api.TypeNotFound, "address": api.TypeNotFound, "country": api.TypeInvalid}}, // none is kept
	"principal-invite": {body: `{"people":[{"name":"n2"}]}`, key: "gucci",
		instead: map[string]string{"roles.*": api.TypeInvalid, "people.kind": api.TypeInvalid, "until": api.TypeInvalid, "people.mail": api.TypeInvalid}},
	"invitation-redeem":  {body: `{"code":"x"}`, instead: map[string]string{"code": api.TypeNotFound}},
	"credential-redeem":  {body: `{"code":"x"}`, instead: map[string]string{"code": api.TypeNotFound}},
	"approval-begin":     {as: "application", body: `{"mapping":"abababababababababababababababababababababababababababababababab"}`, instead: map[string]string{"mapping": api.TypeInvalid, "customers": api.TypeInvalid, "purchases": api.TypeInvalid, "service": api.TypeNotFound}},
	"approval-rehearse":  {as: "application", body: `{"customers":[{"external_id":"D-1"}]}`, key: "attr.note", instead: map[string]string{"customers.*": api.TypeNotFound, "mapping": api.TypeNotFound}},
	"approval-request":   {as: "application", body: `{}`},
	"approval-standing":  {body: `{"service":"analyst","mapping":"abababababababababababababababababababababababababababababababab","fields":["city"],"most_per_day":5,"until":"2027-01-01T00:00:00Z"}`, instead: map[string]string{"service": api.TypeNotFound, "mapping": api.TypeInvalid, "fields": api.TypeInvalid}},
	"approved-customers": {as: "application", body: `{"customers":[{"external_id":"D-1"}]}`, key: "attr.note", instead: map[string]string{"customers.*": api.TypeNotFound, "mapping": api.TypeNotFound}},
	"approved-purchases": {as: "application", body: `{"customers":[{"external_id":"Z-1","purchases":[{"purchase_id":"1","at":"2024-05-31","sku":"a","amount":"1.00","currency":"EUR"}]}]}`, instead: map[string]string{
		"customers.external_id": api.TypeNotFound, "customers.token": api.TypeNotFound, "mapping": api.TypeNotFound, "customers.purchases.currency": api.TypeInvalid,
		"customers.purchases.amount": api.TypeNotFound, "customers.purchases.at": api.TypeNotFound, "customers.purchases.channel": api.TypeNotFound, "customers.purchases.description": api.TypeNotFound,
		"customers.purchases.purchase_id": api.TypeNotFound, "customers.purchases.sku": api.TypeNotFound, "customers.purchases.store": api.TypeNotFound}},
	"change-break-glass": {body: `{"reason":"nobody is there"}`},
	"purchases-add": {as: "application", body: `{"customers":[{"external_id":"Z-1","purchases":[{"purchase_id":"1","at":"2024-05-31","sku":"a","amount":"1.00","currency":"EUR"}]}]}`,
		instead: map[string]string{
			"customers.external_id":        accepted, // finds nobody
			"customers.token":              api.TypeInvalid,
			"customers.purchases.currency": api.TypeInvalid,
		}},
	"search": {as: "support-agent", body: `{"by":"external_id","value":"Z-1","purpose":"customer-support","ticket":"T-1"}`,
		instead: map[string]string{"value": accepted /* finds nobody */, "country": api.TypeInvalid, "purpose": api.TypeUnknownPurpose}},
	"reveal": {as: "support-agent", body: `{"tokens":["TOKEN"],"fields":["email"],"purpose":"customer-support","ticket":"T-1"}`,
		instead: map[string]string{"tokens": api.TypeUnknownToken, "fields": api.TypeInvalid, "purpose": api.TypeUnknownPurpose}},
	"policy-apply":     {body: `{"text":"x"}`, value: map[string]string{"text": "// " + cardInName}},
	"budget-set":       {body: `{"rules":""}`, instead: map[string]string{"version": api.TypeInvalid /* before it, that there are no rules */}},
	"detection-set":    {body: `{"rules":""}`},
	"detection-replay": {as: "incident-responder", body: `{}`},
	"alarm-raise":      {as: "incident-responder", body: `{"severity":"high","source":"call"}`, instead: map[string]string{"principal": api.TypeNotFound}},
	"alarm-close":      {as: "incident-responder", body: `{"reason":"expected"}`},
	"receiver-confirm": {as: "incident-responder", body: `{"code":"x"}`, instead: map[string]string{"code": api.TypeNotFound}},
	"receiver-create":  {body: `{"name":"r1","url":"https://soc.gucci.example/"}`, value: map[string]string{"url": "https://soc.gucci.example/" + cardInName}},
	"export-request": {as: "data-protection-officer", body: `{"form":"clear","fields":["email"],"purpose":"migration","recipient":"RECIPIENT","tokens":["TOKEN"]}`,
		instead: map[string]string{
			"fields": api.TypeInvalid, "purpose": api.TypeUnknownPurpose, "recipient": api.TypeInvalid, "valid_for": api.TypeInvalid,
			"tokens": api.TypeUnknownToken, "filter.bought_since": api.TypeInvalid, "filter.created_from": api.TypeInvalid,
			"filter.created_before": api.TypeInvalid, "filter.countries": api.TypeInvalid,
		}},
	"contain": {as: "incident-responder", body: `{"principal":"support-agent"}`,
		instead: map[string]string{"principal": api.TypeNotFound, "role": api.TypeInvalid, "alarm": api.TypeNotFound}},
	"incident-open": {as: "incident-responder", body: `{"title":"t"}`, instead: map[string]string{
		"source": api.TypeInvalid, "alarm": api.TypeNotFound, "brands": api.TypeInvalid}},
	"incident-fact": {as: "incident-responder", body: `{"name":"note","text":"t"}`, instead: map[string]string{
		"name": api.TypeInvalid, "when": api.TypeInvalid, "brand": api.TypeInvalid, "rule": api.TypeInvalid, "reference": api.TypeInvalid, "receipt": api.TypeInvalid}},
	"incident-severity":       {as: "incident-responder", body: `{}`, instead: map[string]string{"brand": api.TypeInvalid}},
	"incident-severity-sign":  {as: "incident-responder", body: `{}`, instead: map[string]string{"brand": api.TypeInvalid}},
	"incident-duties":         {as: "incident-responder", body: `{}`, instead: map[string]string{"what_if": api.TypeInvalid}},
	"incident-duties-compare": {as: "incident-responder", body: `{}`, instead: map[string]string{"before": api.TypeInvalid, "after": api.TypeInvalid}},
	"notice-draft": {as: "incident-responder", body: `{"form":"eu-art33"}`, key: "consequences", instead: map[string]string{
		"form": api.TypeNotFound, "rule": api.TypeInvalid, "brand": api.TypeInvalid, "language": api.TypeInvalid, "phase": api.TypeInvalid}},
	"notice-review": {as: "incident-responder", body: `{"digest":"abababababababababababababababababababababababababababababababab"}`, instead: map[string]string{"digest": api.TypeInvalid}},
	"notice-filed": {as: "incident-responder", body: `{"when":"2026-11-30T10:00:00Z"}`, instead: map[string]string{
		"when": api.TypeInvalid, "receipt": api.TypeInvalid}},
	"notice-text-load":   {as: "incident-responder", body: `{"text":"x"}`},
	"notice-text-review": {as: "incident-responder", body: `{"digest":"abababababababababababababababababababababababababababababababab"}`, instead: map[string]string{"digest": api.TypeInvalid}},
	"incident-rules":     {as: "incident-responder", body: `{}`},
	"evidence-begin": {as: "incident-responder", body: `{}`, instead: map[string]string{
		"fields": api.TypeInvalid, "purpose": api.TypeInvalid, "recipient": api.TypeInvalid}},
	"evidence-handed": {as: "incident-responder", body: `{"digest":"abababababababababababababababababababababababababababababababab","to":"CNIL"}`, instead: map[string]string{"digest": api.TypeInvalid}},
	"incident-close":  {as: "incident-responder", body: `{"summary":"s"}`},
	"incident-scope": {as: "incident-responder", body: `{"any":[{"purposes":["p"]}]}`, instead: map[string]string{
		"any.fields": api.TypeInvalid, "any.levels": api.TypeInvalid, "any.kinds": api.TypeInvalid, "any.from": api.TypeInvalid, "any.to": api.TypeInvalid,
		"brands": api.TypeInvalid, "except.fields": api.TypeInvalid, "except.levels": api.TypeInvalid, "except.kinds": api.TypeInvalid,
		"except.from": api.TypeInvalid, "except.to": api.TypeInvalid,
	}},
	"scope": {as: "incident-responder", body: `{"any":[{"purposes":["p"]}]}`, instead: map[string]string{
		"any.fields": api.TypeInvalid, "any.levels": api.TypeInvalid, "any.kinds": api.TypeInvalid, "any.from": api.TypeInvalid, "any.to": api.TypeInvalid,
		"brands":        api.TypeInvalid,
		"except.fields": api.TypeInvalid, "except.levels": api.TypeInvalid, "except.kinds": api.TypeInvalid, "except.from": api.TypeInvalid,
		"except.to": api.TypeInvalid,
	}},
	"canary-place": {as: "incident-responder", body: `{"count":20}`},
	"canary-mail": {as: "mail-receiver", body: `{"recipients":["a@b.example"]}`, instead: map[string]string{
		"recipients": accepted, "sender_domain": accepted, // kept of decoys alone; the test of free texts asks for them
		"network": api.TypeInvalid, "message_hash": api.TypeInvalid,
	}},
	"backup-start": {body: `{"dir":"/nowhere"}`, instead: map[string]string{"dir": api.TypeInvalid, "parts": api.TypeInvalid, "recipients": api.TypeInvalid}},
	"log-verify":   {body: `{}`, instead: map[string]string{"older": accepted /* compared */}},
	"log-expire":   {body: `{"before":"2024-05-31","dry_run":true}`, instead: map[string]string{"before": api.TypeInvalid}},
	"check":        {body: `{}`},
	"mend":         {body: `{}`},

	"template-set":         {body: `{"template":{"name":"t","purpose":"order-fulfilment","variants":[{"language":"en","subject":"s","text":"t"}]}}`},
	"message-send":         {as: "application", body: `{"template":"t","tokens":["TOKEN"]}`, instead: map[string]string{"template": api.TypeConflict, "tokens": api.TypeConflict /* before them, that the brand has no sender */}},
	"message-stop":         {body: `{}`},
	"message-resume":       {body: `{}`},
	"message-settle":       {body: `{"token":"TOKEN","as":"accepted"}`, instead: map[string]string{"token": api.TypeNotFound}},
	"message-test":         {body: `{"template":"t","to":"a@gucci.example"}`, instead: map[string]string{"template": api.TypeLogUnavailable, "language": api.TypeLogUnavailable, "to": api.TypeLogUnavailable}},
	"opt-out":              {as: "application", body: `{"token":"TOKEN","channel":"news"}`, instead: map[string]string{"token": api.TypeUnknownToken}},
	"bounce":               {as: "incident-responder", body: `{"message":"m"}`, instead: map[string]string{"message": api.TypeInvalid}},
	"campaign-plan":        {as: "incident-responder", body: `{"incident":"1","scope_version":1,"template":"t"}`, instead: map[string]string{"incident": api.TypeConflict, "template": api.TypeConflict}},
	"campaign-request":     {as: "incident-responder", body: `{}`},
	"campaign-pause":       {as: "incident-responder", body: `{}`},
	"campaign-hold":        {as: "incident-responder", body: `{"until":"2027-01-01T00:00:00Z"}`},
	"campaign-resume":      {as: "incident-responder", body: `{}`},
	"campaign-stop":        {as: "incident-responder", body: `{}`},
	"campaign-settle":      {as: "incident-responder", body: `{"token":"TOKEN","as":"accepted"}`, instead: map[string]string{"token": api.TypeNotFound}},
	"campaign-print-house": {as: "incident-responder", body: `{"recipient":"Rossi"}`, instead: map[string]string{"recipient": api.TypeNotFound, "country": api.TypeInvalid}},
	"campaign-letters":     {as: "incident-responder", body: `{"recipient":"Rossi"}`, instead: map[string]string{"recipient": api.TypeNotFound, "country": api.TypeInvalid}},
	"campaign-printed":     {as: "incident-responder", body: `{"rows":[1],"as":"printed"}`},
	"incident-approve":     {as: "incident-responder", body: `{"version":1}`},
	"incident-breakdown":   {as: "incident-responder", body: `{"version":1}`},
	"log-accept-loss":      {body: `{"reason":"r"}`},
}

// apiText is what tests read of the API's description.
type apiText struct {
	Paths map[string]map[string]struct {
		OperationID string `yaml:"operationId"`
		RequestBody struct {
			Content map[string]struct{ Schema *schema }
		} `yaml:"requestBody"`
	}
	Components struct{ Schemas map[string]*schema }
}

func (h *house) description() (d apiText) {
	h.t.Helper()
	b, err := os.ReadFile(described)
	h.must(err)
	h.must(yaml.Unmarshal(b, &d))
	return d
}

// answered is what a caller sees of an answer, or of an error in its place.
func answered(out json.RawMessage, err error) string {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return fmt.Sprint(e.Status, e.Type, e.Error())
	}
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// placed is a path of the API with names that are there, of somebody's token.
func placed(path, token string) string {
	return strings.NewReplacer("{brand}", "gucci", "{token}", token, "{name}", "analyst", "{alarm}", "gucci-1-volume", "{number}", "9",
		"{job}", "9", "{incident}", "1", "{language}", "it").Replace(path)
}

// TestEveryDoorRefusesCards tries a card number in every text of every body that the API
// describes.
func TestEveryDoorRefusesCards(t *testing.T) {
	onEach(t, everyDoorRefusesCards)
}

func everyDoorRefusesCards(t *testing.T, h *house) {
	ctx := t.Context()
	id, err := age.GenerateX25519Identity()
	h.must(err)
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	_, err = h.as["incident-responder"].OpenIncident(ctx, "gucci", api.IncidentRequest{Title: "a test of doors"})
	h.must(err)
	doc := h.description()
	tried := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			body, ok := op.RequestBody.Content["application/json"]
			if !ok {
				continue
			}
			d, ok := doors[op.OperationID]
			if !ok {
				t.Errorf("%s has a body and is not in the table of doors", op.OperationID)
				continue
			}
			tried[op.OperationID] = true
			path := placed(path, w.Results[0].Token)
			for _, leaf := range body.Schema.texts(doc.Components.Schemas, nil, 0) {
				place := strings.ReplaceAll(strings.Join(leaf, "."), ".[]", "")
				value := d.value[place]
				if value == "" {
					value = cardInName
				}
				var in any
				h.must(json.Unmarshal([]byte(strings.NewReplacer("TOKEN", w.Results[0].Token, "RECIPIENT", id.Recipient().String()).Replace(d.body)), &in))
				if i := slices.Index(leaf, "*"); i >= 0 {
					leaf = slices.Clone(leaf)
					leaf[i] = d.key
				}
				if m, ok := in.(map[string]any); ok && leaf[0] == "filter" {
					delete(m, "tokens")
				}
				in = with(in, leaf, value)
				as := h.Client
				if d.as != "" {
					as = h.as[d.as]
				}
				var answer struct{ Records []api.FedRecord }
				err := as.Do(ctx, strings.ToUpper(method), path, in, &answer)
				got := accepted
				if len(answer.Records) == 1 && !answer.Records[0].Accepted { // a feed answers each record
					if got = api.TypeInvalid; answer.Records[0].Reject.Code == "card-number-refused" {
						got = api.TypeCardNumber
					}
				}
				if e, ok := errors.AsType[*api.Error](err); ok {
					got = e.Type
				} else if err != nil {
					got = err.Error()
				}
				want := d.instead[place]
				if want == "" {
					want = api.TypeCardNumber
				}
				if got != want {
					t.Errorf("%s, %s: %s, not %s (%v)", op.OperationID, place, got, want, err)
				}
				if err != nil && (strings.Contains(err.Error(), "0000")) {
					t.Errorf("%s, %s repeats the number: %v", op.OperationID, place, err)
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(doors)) {
		if !tried[id] {
			t.Errorf("%s is in the table of doors and not in the API", id)
		}
	}
}

// schema is what the test reads of a JSON schema.
type schema struct {
	Ref                  string `yaml:"$ref"`
	Type                 any
	Enum                 []any
	Format               string
	ReadOnly             bool `yaml:"readOnly"`
	Properties           map[string]*schema
	Items                *schema
	AdditionalProperties any `yaml:"additionalProperties"`
}

// texts returns the places of all texts that a caller may choose: [] for an element of a
// list, * for a value of a map.
func (s *schema) texts(all map[string]*schema, at []string, depth int) (out [][]string) {
	if s.Ref != "" {
		s = all[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]
	}
	if depth > 8 || s.ReadOnly || len(s.Enum) > 0 || s.Format == "date-time" {
		return nil
	}
	if strings.Contains(fmt.Sprint(s.Type), "string") {
		return [][]string{at}
	}
	if s.Items != nil {
		out = append(out, s.Items.texts(all, append(slices.Clone(at), "[]"), depth+1)...)
	}
	if m, ok := s.AdditionalProperties.(map[string]any); ok && m["type"] == "string" {
		out = append(out, append(slices.Clone(at), "*"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if name != "$schema" {
			out = append(out, s.Properties[name].texts(all, append(slices.Clone(at), name), depth+1)...)
		}
	}
	return out
}

// with returns a body in which a text is another.
func with(in any, at []string, value string) any {
	if len(at) == 0 {
		return value
	}
	if at[0] == "[]" {
		list, _ := in.([]any)
		if len(list) == 0 {
			list = []any{nil}
		}
		list = slices.Clone(list)
		list[0] = with(list[0], at[1:], value)
		return list
	}
	m, _ := in.(map[string]any)
	if m = maps.Clone(m); m == nil {
		m = map[string]any{}
	}
	m[at[0]] = with(m[at[0]], at[1:], value)
	return m
}
