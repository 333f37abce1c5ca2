package server_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

// people are customers of gucci as an application sends them.
func people(n int, seed uint64) (put api.PutRequest) {
	for c := range invent.Customers(invent.Config{Customers: n, Seed: seed, Brands: []string{"gucci"}}) {
		f := api.Fields{}
		for field := range record.NumColumns {
			if v := c.Get(field); v != "" {
				f[field.String()] = v
			}
		}
		for name, v := range c.Attributes {
			f["attr."+name] = v
		}
		put.Customers = append(put.Customers, f)
	}
	return put
}

// decoy is a helper around the list of one brand's decoys.
func (h *house) decoys() (list []api.Canary, ords map[record.Ordinal]bool) {
	h.t.Helper()
	ctx := h.t.Context()
	h.must(h.as["incident-responder"].Do(ctx, "GET", client.Path("brands", "gucci", "canaries"), nil, &list))
	ords = map[record.Ordinal]bool{}
	tokens := make([]string, len(list))
	for i := range list {
		tokens[i] = list[i].Token
	}
	b, err := h.vault.Disclose.Door.Brands.ByName(ctx, "gucci")
	h.must(err)
	got, err := h.vault.Disclose.Seal.Resolve(ctx, b.ID, tokens)
	h.must(err)
	for _, o := range got {
		ords[o] = true
	}
	return list, ords
}

// order asks for decoys with the imports to come.
func (h *house) order(req api.CanaryRequest) (out api.CanariesPlaced) {
	h.t.Helper()
	h.must(h.as["incident-responder"].Do(h.t.Context(), "POST", client.Path("brands", "gucci", "canaries"), req, &out))
	return out
}

func TestDecoysComeWithImports(t *testing.T) {
	t.Parallel()
	onEach(t, decoysComeWithImports)
}

