package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

func TestScopeOfWhoSawMaskedViewsOnly(t *testing.T) {
	t.Parallel()
	onEach(t, scopeOfMasked)
}

func TestScopeOfAnExport(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(40, scopeOfAnExport))
}

func TestScopeWhileOthersWrite(t *testing.T) {
	t.Parallel()
	onEach(t, scopeOfABusyBrand)
}

func TestScopeAfterErasureAndRotation(t *testing.T) {
	t.Parallel()
	onEach(t, scopeOfTheErased)
}

func TestTwoLeadsEditOneFact(t *testing.T) {
	t.Parallel()
	onEach(t, twoLeads)
}

func TestIncidentsTellStrangersNothing(t *testing.T) {
	t.Parallel()
	onEach(t, incidentsOfOthers)
}

func of(principals ...string) api.ScopeRequest {
	return api.ScopeRequest{Any: []api.ScopeFilter{{Principals: principals}}}
}

// A thief who looked at masked views and searched is counted like any other, apart from
// who was shown in clear; so is who was asked for and not there.
func scopeOfMasked(t *testing.T, h *house) {
	ctx := t.Context()
	app := h.as["application"]
	var put api.PutRequest
	for i := range 6 {
		put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprint("M-", i), "email": fmt.Sprintf("m%d@example.com", i)})
	}
	w, err := app.Put(ctx, "gucci", put)
	h.must(err)
	thief, _ := h.person(t, "thief", "person", map[string]string{"gucci": access.SupportAgent})
	for _, i := range []int{0, 1, 1} {
		_, err := thief.View(ctx, "gucci", w.Results[i].Token, "customer-support", "")
		h.must(err)
	}
	for _, value := range []string{"m2@example.com", "nobody@example.com"} {
		_, err := thief.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: value, Purpose: "customer-support"})
		h.must(err)
	}
	_, err = thief.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{w.Results[3].Token, w.Results[0].Token}, Fields: []string{"email"}, Purpose: "customer-support"})
	h.must(err)
	officer := h.as["data-protection-officer"]
	s, err := officer.Scope(ctx, "gucci", of("thief"))
	h.must(err)
	if b := s.Brands[0]; s.Records != 4 || b.Reached["clear"] != 2 || b.Reached["masked"] != 2 || b.Disclosures != 6 {
		t.Errorf("%+v", s)
	}
	for kind, want := range map[string]int{"search": 1, "disclosure": 3, "refusal": 0} {
		req := of("thief")
		req.Any[0].Kinds = []string{kind}
		if s, err = officer.Scope(ctx, "gucci", req); err != nil || s.Records != want {
			t.Errorf("%s: %+v %v, want %d records", kind, s, err, want)
		}
	}
	// What was changed and what was begun to be erased stands beside what was read.
	_, err = app.Patch(ctx, "gucci", w.Results[4].Token, api.Fields{"email": "other@example.com"})
	h.must(err)
	_, err = h.EraseFor(ctx, "gucci", w.Results[5].Token)
	h.must(err)
	if s, err = officer.Scope(ctx, "gucci", of("application")); err != nil || s.Brands[0].Created != 6 || s.Brands[0].Changed != 1 || s.Records != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if s, err = officer.Scope(ctx, "gucci", api.ScopeRequest{Any: []api.ScopeFilter{{}}}); err != nil || s.Brands[0].Erased != 1 {
		t.Errorf("%+v %v", s, err)
	}
}

