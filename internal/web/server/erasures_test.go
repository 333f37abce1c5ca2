package server_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
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
func (h *house) whoEnters(tokens []string) (*door.Visit, []record.Ordinal) {
	h.t.Helper()
	ctx, v := h.t.Context(), h.vault
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
func TestManyAreErasedAsEachAlone(t *testing.T) {
	t.Parallel()
	onEach(t, manyAreErasedAsEachAlone)
}

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

	v := h.vault
	visit, ords := h.whoEnters(tokens)

	gone, err := v.Erase.EraseFor(ctx, visit, ords[1:4], 0)
	if err != nil || !slices.Equal(gone, ords[1:2]) {
		t.Fatalf("within no time %v of %v were erased, %v", gone, ords[1:4], err)
	}
	if err := reveal(tokens[2:]...); err != nil { // and one more entry that has them
		t.Errorf("those that were left: %v", err)
	}
	gone, err = v.Erase.EraseFor(ctx, visit, ords[1:4], time.Minute)
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
func TestReadsMeanwhileAreProven(t *testing.T) {
	t.Parallel()
	onEach(t, readsMeanwhileAreProven)
}

func readsMeanwhileAreProven(t *testing.T, h *house) {
	ctx := t.Context()
	tokens := h.some(41)
	v := h.vault
	visit, ords := h.whoEnters(tokens)
	// So that some are in an entry before they are erased, however slow the machine is.
	if _, err := h.as["application"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens[:3], Fields: []string{"given_name"}, Purpose: "order-fulfilment"}); err != nil {
		t.Fatal(err)
	}
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
	gone, err := v.Erase.EraseFor(ctx, visit, ords[1:], time.Minute)
	if err != nil || !slices.Equal(gone, ords[1:]) {
		t.Errorf("%d were erased, %v", len(gone), err)
	}
	reading.Wait()
	if d, err := h.as["data-protection-officer"].WhoRead(ctx, "gucci", tokens[0]); err != nil || len(d.Disclosures) == 0 {
		t.Errorf("who read the one who stays: %v", err)
	}
}

// A customer who is written all the time is erased all the same: an entry that says so
// is never followed by a refusal.
func TestAnErasureWinsOverWrites(t *testing.T) {
	t.Parallel()
	onEach(t, anErasureWinsOverWrites)
}

func anErasureWinsOverWrites(t *testing.T, h *house) {
	ctx := t.Context()
	for i, token := range h.some(6) {
		var writing sync.WaitGroup
		for w := range 3 {
			writing.Go(func() {
				for n := 0; ; n++ {
					err := h.as["application"].Do(ctx, "PATCH", client.Path("brands", "gucci", "customers", token), api.Fields{"given_name": fmt.Sprintf("Zoe-%d-%d", w, n)}, nil)
					if isType(err, api.TypeUnknownToken) {
						return
					}
					if err != nil && !isType(err, api.TypeConflict) {
						t.Errorf("writing customer %d: %v", i, err)
						return
					}
				}
			})
		}
		time.Sleep(20 * time.Millisecond) // so that they write
		for n := 0; ; n++ {
			_, err := h.as["data-protection-officer"].Erase(ctx, "gucci", token)
			if err == nil {
				break
			}
			t.Errorf("erasing customer %d: %v", i, err)
			if n == 100 {
				t.FailNow()
			}
		}
		writing.Wait()
	}
	if n := h.count(`SELECT count(*) FROM log_erasures`); n != 0 {
		t.Errorf("%d erasures seem unfinished", n)
	}
}

// count returns the number that a statement reads.
func (h *house) count(sql string) (n int64) {
	h.t.Helper()
	h.must(h.vault.DB.Row(h.t.Context(), sql).Scan(&n))
	return n
}

// cutOff leaves what a server leaves that is killed between the entry of an erasure and
// the erasure: the entry, of each of so many who asked for it at once.
func (h *house) cutOff(visit *door.Visit, ord record.Ordinal, times int) {
	h.t.Helper()
	ctx, v := h.t.Context(), h.vault
	u, err := v.Disclose.Seal.Fetch(ctx, visit.Brand.ID, []record.Ordinal{ord}, 0)
	h.must(err)
	for range times {
		_, err = v.Ledger.Record(ctx, ledger.Event{Kind: entry.KindErasure, Who: visit.Who, Ords: u.Ords(), Commit: u.Commitment(0)})
		h.must(err)
	}
}

// An erasure that was logged and cut off is carried out when a server starts; one that
// another server has logged a moment ago is left to that server.
func TestAnErasureThatWasCutOffIsFinished(t *testing.T) {
	t.Parallel()
	onEach(t, anErasureThatWasCutOffIsFinished)
}

func anErasureThatWasCutOffIsFinished(t *testing.T, h *house) {
	ctx := t.Context()
	tokens := h.some(4)
	_, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"given_name"}, Purpose: "customer-support"})
	h.must(err)
	visit, ords := h.whoEnters(tokens)
	h.cutOff(visit, ords[1], 2)
	h.cutOff(visit, ords[2], 1)
	err = h.as["application"].Do(ctx, "PATCH", client.Path("brands", "gucci", "customers", tokens[2]), api.Fields{"given_name": "Yan"}, nil)
	if !isType(err, api.TypeUnknownToken) {
		t.Errorf("a write of somebody whose erasure is logged: %v", err)
	}

	v := h.vault
	if n, err := v.Erase.FinishCutOff(ctx, time.Hour); n != 0 || err != nil {
		t.Errorf("%d erasures were finished that may be in flight, %v", n, err)
	}
	if n, err := v.Erase.FinishCutOff(ctx, 0); n != 2 || err != nil {
		t.Errorf("%d erasures were finished, %v", n, err)
	}
	for i, token := range tokens {
		_, err := h.as["support-agent"].View(ctx, "gucci", token, "customer-support", "")
		if erased := i == 1 || i == 2; erased != isType(err, api.TypeUnknownToken) || !erased && err != nil {
			t.Errorf("customer %d: %v", i, err)
		}
	}
	if d, err := h.as["data-protection-officer"].WhoRead(ctx, "gucci", tokens[0]); err != nil || len(d.Disclosures) != 2 {
		t.Errorf("who read one who stays: %+v, %v", d, err)
	}
	if n := h.count(`SELECT count(*) FROM log_erasures`); n != 0 {
		t.Errorf("%d erasures seem unfinished", n)
	}
}

// A row that no entry stands behind erases nobody.
func TestAnErasureThatIsNotInTheLogIsNotFinished(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		tokens := h.some(2)
		visit, ords := h.whoEnters(tokens)
		h.cutOff(visit, ords[0], 1)
		db := h.vault.DB
		_, err := db.Exec(ctx, `UPDATE log_erasures SET ord = $1`, int64(ords[1]))
		h.must(err)
		if n, err := h.vault.Erase.FinishCutOff(ctx, 0); n != 0 || !errors.Is(err, ledger.ErrTampered) {
			t.Errorf("%d were erased, %v", n, err)
		}
		for i, token := range tokens {
			_, err := h.as["support-agent"].View(ctx, "gucci", token, "customer-support", "")
			if logged := i == 0; logged != isType(err, api.TypeUnknownToken) || !logged && err != nil {
				t.Errorf("customer %d: %v", i, err)
			}
		}
	})
}
