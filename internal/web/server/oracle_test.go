package server_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// suspect is a value of which somebody wants to know whether it is a customer's, who has a
// list of such from another breach.
type suspect struct {
	field, known string
	stranger     string // with a number: who was a stranger may be a customer after a write
}

var suspects = []suspect{
	{"external_id", "KN-0000077", "UN-%07d"},
	{"email", "grace.known77@mail.example", "grace.%07d@mail.example"},
	{"phone", "+393331234567", "+39333%07d"},
}

// told are operations that tell a customer from a stranger, by the place of the text. They
// cost a search of the budget each time, found or not, and so answer alike once it is used up.
var told = map[string]bool{
	"search value": true,
	// A row that was written says whether it made a customer or changed one.
	"customers-put customers.*":           true,
	"purchases-add customers.external_id": true,
	// A number that another customer has is refused.
	"customer-patch *": true,
}

// scrubbed is what differs between any two answers: names of what was made, digests, numbers.
var scrubbed = regexp.MustCompile(`[a-z]{2,4}[-_][a-z2-7]{12,}|[0-9a-f]{32,}|[0-9]+`)

// alike is an answer without what differs between any two, and without how much of one kind
// it has: some answers list what was said before.
func alike(answer string) string {
	var v any
	if json.Unmarshal([]byte(answer), &v) == nil {
		answer = canonical(v)
	}
	return plain(answer)
}

// plain is a text without numbers, and without who was asked about.
func plain(text string) string {
	text = scrubbed.ReplaceAllString(text, "#")
	return strings.NewReplacer("KN-#", "WHO", "UN-#", "WHO", "grace.known#@", "WHO@", "grace.#@", "WHO@", "+#", "WHO").Replace(text)
}

func canonical(v any) string {
	var parts []string
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			parts = append(parts, plain(canonical(x)))
		}
		slices.Sort(parts)
		return "[" + strings.Join(slices.Compact(parts), ",") + "]"
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+":"+canonical(v[k]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return fmt.Sprint(v)
}

// ends is 1 for operations after which others find less to do.
func ends(operation string) int {
	for _, word := range []string{"contain", "eras", "close", "retire", "remove", "revoke"} {
		if strings.Contains(operation, word) {
			return 1
		}
	}
	return 0
}