// Who took customers as an approved file is found by the file, and by whom it went to.
func scopeOfAnExport(t *testing.T, s *shelf) {
	ctx := t.Context()
	analyst, officer := s.as["analyst"], s.as["data-protection-officer"]
	req := s.extract()
	req.Tokens = s.tokens[:20]
	x := s.approved(analyst, req)
	_, err := s.file(analyst, x.ID, 1, "customers")
	s.must(err)
	for name, f := range map[string]api.ScopeFilter{
		"export":    {Exports: []string{x.ID}},
		"recipient": {Recipients: []string{req.Recipient}},
		"level":     {Levels: []string{"extract"}},
	} {
		got, err := officer.Scope(ctx, "gucci", api.ScopeRequest{Any: []api.ScopeFilter{f}})
		s.must(err)
		if b := got.Brands[0]; got.Records != 20 || b.Reached["extract"] != 20 || len(b.Recipients) != 1 || b.Recipients[0].Records != 20 {
			t.Errorf("by %s: %+v", name, got)
		}
	}
	got, err := officer.Scope(ctx, "gucci", api.ScopeRequest{Any: []api.ScopeFilter{{}}, Except: []api.ScopeFilter{{Exports: []string{x.ID}}}})
	s.must(err)
	if got.Records != 0 {
		t.Errorf("without the export: %+v", got)
	}
}

// A scope is of one size of the log: asked while others read, it counts what stood there
// and nothing later, and the same filter of that size counts the same afterwards.
func scopeOfABusyBrand(t *testing.T, h *house) {
	ctx := t.Context()
	app := h.as["application"]
	var put api.PutRequest
	for i := range 60 {
		put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprint("B-", i), "email": fmt.Sprintf("b%d@example.com", i)})
	}
	w, err := app.Put(ctx, "gucci", put)
	h.must(err)
	busy, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for g := range 3 {
		wg.Go(func() {
			for i := 0; busy.Err() == nil && i < 20; i++ {
				app.Reveal(busy, "gucci", api.RevealRequest{Tokens: []string{w.Results[g*20+i].Token}, Fields: []string{"email"}, Purpose: "order-fulfilment"})
			}
		})
	}
	officer := h.as["data-protection-officer"]
	before := uint64(0)
	for range 5 {
		s, err := officer.Scope(ctx, "gucci", of("application"))
		h.must(err)
		b := s.Brands[0]
		var entries uint64
		for i := range b.Size {
			var e api.Entry
			h.must(h.Do(ctx, "GET", fmt.Sprint("/v1/brands/gucci/log/entries/", i), nil, &e))
			if e.Kind == "disclosure" {
				entries++
			}
		}
		if uint64(b.Entries) != entries || b.Records != b.Entries || b.Entry < b.Size || b.Size <= before {
			t.Errorf("of the size %d there are %d disclosures, and the scope says %+v", b.Size, entries, b)
		}
		before = b.Size
	}
}

// An erased customer stays counted, in their cooling time and after it, and so does who was
// read before keys were replaced.
func scopeOfTheErased(t *testing.T, h *house) {
	ctx := t.Context()
	app, officer := h.as["application"], h.as["data-protection-officer"]
	w, err := app.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe(), {"external_id": "Z-2", "email": "yan@example.com"}, {"external_id": "Z-3", "email": "xenia@example.com"}}})
	h.must(err)
	var tokens []string
	for _, r := range w.Results {
		tokens = append(tokens, r.Token)
	}
	_, err = app.Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "order-fulfilment"})
	h.must(err)
	counted := func(when string) string {
		s, err := officer.Scope(ctx, "gucci", of("application"))
		h.must(err)
		if s.Records != 3 {
			t.Errorf("%s: %+v", when, s)
		}
		return s.Brands[0].Digest
	}
	digest := counted("before")
	_, err = h.EraseFor(ctx, "gucci", tokens[0])
	h.must(err)
	if again := counted("in the cooling time"); again != digest {
		t.Error("the set is another in the cooling time")
	}
	_, err = h.Erase(ctx, "gucci", tokens[1])
	h.must(err)
	h.rotate("kek", "index", "token")
	h.must(h.policyAgain())
	if again := counted("after an erasure, rotations and another policy"); again != digest {
		t.Error("the set is another after an erasure, rotations and another policy")
	}
}

// policyAgain activates the brand's policy once more, with a comment.
func (h *house) policyAgain() error {
	p, err := h.Policy(h.t.Context(), "gucci")
	if err == nil {
		_, err = h.ApplyPolicy(h.t.Context(), "gucci", api.Policy{Text: p.Text + "\n// changed\n"}, false)
	}
	return err
}

