package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// A decoy looks like a customer, is known to few, and is an alarm for whoever looks.
func TestCanaries(t *testing.T) {
	t.Parallel()
	onEach(t, testCanaries)
}

const sqlTestCanaries = `SELECT sealed FROM canaries`

func testCanaries(t *testing.T, h *house) {
	ctx := t.Context()
	watching, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.vault.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	responder, agent, app := h.as["incident-responder"], h.as["support-agent"], h.as["application"]
	canaries := client.Path("brands", "gucci", "canaries")
	w, err := app.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	real := w.Results[0].Token

	// Few may place them, or know which they are.
	for who, c := range map[string]*client.Client{"the administrator": h.Client, "an agent": agent, "an application": app} {
		if err := c.Do(ctx, "GET", canaries, nil, nil); !isType(err, api.TypePolicyDenied) && !isType(err, api.TypeUnknownBrand) {
			t.Errorf("%s listed the decoys: %v", who, err)
		}
		if err := c.Do(ctx, "POST", canaries, api.CanaryRequest{Count: 1}, nil); !isType(err, api.TypePolicyDenied) && !isType(err, api.TypeUnknownBrand) {
			t.Errorf("%s placed decoys: %v", who, err)
		}
		if err := c.Do(ctx, "POST", canaries+"/retire", nil, nil); !isType(err, api.TypePolicyDenied) && !isType(err, api.TypeUnknownBrand) {
			t.Errorf("%s retired the decoys: %v", who, err)
		}
	}
	for _, bad := range []api.CanaryRequest{{}, {Count: 1, Rate: 0.1}, {Count: 1, Domain: "a b"}, {Count: 1, Digits: 2}} {
		if err := responder.Do(ctx, "POST", canaries, bad, nil); !isType(err, api.TypeInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	var placed api.CanariesPlaced
	h.must(responder.Do(ctx, "POST", canaries, api.CanaryRequest{Rate: 0.2, DryRun: true, Now: true}, &placed))
	if placed.Placed != 1 || placed.Receipt != nil {
		t.Errorf("%+v", placed)
	}
	h.must(responder.Do(ctx, "POST", canaries, api.CanaryRequest{Count: 5, Domain: "decoys.example", Now: true}, &placed))
	if placed.Placed != 5 || placed.Total != 5 || placed.Customers != 1 {
		t.Fatalf("%+v", placed)
	}
	var list []api.Canary
	h.must(responder.Do(ctx, "GET", canaries, nil, &list))
	if len(list) != 5 {
		t.Fatalf("%+v", list)
	}

	// The log said so first, and names none; the writes are writes like any.
	var e, next api.Entry
	h.must(h.Do(ctx, "GET", fmt.Sprint("/v1/brands/gucci/log/entries/", placed.Receipt.Entry), nil, &e))
	h.must(h.Do(ctx, "GET", fmt.Sprint("/v1/brands/gucci/log/entries/", placed.Receipt.Entry+1), nil, &next))
	if e.Kind != "canary" || !maps.Equal(e.Detail, map[string]string{"change": "place", "count": "5"}) || next.Kind != "import" || next.Detail["new"] != "5" || len(next.Detail) != 2 {
		t.Errorf("%+v, then %+v", e, next)
	}
	// What is stored says neither who they are nor, closely, how many.
	var sealed []byte
	h.must(h.vault.DB.Row(ctx, sqlTestCanaries).Scan(&sealed))
	if len(sealed) != 4<<10+28 || bytes.Contains(sealed, []byte(list[0].ExternalID)) {
		t.Errorf("%d bytes are stored", len(sealed))
	}

	alarms := func() (out []api.Alarm) {
		var page api.Alarms
		h.must(responder.Do(ctx, "GET", client.Path("brands", "gucci", "alarms"), nil, &page))
		for _, a := range page.Alarms {
			if a.Rule == "canary" {
				if a.Severity != "critical" {
					t.Errorf("%+v", a)
				}
				out = append(out, a)
			}
		}
		return out
	}
	seen := 0
	alarmed := func(what string, d *api.Disclosed, err error) {
		t.Helper()
		h.must(err)
		if len(d.Customers) != 1 {
			t.Fatalf("%s found %d", what, len(d.Customers))
		}
		seen++
		eventually(t, what+" is an alarm", func() bool {
			return slices.ContainsFunc(alarms(), func(a api.Alarm) bool { return a.Entry == d.Receipt.Entry })
		})
		if got := alarms(); len(got) != seen {
			t.Fatalf("%d alarms after %d looks at decoys: %+v", len(got), seen, got)
		}
	}
	view := func(c *client.Client, token string) (*api.Disclosed, error) {
		var d api.Disclosed
		err := c.Do(ctx, "GET", client.Path("brands", "gucci", "customers", token)+"?purpose=customer-support&ticket=CASE-1", nil, &d)
		return &d, err
	}
	reveal := func(token string) (*api.Disclosed, error) {
		return agent.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"given_name", "country"}, Purpose: "customer-support", Ticket: "CASE-1"})
	}
	search := func(id string) (*api.Disclosed, error) {
		return agent.Search(ctx, "gucci", api.SearchRequest{By: "external_id", Value: id, Purpose: "customer-support", Ticket: "CASE-1"})
	}
	// A customer is none, and neither is a walk of `db check`.
	_, err = reveal(real)
	h.must(err)
	shown, err := view(agent, real)
	h.must(err)
	_, err = search(zoe()["external_id"])
	h.must(err)
	for p := (api.CheckPlace{}); ; {
		var c api.Checked
		h.must(h.Do(ctx, "POST", "/v1/check", p, &c))
		if len(c.Faults) > 0 {
			t.Errorf("%+v", c.Faults)
		}
		if c.Done {
			break
		}
		p = c.Next
	}
	d, err := reveal(list[0].Token)
	alarmed("a reveal", d, err)
	keys := func(d *api.Disclosed) string {
		var m map[string]any
		b, err := json.Marshal(d.Customers[0])
		h.must(err)
		h.must(json.Unmarshal(b, &m))
		delete(m, "fields")
		delete(m, "purchases")
		return strings.Join(slices.Sorted(maps.Keys(m)), ",")
	}
	masked, err := view(agent, list[1].Token)
	if keys(masked) != keys(shown) {
		t.Errorf("a decoy has the keys %s and a customer %s", keys(masked), keys(shown))
	}
	alarmed("a masked view", masked, err)
	d, err = search(list[2].ExternalID)
	alarmed("a search", d, err)

	// Decoys placed later are known before anybody can look at them.
	h.must(responder.Do(ctx, "POST", canaries, api.CanaryRequest{Count: 1, Now: true}, nil))
	h.must(responder.Do(ctx, "GET", canaries, nil, &list))
	d, err = reveal(list[5].Token)
	alarmed("a reveal of a later one", d, err)

	var drawn = map[uint64]bool{}
	b, err := h.vault.Disclose.Door.Brands.ByName(ctx, "gucci")
	h.must(err)
	ords, err := h.vault.Canaries.ForExport(ctx, b.ID, "e1", 4)
	h.must(err)
	for _, o := range ords {
		drawn[uint64(o)] = h.vault.Canaries.Store.Contains(b.ID, o)
	}
	if len(drawn) != 4 || slices.Contains(slices.Collect(maps.Values(drawn)), false) {
		t.Errorf("drawn for an export: %v", drawn)
	}

	// Mail to one leads to it, and to the export that it left in.
	mailed := 0
	for _, x := range list {
		if x.Email == "" {
			continue
		}
		normal, err := record.NormalEmail(x.Email)
		h.must(err)
		d, is, err := h.vault.Canaries.Store.ByAddress(ctx, b.ID, normal)
		h.must(err)
		if mailed++; !is || d.ExternalID != x.ExternalID || (d.Export == "e1") != drawn[uint64(d.Ord)] {
			t.Errorf("by its address %+v, %v", d, is)
		}
	}
	if _, is, err := h.vault.Canaries.Store.ByAddress(ctx, b.ID, "zoe@example.com"); is || err != nil || mailed == 0 {
		t.Errorf("an address of no decoy: %v, %v; %d decoys have one", is, err, mailed)
	}

	same, err := h.vault.Canaries.ForExport(ctx, b.ID, "e1", 4)
	h.must(err)
	other, err := h.vault.Canaries.ForExport(ctx, b.ID, "e2", 4)
	h.must(err)
	if !slices.Equal(same, ords) || len(other) != 2 || slices.ContainsFunc(other, func(o record.Ordinal) bool { return slices.Contains(ords, o) }) {
		t.Errorf("one export has %v, asked again %v, and another %v", ords, same, other)
	}

	// Retired decoys are erased, and what was seen of them stays explained.
	var retired api.CanariesRetired
	h.must(responder.Do(ctx, "POST", canaries+"/retire", nil, &retired))
	if retired.Retired != 6 {
		t.Errorf("%+v", retired)
	}
	if _, err := reveal(list[0].Token); !isType(err, api.TypeUnknownToken) {
		t.Errorf("a retired decoy: %v", err)
	}
	if _, err := reveal(real); err != nil {
		t.Errorf("a customer went with the decoys: %v", err)
	}
	var again api.Replayed
	h.must(responder.Do(ctx, "POST", client.Path("brands", "gucci", "detection")+"/replay", api.ReplayRequest{}, &again))
	if again.Rules["canary"] != seen || len(alarms()) != seen {
		t.Errorf("a replay has %d alarms of canaries, not %d", again.Rules["canary"], seen)
	}
}

