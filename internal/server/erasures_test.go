package server

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/record"
)

// some puts customers and returns their tokens.
func (h *house) some(n int) (tokens []string) {
	h.t.Helper()
	var req api.PutRequest
	for i := range n {
		req.Customers = append(req.Customers, api.Fields{"external_id": fmt.Sprintf("M-%d", i), "given_name": "Zoe"})
	}
	w, err := h.as["application"].Put(h.t.Context(), "gucci", req)
	h.must(err)
	for _, r := range w.Results {
		tokens = append(tokens, r.Token)
	}
	return tokens
}

// whoEnters is the administrator at a brand, and the ordinals of its customers.
func (h *house) whoEnters(tokens []string) (*admit.Visit, []record.Ordinal) {
	h.t.Helper()
	ctx, v := h.t.Context(), h.server.vault
	local, err := v.Identity.EnsureLocal(ctx, "administrator")
	h.must(err)
	visit, err := v.Disclose.Door.Enter(ctx, local, "gucci")
	h.must(err)
	ords, err := v.Disclose.Seal.Resolve(ctx, visit.Brand.ID, tokens)
	h.must(err)
	return visit, ords
}

// Who is erased together with others is erased as if alone: the proofs of those who are in
// entries beside them stay, and what does not fit into the time is left as it was.
func TestManyAreErasedAsEachAlone(t *testing.T) { onEach(t, manyAreErasedAsEachAlone) }

func manyAreErasedAsEachAlone(t *testing.T, h *house) {
	ctx := t.Context()
	tokens := h.some(6)
	reveal := func(tokens ...string) error {
		_, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"given_name"}, Purpose: "customer-support"})
		return err
	}
	for range 2 { // so that counters differ
		h.must(reveal(tokens...))
	}
	h.must(reveal(tokens[2]))
	h.must(reveal(tokens[0], tokens[2], tokens[5]))

	v := h.server.vault
	visit, ords := h.whoEnters(tokens)

	gone, err := v.Admin.EraseFor(ctx, visit, ords[1:4], 0)
	if err != nil || !slices.Equal(gone, ords[1:2]) {
		t.Fatalf("within no time %v of %v were erased, %v", gone, ords[1:4], err)
	}
	if err := reveal(tokens[2:]...); err != nil { // and one more entry that has them
		t.Errorf("those that were left: %v", err)
	}
	gone, err = v.Admin.EraseFor(ctx, visit, ords[1:4], time.Minute)
	if err != nil || !slices.Equal(gone, ords[1:4]) {
		t.Fatalf("%v of %v were erased, %v", gone, ords[1:4], err)
	}
	for i, token := range tokens {
		err := reveal(token)
		if erased := i >= 1 && i < 4; erased != isType(err, api.TypeUnknownToken) || !erased && err != nil {
			t.Errorf("customer %d: %v", i, err)
		}
	}
	for i, want := range map[int]int{0: 4, 4: 4, 5: 5} {
		d, err := h.as["data-protection-officer"].WhoRead(ctx, "gucci", tokens[i])
		if err != nil || len(d.Disclosures) != want {
			t.Errorf("who read customer %d: %+v, %v", i, d, err)
		}
	}
}

// Entries that are logged while customers are erased, with these in them, are proven
// afterwards to the others in them.
func TestReadsMeanwhileAreProven(t *testing.T) { onEach(t, readsMeanwhileAreProven) }

func readsMeanwhileAreProven(t *testing.T, h *house) {
	ctx := t.Context()
	tokens := h.some(41)
	v := h.server.vault
	visit, ords := h.whoEnters(tokens)
	var reading sync.WaitGroup
	for range 4 {
		reading.Go(func() {
			for some := true; some; {
				some = false
				for _, token := range tokens[1:] {
					_, err := h.as["application"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{tokens[0], token}, Fields: []string{"given_name"}, Purpose: "order-fulfilment"})
					if err != nil && !isType(err, api.TypeUnknownToken) {
						t.Errorf("reading: %v", err)
						return
					}
					some = some || err == nil
				}
			}
		})
	}
	gone, err := v.Admin.EraseFor(ctx, visit, ords[1:], time.Minute)
	if err != nil || !slices.Equal(gone, ords[1:]) {
		t.Errorf("%d were erased, %v", len(gone), err)
	}
	reading.Wait()
	if d, err := h.as["data-protection-officer"].WhoRead(ctx, "gucci", tokens[0]); err != nil || len(d.Disclosures) == 0 {
		t.Errorf("who read the one who stays: %v", err)
	}
}