// Of two leads who correct one version at once each learns how it ended, and no version
// is lost: of those that both got in, all but one say that they came second.
func twoLeads(t *testing.T, h *house) {
	ctx := t.Context()
	responder, officer := h.as["incident-responder"], h.as["data-protection-officer"]
	x, err := responder.OpenIncident(ctx, "gucci", api.IncidentRequest{Title: "stolen key"})
	h.must(err)
	when := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	x, err = officer.StateFact(ctx, "gucci", x.ID, api.FactRequest{Name: "aware", When: when})
	h.must(err)
	first := x.Facts[0].Entry
	var wg sync.WaitGroup
	taken := make(chan bool, 4)
	for i, c := range []*client.Client{responder, officer, responder, officer} {
		wg.Go(func() {
			_, err := c.StateFact(ctx, "gucci", x.ID, api.FactRequest{Name: "aware", When: when.AddDate(i-2, 0, 0), Corrects: first})
			if err != nil && !isType(err, api.TypeConflict) {
				t.Errorf("a correction that came second gives %v", err)
			}
			taken <- err == nil
		})
	}
	wg.Wait()
	close(taken)
	in := 0
	for ok := range taken {
		if ok {
			in++
		}
	}
	x, err = officer.Incident(ctx, "gucci", x.ID)
	h.must(err)
	second := 0
	for _, f := range x.Facts[1:] {
		if f.Concurrent {
			second++
		}
	}
	if in == 0 || len(x.Facts) != 1+in || second != in-1 || !x.Facts[0].Replaced || !x.Facts[0].When.Equal(when) {
		t.Errorf("%d corrections got in, %d of them second: %+v", in, second, x.Facts)
	}
}

// Nobody learns by asking for one whether another brand has an incident; a repeated request
// opens one, and what was asked wrongly is not repeated in the answer.
func incidentsOfOthers(t *testing.T, h *house) {
	ctx := t.Context()
	hq, _ := h.person(t, "hq", "person", map[string]string{"group": access.IncidentResponder, "gucci": access.IncidentResponder, "balenciaga": access.IncidentResponder})
	theirs, _ := h.person(t, "theirs", "person", map[string]string{"balenciaga": access.DataProtectionOfficer})
	_, err := hq.OpenIncident(ctx, "group", api.IncidentRequest{Title: "connected app", Brands: []string{"gucci"}})
	h.must(err)
	_, err = hq.OpenIncident(ctx, "gucci", api.IncidentRequest{Title: "phone call", Source: "report"})
	h.must(err)
	type answer struct{ status, title string }
	var seen []answer
	for _, id := range []string{"group-1", "group-2", "group-0", "1", "2", "group-99999999999", "group-group-1", "-1"} {
		_, err := theirs.Incident(ctx, "balenciaga", id)
		if !isType(err, api.TypeNotFound) {
			t.Errorf("incident %s gives %v", id, err)
			continue
		}
		seen = append(seen, answer{api.TypeNotFound, strings.SplitN(err.Error(), "(", 2)[0]})
	}
	for _, a := range seen {
		if a != seen[0] {
			t.Errorf("of two that are not theirs one is told apart: %+v and %+v", a, seen[0])
		}
	}
	if _, err := theirs.Incident(ctx, "gucci", "1"); err == nil {
		t.Error("an officer of another brand saw an incident")
	}
	if list, err := theirs.Incidents(ctx, "balenciaga"); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	const secret = "zoe.unmistakable@example.com"
	for name, req := range map[string]api.FactRequest{
		"name": {Name: secret, Text: "x"}, "brand": {Name: "note", Text: "x", Brand: secret}, "nothing": {Name: "aware"},
		"corrects": {Name: "note", Text: secret, Corrects: 1},
	} {
		if _, err := hq.StateFact(ctx, "gucci", "1", req); !isType(err, api.TypeInvalid) || strings.Contains(err.Error(), "unmistakable") {
			t.Errorf("a fact with a wrong %s gives %v", name, err)
		}
	}
	h.logged.mu.Lock()
	defer h.logged.mu.Unlock()
	if strings.Contains(h.logged.b.String(), "unmistakable") {
		t.Error("what was asked wrongly stands in the server's log")
	}
}