// With a list of addresses from another breach, nobody learns from any operation of the API
// which of them are customers', beyond the budget of searches: a text of either kind is put
// into every place of every body that the API describes, before the budget is used up and
// after. A new operation is tried as soon as the API describes it.
func TestNoOperationTellsAListFromAnotherBreach(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	id, err := age.GenerateX25519Identity()
	h.must(err)
	known := api.Fields{"external_id": "KN-0000077", "given_name": "Grace", "email": "grace.known77@mail.example", "phone": "+393331234567"}
	w, err := h.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{known, zoe()}})
	h.must(err)
	_, err = h.as["incident-responder"].OpenIncident(ctx, "gucci", api.IncidentRequest{Title: "a list is offered"})
	h.must(err)
	doc := h.description()

	// ask puts a value into a place of a request, and returns what the caller can see of the
	// answer, without what differs between any two.
	ask := func(method, path string, d textDoor, leaf []string, value string) string {
		var in any
		h.must(json.Unmarshal([]byte(strings.NewReplacer("TOKEN", w.Results[1].Token, "RECIPIENT", id.Recipient().String()).Replace(d.body)), &in))
		if m, ok := in.(map[string]any); ok && leaf[0] == "filter" {
			delete(m, "tokens")
		}
		as := h.Client
		if d.as != "" {
			as = h.as[d.as]
		}
		var out json.RawMessage
		err := as.Do(ctx, strings.ToUpper(method), path, with(in, leaf, value), &out)
		seen := answered(out, err)
		if err != nil && strings.Contains(seen, value[:8]) {
			t.Errorf("%s %s repeats what was sent: %s", method, path, seen)
		}
		return alike(seen)
	}
	type operation struct {
		id, method, path string
		door             textDoor
		body             struct{ Schema *schema }
	}
	var ops []operation
	for path, methods := range doc.Paths {
		for method, op := range methods {
			body, ok := op.RequestBody.Content["application/json"]
			if d, listed := doors[op.OperationID]; ok && listed && d.as != "" { // what only the machine's owner may has no budget
				ops = append(ops, operation{op.OperationID, method, path, d, body})
			}
		}
	}
	slices.SortFunc(ops, func(a, b operation) int { // what ends something comes last
		return cmp.Or(cmp.Compare(ends(a.id), ends(b.id)), cmp.Compare(a.id, b.id))
	})
	places := 0
	varies := map[string]bool{} // places where two strangers are answered differently: what was asked before is in the answer
	every := func(found func(place string, of suspect, is, other string)) {
		for _, op := range ops {
			path := placed(op.path, w.Results[1].Token)
			for _, leaf := range op.body.Schema.texts(doc.Components.Schemas, nil, 0) {
				place := op.id + " " + strings.ReplaceAll(strings.Join(leaf, "."), ".[]", "")
				for _, of := range suspects {
					leaf, d := slices.Clone(leaf), op.door
					if i := slices.Index(leaf, "*"); i >= 0 {
						leaf[i] = of.field
					}
					if op.id == "search" {
						d.body = strings.Replace(d.body, `"by":"external_id"`, `"by":"`+of.field+`"`, 1)
					}
					places++
					one := ask(op.method, path, d, leaf, fmt.Sprintf(of.stranger, 2*places))
					is := ask(op.method, path, d, leaf, of.known)
					if is == one {
						continue
					}
					two := ask(op.method, path, d, leaf, fmt.Sprintf(of.stranger, 2*places+1))
					if one != two { // asked twice, it is another state by then; or the answer has what was asked
						varies[place] = true
						if is == two {
							continue
						}
					}
					found(place, of, is, one)
				}
			}
		}
	}
	budgets := func(change func(*budget.Rule)) {
		list := budget.DefaultRules().List()
		for i := range list {
			list[i].Limit = 1_000_000
			change(&list[i])
		}
		rules, err := budget.NewRules(list)
		h.must(err)
		_, err = h.SetBudgets(ctx, "gucci", api.BudgetRules{Rules: string(rules.Encode())}, false)
		h.must(err)
	}
	budgets(func(*budget.Rule) {})
	tells := map[string]bool{}
	every(func(place string, of suspect, is, other string) {
		if is == other {
			return
		}
		if tells[place] = true; !told[place] {
			t.Errorf("%s tells a customer's %s from a stranger's, and is not among those that cost a search:\n%s\n%s", place, of.field, is, other)
		}
	})
	for place := range told {
		if !tells[place] { // otherwise the test could see nothing
			t.Errorf("%s tells nobody from a stranger", place)
		}
	}
	budgets(func(r *budget.Rule) {
		if r.Class == budget.Search {
			r.Limit = 1
		}
	})
	for name, as := range h.as {
		_, err := as.Search(ctx, "gucci", api.SearchRequest{By: record.ExternalID.String(), Value: "nobody", Purpose: "customer-support", Ticket: "T-1"})
		if err == nil {
			t.Errorf("%s searches after the budget was used up", name)
		}
	}
	every(func(place string, of suspect, is, other string) {
		if is != other {
			t.Errorf("with no search left, %s tells a customer's %s from a stranger's:\n%s\n%s", place, of.field, is, other)
		}
	})
	t.Logf("%d places were asked; %v tell; answers of %v vary", places, slices.Sorted(maps.Keys(tells)), slices.Sorted(maps.Keys(varies)))
}

// A shop's stolen key gives one customer number after another to one customer: it learns
// which are taken as slowly as by searching.
func TestNumbersAreTriedByPatchAtTheCostOfSearches(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		const customers, most = 10, 6
		tokens := h.stock(customers)
		h.limits(most, budget.Search)
		shop := h.as["application"]
		answered, refused := 0, 0
		for i := range 2 * customers {
			id := number(1 + i/2)
			if i%2 == 0 {
				id = fmt.Sprintf("FREE-%d", i)
			}
			err := shop.Do(ctx, "PATCH", client.Path("brands", "gucci", "customers", tokens[number(0)]), api.Fields{"external_id": id}, nil)
			e, _ := errors.AsType[*api.Error](err)
			switch {
			case err == nil, e != nil && e.Type != api.TypeBudgetExhausted:
				answered++
			default:
				refused++
			}
		}
		if answered != most || refused != 2*customers-most {
			t.Errorf("%d numbers were told, and %d refused: the budget is %d", answered, refused, most)
		}
	})
}