// Who holds the database and no key reads the customers of each entry. The decoys stand
// among an application's, in its own entry, and nobody else has an entry with customers.
func decoysComeWithImports(t *testing.T, h *house) {
	ctx := t.Context()
	app := h.as["application"]
	if placed := h.order(api.CanaryRequest{Rate: 0.05, Domain: "post.example"}); placed.Placed != 0 || placed.Total != 0 {
		t.Errorf("%+v", placed)
	}
	put := people(400, 1)
	w, err := app.Put(ctx, "gucci", put)
	h.must(err)
	tokens := map[string]bool{}
	for _, r := range w.Results {
		if r.Outcome != "new" || tokens[r.Token] {
			t.Fatalf("%+v", r)
		}
		tokens[r.Token] = true
	}
	list, ords := h.decoys()
	if len(list) < 18 || len(list) > 24 { // 21 by the rate, rounded at random
		t.Fatalf("%d decoys among 400 at 5 %%", len(list))
	}
	for _, x := range list {
		if tokens[x.Token] || x.Email != "" && !strings.HasSuffix(x.Email, "@post.example") || len(x.ExternalID) != len("C000000001") || x.ExternalID[0] != 'C' {
			t.Errorf("%+v", x)
		}
	}
	b, err := h.vault.Disclose.Door.Brands.ByName(ctx, "gucci")
	h.must(err)
	entries := 0
	h.must(h.vault.Ledger.Scan(ctx, b.ID, 0, func(_ uint64, e entry.Entry, all []record.Ordinal) error {
		if len(all) == 0 {
			return nil
		}
		entries++
		if e.Kind != entry.KindImport || e.Role != "application" || len(all) != 400+len(list) {
			t.Errorf("an entry %s of %s has %d customers", e.Kind, e.Role, len(all))
		}
		// Their ordinals lie among the others', not at one end and not in a row.
		runs := 0
		for i, o := range all {
			if ords[o] && (i == 0 || !ords[all[i-1]]) {
				runs++
			}
		}
		if runs < len(list)/2 || int(all[len(all)-1]-all[0]) != len(all)-1 {
			t.Errorf("%d decoys lie in %d runs from %d to %d", len(list), runs, all[0], all[len(all)-1])
		}
		return nil
	}))
	if entries != 1 {
		t.Errorf("%d entries have customers", entries)
	}

	// The same again changes nothing, and few customers carry none.
	w, err = app.Put(ctx, "gucci", put)
	h.must(err)
	for _, r := range w.Results {
		if r.Outcome != "unchanged" {
			t.Fatalf("%+v", r)
		}
	}
	few := people(410, 1)
	few.Customers = few.Customers[400:]
	_, err = app.Put(ctx, "gucci", few)
	h.must(err)
	again, _ := h.decoys()
	if !slices.Equal(again, list) {
		t.Errorf("%d decoys became %d", len(list), len(again))
	}

	// Purchases come for decoys, too, in the entry that others' come in.
	var bought api.PurchasesRequest
	for i, f := range put.Customers {
		bought.Customers = append(bought.Customers, api.CustomerPurchases{ExternalID: f["external_id"], Purchases: []api.Purchase{
			{ID: fmt.Sprint("P-", i), At: "2025-03-01T10:00:00Z", SKU: "GU1", Description: "Belt", Amount: "250", Currency: "EUR", Store: "FR-1"}}})
	}
	added, err := app.AddPurchases(ctx, "gucci", bought)
	h.must(err)
	for _, r := range added.Results {
		if r.Outcome != "updated" || len(r.Purchases) != 1 || r.Purchases[0].Outcome != "new" {
			t.Fatalf("%+v", r)
		}
	}
	buyers := 0
	h.must(h.vault.Ledger.Scan(ctx, b.ID, added.Receipt.Entry, func(_ uint64, e entry.Entry, all []record.Ordinal) error {
		for _, o := range all {
			if ords[o] {
				buyers++
			}
		}
		return nil
	}))
	if buyers < len(list)-2 {
		t.Errorf("of %d decoys %d bought with 400 others", len(list), buyers)
	}

	// Those that wait go in a few at a time, and the counts say so and leave them out.
	placed := h.order(api.CanaryRequest{Count: 30}) // beside what the ten before are owed, half of one
	if placed.Customers != 410 || placed.Total != len(list) || placed.Waiting != 30 && placed.Waiting != 31 {
		t.Errorf("%+v", placed)
	}
	more := people(810, 1)
	more.Customers = more.Customers[410:]
	_, err = app.Put(ctx, "gucci", more)
	h.must(err)
	after := h.order(api.CanaryRequest{Count: 1, DryRun: true})
	if after.Waiting != placed.Waiting-8+1 || after.Customers != 810 || after.Total < len(list)+8+18 {
		t.Errorf("%+v", after)
	}

	// An older row put back is noticed by who knows the newer, and a changed one by a check.
	db := h.vault.DB
	_, err = db.Exec(ctx, `UPDATE canaries SET version = 1`)
	h.must(err)
	if _, err := app.Put(ctx, "gucci", people(2, 5)); err == nil {
		t.Error("an import went on with an older list of decoys")
	}
	var checked api.Checked
	h.must(h.Do(ctx, "POST", "/v1/check", api.CheckPlace{}, &checked))
	if len(checked.Faults) != 1 || checked.Faults[0].Table != "canaries" {
		t.Errorf("%+v", checked.Faults)
	}
}

func TestSmallImportsHaveTheirShare(t *testing.T) {
	t.Parallel()
	onEach(t, smallImports)
}