// Who is a decoy is known before the decoy is there: where that cannot be kept, there
// is no decoy, and a customer who is there already is never overwritten by one.
func TestNoDecoyIsThereBeforeItIsKnown(t *testing.T) {
	t.Parallel()
	onEach(t, noDecoyBeforeItIsKnown)
}

func noDecoyBeforeItIsKnown(t *testing.T, h *house) {
	ctx := t.Context()
	local, err := h.vault.Identity.EnsureLocal(ctx, "administrator")
	h.must(err)
	v, err := h.vault.Disclose.Door.Enter(ctx, local, "gucci")
	h.must(err)
	put := seal.Put{Set: record.Fields(record.ExternalID, record.GivenName)}
	put.Customer.Columns[record.ExternalID], put.Customer.Columns[record.GivenName] = "D-1", "Decoy"
	full := errors.New("the disk is full")
	asked := 0
	fresh := func(err error) error {
		_, got := h.vault.Intake.Fresh(ctx, v, []seal.Put{put}, func(_ context.Context, ords []record.Ordinal) error {
			asked += len(ords)
			return err
		})
		return got
	}
	if err := fresh(full); !errors.Is(err, full) || asked != 1 {
		t.Fatalf("%v, asked for %d", err, asked)
	}
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "D-1", "given_name": "Real"}}})
	h.must(err)
	if w.Results[0].Outcome != "new" {
		t.Errorf("a decoy that is not known is there: %+v", w.Results[0])
	}
	err = fresh(nil)
	if taken, ok := errors.AsType[*intake.TakenError](err); !ok || !slices.Equal(taken.At, []int{0}) || asked != 1 {
		t.Errorf("a decoy in a customer's place: %v", err)
	}
}