// A brand that only ever imports a few customers at a time has its rate of decoys, one in
// an entry and none in the smallest, however often its servers are started again, and
// several of them at once: what is owed is kept.
func smallImports(t *testing.T, h *house) {
	ctx := t.Context()
	const rate, each, lives, imports = 0.05, 12, 4, 20
	app := h.as["application"]
	draw := rand.New(rand.NewPCG(1, 2))
	life := func() { // what a server knows of imports begins anew
		s := canary.NewStore(h.vault.DB, h.vault.Mails.Ring)
		s.Draw = draw.IntN
		h.vault.Intake.Canaries = s
	}
	waiting := func() int { return h.order(api.CanaryRequest{Count: 1, DryRun: true}).Waiting - 1 }
	life()
	h.order(api.CanaryRequest{Rate: rate})
	all := people(lives*imports*each+300, 3).Customers
	for range lives {
		before := waiting()
		life()
		if n := waiting(); n != before {
			t.Errorf("%d were owed, and %d after a start", before, n)
		}
		for range imports {
			w, err := app.Put(ctx, "gucci", api.PutRequest{Customers: all[:each]})
			h.must(err)
			if len(w.Results) != each {
				t.Fatalf("the application is told of %d customers, of %d", len(w.Results), each)
			}
			all = all[each:]
		}
	}
	list, ords := h.decoys()
	due := float64(rate / (1 - rate) * lives * imports * each)
	if sum := float64(len(list) + waiting()); sum < 0.6*due || sum > 1.5*due || float64(len(list)) < due/3 {
		t.Errorf("%d decoys and %d waiting, of %.0f that are due", len(list), waiting(), due)
	}
	// A decoy whose number a customer brings gives way in that customer's entry: it counts
	// where it came in.
	sizes, came := map[int]int{}, map[record.Ordinal]bool{}
	count := func(from uint64) {
		clear(sizes)
		h.must(h.vault.Ledger.Scan(ctx, 1, from, func(_ uint64, e entry.Entry, all []record.Ordinal) error {
			mixed := 0
			for _, o := range all {
				if ords[o] && !came[o] {
					came[o] = true
					mixed++
				}
			}
			if len(all) > 0 {
				sizes[mixed]++
			}
			return nil
		}))
	}
	count(0)
	if sizes[1] != len(list) || sizes[0] == 0 || len(sizes) != 2 {
		t.Errorf("entries by how many decoys are among their customers: %v", sizes)
	}

	// Four at a time carry none, and are owed them all the same.
	before, had := waiting(), len(list)
	for range 50 {
		_, err := app.Put(ctx, "gucci", api.PutRequest{Customers: all[:4]})
		h.must(err)
		all = all[4:]
	}
	if list, ords = h.decoys(); len(list) != had {
		t.Errorf("%d decoys became %d", had, len(list))
	}
	if n := waiting() - before; n < 4 || n > 20 {
		t.Errorf("200 customers are owed %d, want about 10", n)
	}

	// Who imports many at a time pays it back, a few with each.
	before = waiting()
	_, err := app.Put(ctx, "gucci", api.PutRequest{Customers: all[:100]})
	h.must(err)
	if n := before - waiting(); n != 2 {
		t.Errorf("%d of those that waited went in with 100 customers", n)
	}
}

func TestADecoyGivesWay(t *testing.T) {
	t.Parallel()
	onEach(t, aDecoyGivesWay)
}

// Whoever writes a customer of a decoy's number is answered as if nobody had it, in every
// way of writing; the decoy stays one, and the customer is none.
func aDecoyGivesWay(t *testing.T, h *house) {
	ctx := t.Context()
	app, agent := h.as["application"], h.as["support-agent"]
	h.order(api.CanaryRequest{Count: 8, Domain: "post.example", Prefix: "G", Digits: 8, Now: true})
	list, before := h.decoys()
	fields := func(id string) api.Fields {
		return api.Fields{"external_id": id, "given_name": "Real", "country": "FR"}
	}
	put := func(fields ...api.Fields) []api.WriteResult {
		t.Helper()
		w, err := app.Put(ctx, "gucci", api.PutRequest{Customers: fields})
		h.must(err)
		for _, r := range w.Results {
			if r.Outcome != "new" || slices.ContainsFunc(list, func(x api.Canary) bool { return x.Token == r.Token }) {
				t.Errorf("a customer of a decoy's number: %+v", r)
			}
		}
		return w.Results
	}
	real := put(fields(list[0].ExternalID))[0].Token
	put(fields("N-1"), fields(list[1].ExternalID), fields(list[2].ExternalID))
	var many []api.Fields // as many as are written by COPY
	for i := range 40 {
		many = append(many, fields(fmt.Sprint("N-2-", i)))
	}
	put(append(many, fields(list[3].ExternalID))...)
	var w api.Written
	h.must(app.Do(ctx, "PATCH", client.Path("brands", "gucci", "customers", real), api.Fields{"external_id": list[4].ExternalID}, &w))
	if w.Results[0].Outcome != "updated" {
		t.Errorf("a customer who takes a decoy's number: %+v", w.Results[0])
	}
	bought := func(id string) api.WriteResult {
		w, err := app.AddPurchases(ctx, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{ExternalID: id, Purchases: []api.Purchase{{ID: "P-1", At: "2025-01-01", Amount: "10", Currency: "EUR"}}}}})
		h.must(err)
		return w.Results[0]
	}
	nobody, decoy := bought("N-nobody"), bought(list[5].ExternalID)
	if decoy.Outcome != nobody.Outcome || decoy.Token != "" || decoy.Reject == nil || !reflect.DeepEqual(decoy.Reject, nobody.Reject) {
		t.Errorf("purchases of a decoy: %+v, of nobody: %+v", decoy, nobody)
	}

	after, now := h.decoys()
	if !maps.Equal(before, now) {
		t.Errorf("the decoys %v became %v", before, now)
	}
	for i, x := range after {
		if x.Token != list[i].Token || (x.ExternalID == list[i].ExternalID) != (i > 4) || len(x.ExternalID) != 9 || x.ExternalID[0] != 'G' {
			t.Errorf("%+v became %+v", list[i], x)
		}
	}
	b, err := h.vault.Disclose.Door.Brands.ByName(ctx, "gucci")
	h.must(err)
	h.must(h.vault.Ledger.Scan(ctx, b.ID, 0, func(i uint64, e entry.Entry, all []record.Ordinal) error {
		decoys := 0
		for _, o := range all {
			if now[o] {
				decoys++
			}
		}
		if e.Role == "application" && e.Kind == entry.KindImport && len(all) > 0 && decoys == len(all) {
			t.Errorf("entry %d is an import of decoys alone", i)
		}
		return nil
	}))
	d, err := agent.Search(ctx, "gucci", api.SearchRequest{By: "external_id", Value: after[0].ExternalID, Purpose: "customer-support", Ticket: "CASE-1"})
	h.must(err)
	if len(d.Customers) != 1 || d.Customers[0].Token != list[0].Token {
		t.Errorf("a decoy is not found by its new number: %+v", d)
	}
}

// broken fails when it is told who is mixed in, after the list is durable or before.
type broken struct {
	*canary.Store
	before, after error
}

func (b *broken) Mix(ctx context.Context, brand record.BrandID, puts []seal.Put) (*seal.Among, func(context.Context, []record.Ordinal) error, error) {
	among, known, err := b.Store.Mix(ctx, brand, puts)
	if among == nil || err != nil {
		return among, known, err
	}
	return among, func(ctx context.Context, ords []record.Ordinal) error {
		if b.before != nil {
			return b.before
		}
		return errors.Join(known(ctx, ords), b.after)
	}, nil
}

func TestAKilledImportLeavesNoDecoyAmongCustomers(t *testing.T) {
	t.Parallel()
	onEach(t, aKilledImportLeavesNoDecoy)
}