// Where many of the numbers that are drawn are customers', the others are kept and those
// drawn again, until every decoy has one of its own.
func TestDecoysFindFreeNumbers(t *testing.T) {
	t.Parallel()
	onEach(t, decoysFindFreeNumbers)
}

func decoysFindFreeNumbers(t *testing.T, h *house) {
	ctx := t.Context()
	const taken = 3000 // of the 9,000 of four digits
	for from := 0; from < taken; from += 500 {
		var put api.PutRequest
		for i := range 500 {
			put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprint("T", 1000+3*(from+i)), "given_name": "Zoe"})
		}
		_, err := h.Put(ctx, "gucci", put)
		h.must(err)
	}
	const n = 40
	var placed api.CanariesPlaced
	h.must(h.as["incident-responder"].Do(ctx, "POST", client.Path("brands", "gucci", "canaries"), api.CanaryRequest{Count: n, Now: true, Prefix: "T", Digits: 4}, &placed))
	var list []api.Canary
	h.must(h.as["incident-responder"].Do(ctx, "GET", client.Path("brands", "gucci", "canaries"), nil, &list))
	ids := map[string]bool{}
	for _, c := range list {
		ids[c.ExternalID] = true
		var number int
		if _, err := fmt.Sscanf(c.ExternalID, "T%d", &number); err != nil || number < 1000 || number > 9999 || (number-1000)%3 == 0 {
			t.Errorf("a decoy has the number %s", c.ExternalID)
		}
	}
	if placed.Placed != n || placed.Customers != taken || len(ids) != n {
		t.Errorf("%d decoys of %d numbers: %+v", len(list), len(ids), placed)
	}
}