// Wherever an import ends, no decoy is a customer whom the list does not know, and none
// is told of that is not there.
func aKilledImportLeavesNoDecoy(t *testing.T, h *house) {
	ctx := t.Context()
	h.order(api.CanaryRequest{Rate: 0.1})
	in := h.vault.Intake
	killed := errors.New("killed")
	var decoys intake.Canaries = in.Canaries
	put := people(250, 2)
	for _, b := range []*broken{{before: killed}, {after: killed}} {
		b.Store = h.vault.Canaries.Store
		in.Canaries = b
		if _, err := h.as["application"].Put(ctx, "gucci", put); err == nil {
			t.Fatal("the import went on")
		}
		if list, _ := h.decoys(); len(list) != 0 {
			t.Errorf("%d decoys are told of that were never made", len(list))
		}
		if placed := h.order(api.CanaryRequest{Rate: 0.1, DryRun: true}); placed.Total != 0 || placed.Customers != 0 {
			t.Errorf("%+v", placed)
		}
	}
	in.Canaries = decoys
	w, err := h.as["application"].Put(ctx, "gucci", put)
	h.must(err)
	for _, r := range w.Results {
		if r.Outcome != "new" {
			t.Fatalf("%+v", r)
		}
	}
	list, ords := h.decoys()
	placed := h.order(api.CanaryRequest{Rate: 0.1, DryRun: true})
	if len(list) < 20 || placed.Total != len(list) || placed.Customers != 250 {
		t.Errorf("%d decoys, %+v", len(list), placed)
	}
	b, err := h.vault.Disclose.Door.Brands.ByName(ctx, "gucci")
	h.must(err)
	drawn, err := h.vault.Canaries.ForExport(ctx, b.ID, "e1", 60)
	h.must(err)
	if len(drawn) != len(list) || slices.ContainsFunc(drawn, func(o record.Ordinal) bool { return !ords[o] }) {
		t.Errorf("%d of %d decoys go to an export", len(drawn), len(list))
	}
}

func TestDecoysAndExports(t *testing.T) {
	t.Parallel()
	onEach(t, decoysAndExports)
}

// The brand's decoys are in no filter and in no count. In a list of tokens they count,
// since whoever made it counts them, and that they leave is an alarm; those that the
// vault put into the file are none.
func decoysAndExports(t *testing.T, h *house) {
	h.order(api.CanaryRequest{Rate: 0.1})
	s := furnished(h, 300)
	list, ords := h.decoys()
	if len(list) < 30 {
		t.Fatalf("%d decoys", len(list))
	}
	alarms := func() int {
		var again api.Replayed
		h.must(h.as["incident-responder"].Do(t.Context(), "POST", client.Path("brands", "gucci", "detection")+"/replay", api.ReplayRequest{}, &again))
		return again.Rules["canary"]
	}
	officer := h.as["data-protection-officer"]
	req := s.extract()
	req.Purpose, req.Form, req.Fields, req.Filter = "migration", "clear", []string{"external_id"}, &api.ExportFilter{}
	dry := req
	dry.DryRun = true
	if x, err := s.asked(officer, dry); err != nil || x.Customers != 0 {
		t.Errorf("a dry run: %+v, %v", x, err)
	}
	x := s.approved(officer, req)
	if x.Customers != 300 {
		t.Errorf("%d customers of 300 meet a filter that all do", x.Customers)
	}
	_, err := s.file(officer, x.ID, 1, "customers")
	h.must(err)
	_, left := s.entries(x.ID)
	own := 0
	for o := range left {
		if ords[o] {
			own++
		}
	}
	if len(left) != 303 || own != 3 || alarms() != 0 {
		t.Errorf("%d left, %d of them decoys, %d alarms", len(left), own, alarms())
	}
	req.Filter, req.Tokens = nil, append(slices.Clone(s.tokens[:20]), list[0].Token, list[1].Token, list[2].Token, list[3].Token)
	x = s.approved(officer, req)
	if x.Customers != 24 {
		t.Errorf("%d customers of 24 tokens", x.Customers)
	}
	_, err = s.file(officer, x.ID, 1, "customers")
	h.must(err)
	if alarms() != 1 {
		t.Errorf("decoys named by their tokens left with %d alarms", alarms())
	}
}
