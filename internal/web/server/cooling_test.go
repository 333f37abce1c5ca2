package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// afterwards is longer than any cooling time.
const afterwards = 30 * 24 * time.Hour

// addressed puts customers who can be written to.
func (h *house) addressed(n int) (tokens []string, put []api.Fields) {
	h.t.Helper()
	for i := range n {
		put = append(put, api.Fields{
			"external_id": fmt.Sprintf("A-%d", i), "given_name": fmt.Sprintf("Zoe-%d", i), "email": fmt.Sprintf("zoe%d@example.com", i),
			"phone": fmt.Sprintf("+3361234%04d", i), "postal_code": fmt.Sprintf("75%03d", i), "country": "FR",
		})
	}
	w, err := h.as["application"].Put(h.t.Context(), "gucci", api.PutRequest{Customers: put})
	h.must(err)
	for _, r := range w.Results {
		tokens = append(tokens, r.Token)
	}
	return tokens, put
}

// well checks that the database has no fault and the log is as it was signed.
func (h *house) well() {
	h.t.Helper()
	ctx := h.t.Context()
	for at := (api.CheckPlace{}); ; {
		out, err := h.Check(ctx, at)
		h.must(err)
		if len(out.Faults) > 0 {
			h.t.Errorf("db check: %+v", out.Faults)
		}
		if out.Done {
			break
		}
		at = out.Next
	}
	var v api.Verified
	h.must(h.Do(ctx, "POST", "/v1/brands/gucci/log/verify", map[string]string{}, &v))
	if !v.OK {
		h.t.Errorf("the log: %s", v.Fault)
	}
}

// gone checks that nothing of customers can be read, found or counted.
func (h *house) gone(tokens []string, put []api.Fields) {
	h.t.Helper()
	ctx := h.t.Context()
	agent, officer := h.as["support-agent"], h.as["data-protection-officer"]
	for i, token := range tokens {
		if _, err := agent.View(ctx, "gucci", token, "customer-support", ""); !isType(err, api.TypeUnknownToken) {
			h.t.Errorf("customer %d is viewed: %v", i, err)
		}
		if _, err := officer.WhoRead(ctx, "gucci", token); !isType(err, api.TypeUnknownToken) {
			h.t.Errorf("who read customer %d: %v", i, err)
		}
		if _, err := h.as["application"].Patch(ctx, "gucci", token, api.Fields{"given_name": "Yan"}); !isType(err, api.TypeUnknownToken) {
			h.t.Errorf("customer %d is written: %v", i, err)
		}
		if _, err := officer.Erase(ctx, "gucci", token); !isType(err, api.TypeUnknownToken) {
			h.t.Errorf("customer %d is erased again: %v", i, err)
		}
		if put == nil {
			continue
		}
		for _, by := range []string{"email", "phone", "external_id"} {
			found, err := officer.Search(ctx, "gucci", api.SearchRequest{By: by, Value: put[i][by], Purpose: "data-subject-request"})
			if err != nil || len(found.Customers) != 0 {
				h.t.Errorf("customer %d is found by %s: %v", i, by, err)
			}
		}
	}
}

// An attacker with an officer's key erases everybody. At once nobody can be read, found or
// counted; and two people undo it: everybody is there as before, under the same token, with
// the proofs of who read them.
func TestAMassErasureIsUndone(t *testing.T) {
	t.Parallel()
	onEach(t, aMassErasureIsUndone)
}

func aMassErasureIsUndone(t *testing.T, h *house) {
	ctx := t.Context()
	tokens, put := h.addressed(24)
	officer := h.as["data-protection-officer"]
	reveal := func(tokens ...string) (*api.Disclosed, error) {
		return officer.Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"external_id", "email", "phone", "given_name", "postal_code", "country", "purchases"}, Purpose: "data-subject-request"})
	}
	before, err := reveal(tokens...)
	h.must(err)
	there, err := h.vault.Disclose.Seal.Count(ctx, 1)
	h.must(err)
	for _, token := range tokens[:20] {
		out, err := officer.Erase(ctx, "gucci", token)
		if err != nil || out.Due.Before(time.Now().Add(6*24*time.Hour)) || out.TakeBackCode != "" {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	h.gone(tokens[:20], put)
	if n, err := h.vault.Disclose.Seal.Count(ctx, 1); err != nil || n != there-20 {
		t.Errorf("%d customers are counted, %v", n, err)
	}
	if d, err := officer.WhoRead(ctx, "gucci", tokens[20]); err != nil || len(d.Disclosures) == 0 {
		t.Errorf("the proofs of one who stays: %v", err)
	}
	list, err := officer.Erasures(ctx, "gucci", 0, 0)
	h.must(err)
	var listed []string
	for _, x := range list.Erasures {
		listed = append(listed, x.Token)
	}
	if slices.Sort(listed); !slices.Equal(listed, slices.Sorted(slices.Values(tokens[:20]))) {
		t.Errorf("%d erasures are listed", len(listed))
	}
	if _, err := h.as["support-agent"].Erasures(ctx, "gucci", 0, 0); !isType(err, api.TypePolicyDenied) {
		t.Errorf("support lists erasures: %v", err)
	}
	h.well()

	visit, ords := h.whoEnters(tokens[:20])
	if n, err := h.vault.Erase.DestroyCooled(ctx, 0); n != 0 || err != nil {
		t.Errorf("%d keys were destroyed early, %v", n, err)
	}
	back, err := h.vault.Erase.Undo(ctx, visit.Who, ords)
	if err != nil || !slices.Equal(back, ords) {
		t.Fatalf("%d came back, %v", len(back), err)
	}
	after, err := reveal(tokens...)
	h.must(err)
	if !reflect.DeepEqual(before.Customers, after.Customers) {
		t.Error("customers came back as others")
	}
	for i, f := range put {
		for _, by := range []string{"email", "phone", "external_id"} {
			found, err := officer.Search(ctx, "gucci", api.SearchRequest{By: by, Value: f[by], Purpose: "data-subject-request"})
			if err != nil || len(found.Customers) != 1 || found.Customers[0].Token != tokens[i] {
				t.Errorf("customer %d by %s: %+v, %v", i, by, found, err)
			}
		}
	}
	if d, err := officer.WhoRead(ctx, "gucci", tokens[3]); err != nil || len(d.Disclosures) < 2 {
		t.Errorf("the proofs of one who came back: %v", err)
	}
	h.well()

	// Erased again, and the cooling time passes: then nothing brings them back.
	for _, token := range tokens[:5] {
		_, err := officer.Erase(ctx, "gucci", token)
		h.must(err)
	}
	if n, err := h.vault.Erase.DestroyCooled(ctx, afterwards); n != 5 || err != nil {
		t.Errorf("%d keys were destroyed, %v", n, err)
	}
	h.gone(tokens[:5], put)
	if back, err := h.vault.Erase.Undo(ctx, visit.Who, ords[:5]); len(back) != 0 || err != nil {
		t.Errorf("%d came back after their keys were destroyed, %v", len(back), err)
	}
	if n := h.count(`SELECT (SELECT count(*) FROM cooling) + (SELECT count(*) FROM take_backs) + (SELECT count(*) FROM log_erasures) + (SELECT count(*) FROM customers WHERE erased <> 0 AND sealed IS NOT NULL)`); n != 0 {
		t.Errorf("%d rows are left of those who are erased", n)
	}
	if d, err := officer.WhoRead(ctx, "gucci", tokens[20]); err != nil || len(d.Disclosures) == 0 {
		t.Errorf("the proofs of one who stays: %v", err)
	}
	kinds := map[entry.Kind]int{}
	for _, k := range []entry.Kind{entry.KindErasureBegun, entry.KindErasureUndone, entry.KindErasure} {
		kinds[k] = len(h.entriesOf(k))
	}
	if kinds[entry.KindErasureBegun] != 25 || kinds[entry.KindErasureUndone] != 20 || kinds[entry.KindErasure] != 5 {
		t.Errorf("the log has %v", kinds)
	}
	h.well()
}

// What a proven customer asked for they alone take back, with the code of the confirmation
// and an address of theirs. A wrong pair is answered as for a stranger.
func TestOnlyTheCustomerTakesTheirErasureBack(t *testing.T) {
	t.Parallel()
	onEach(t, onlyTheCustomerTakesTheirErasureBack)
}

func onlyTheCustomerTakesTheirErasureBack(t *testing.T, h *house) {
	ctx := t.Context()
	tokens, put := h.addressed(4)
	officer := h.as["data-protection-officer"]
	var codes []string
	for _, token := range tokens[:3] {
		out, err := officer.EraseFor(ctx, "gucci", token)
		h.must(err)
		codes = append(codes, out.TakeBackCode)
	}
	if codes[0] == "" || codes[0] == codes[1] {
		t.Fatalf("%q", codes)
	}
	h.gone(tokens[:3], put)
	visit, ords := h.whoEnters(tokens)
	if back, err := h.vault.Erase.Undo(ctx, visit.Who, ords[:1]); len(back) != 0 || !errors.Is(err, erase.ErrAsked) {
		t.Errorf("staff took back what a customer asked for: %v, %v", back, err)
	}
	answer := func(code, address string) string {
		_, err := officer.TakeBackErasure(ctx, "gucci", api.TakeBackRequest{Code: code, Address: address, Country: "FR"})
		if err == nil {
			return ""
		}
		var e *api.Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		return fmt.Sprint(e.Status, e.Type, e.Title, e.Detail)
	}
	stranger := answer("aaaa-bbbb-cccc-dddd-eeee-ffff", "stranger@example.com")
	for name, pair := range map[string][2]string{
		"another's code":             {codes[1], put[0]["email"]},
		"a stranger's address":       {codes[0], "stranger@example.com"},
		"no code":                    {"", put[0]["email"]},
		"a customer who is there":    {codes[0], put[3]["email"]},
		"no address":                 {codes[0], ""},
		"a customer's own ID":        {codes[0], put[0]["external_id"]},
		"the code cut short":         {codes[0][:20], put[0]["email"]},
		"what is no e-mail or phone": {codes[0], "no address"},
	} {
		if got := answer(pair[0], pair[1]); got != stranger {
			t.Errorf("%s is answered %q, and a stranger %q", name, got, stranger)
		}
	}
	// However it is written.
	for i, address := range []string{" ZOE0@Example.COM ", "06 12 34 00 01", "75 002"} {
		code := codes[i]
		if i == 1 {
			code = fmt.Sprintf(" %s ", code[:4]+" "+code[5:])
		}
		if got := answer(code, address); got != "" {
			t.Errorf("customer %d: %s", i, got)
		}
		if _, err := h.as["support-agent"].View(ctx, "gucci", tokens[i], "customer-support", ""); err != nil {
			t.Errorf("customer %d: %v", i, err)
		}
		if got := answer(code, address); got != stranger {
			t.Errorf("a code that was used is answered %q", got)
		}
	}
	// After the key is destroyed the code is worth nothing.
	out, err := officer.EraseFor(ctx, "gucci", tokens[0])
	h.must(err)
	if n, err := h.vault.Erase.DestroyCooled(ctx, afterwards); n != 1 || err != nil {
		t.Errorf("%d were destroyed, %v", n, err)
	}
	if got := answer(out.TakeBackCode, put[0]["email"]); got != stranger {
		t.Errorf("after the key is destroyed: %q", got)
	}
	// Nor is it stored where a copy of the database shows it.
	for _, table := range []string{"write_answers", "take_backs", "cooling", "log_groups"} {
		if h.holds(table, out.TakeBackCode) {
			t.Errorf("the code stands in %s", table)
		}
	}
	h.well()
}

// holds reports whether a text stands in a column of a table.
func (h *house) holds(table, text string) bool {
	column := map[string]string{"write_answers": "answer", "take_backs": "value", "cooling": "wrapped", "log_groups": "subjects"}[table]
	return h.count(fmt.Sprintf(`SELECT count(*) FROM %s WHERE %s = '%s'`, table, column, text)) > 0
}

// Each step of an erasure that a kill cut off after its entry is carried out, also after the
// keys were rotated in between.
func TestStepsOfErasuresThatWereCutOffAreCarriedOut(t *testing.T) {
	t.Parallel()
	onEach(t, stepsOfErasuresThatWereCutOffAreCarriedOut)
}

func stepsOfErasuresThatWereCutOffAreCarriedOut(t *testing.T, h *house) {
	ctx := t.Context()
	tokens, put := h.addressed(4)
	officer := h.as["data-protection-officer"]
	visit, ords := h.whoEnters(tokens)
	v := h.vault
	read := map[record.Ordinal]ledger.Commit{} // of those who are there
	for _, ord := range ords {
		u, err := v.Disclose.Seal.Fetch(ctx, 1, []record.Ordinal{ord}, 0)
		h.must(err)
		read[ord] = u.Commitment(0)
	}
	log := func(kind entry.Kind, ord record.Ordinal, detail entry.Detail) error {
		ev := ledger.Event{Kind: kind, Who: visit.Who, Ords: []record.Ordinal{ord}, Detail: detail, Commit: read[ord]}
		if kind != entry.KindErasureBegun {
			l, err := v.Disclose.Seal.Laid(ctx, 1, ord)
			h.must(err)
			ev.Commit = l.Commitment()
		}
		_, err := v.Ledger.Record(ctx, ev)
		return err
	}
	due := entry.ErasureBegun{Due: "2099-01-01", By: entry.ByStaff}
	finish := func() {
		t.Helper()
		if _, err := v.Erase.FinishCutOff(ctx, 0); err != nil {
			t.Error(err)
		}
	}
	h.must(log(entry.KindErasureBegun, ords[0], due))
	// From the entry on nothing is released, though the key still lies where it was.
	if _, err := officer.View(ctx, "gucci", tokens[0], "data-subject-request", ""); !isType(err, api.TypeUnknownToken) {
		t.Errorf("between the entry and the act: %v", err)
	}
	if err := log(entry.KindErasureBegun, ords[0], due); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("an erasure was begun twice: %v", err)
	}
	finish()
	h.gone(tokens[:1], put)
	h.rotate("kek", "index")
	h.must(log(entry.KindErasureUndone, ords[0], entry.ErasureUndone{By: entry.ByStaff}))
	if err := log(entry.KindErasureUndone, ords[0], entry.ErasureUndone{By: entry.ByStaff}); !errors.Is(err, ledger.ErrNotCooling) {
		t.Errorf("an erasure was taken back twice: %v", err)
	}
	// It was taken back, so its key is not destroyed any more.
	if n, err := v.Erase.DestroyCooled(ctx, 100*365*24*time.Hour); n != 0 || err != nil {
		t.Errorf("%d keys were destroyed, %v", n, err)
	}
	finish()
	if found, err := officer.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: put[0]["email"], Purpose: "data-subject-request"}); err != nil || len(found.Customers) != 1 {
		t.Errorf("who came back is not found: %v", err)
	}
	// The end.
	_, err := officer.Erase(ctx, "gucci", tokens[1])
	h.must(err)
	l, err := v.Disclose.Seal.Laid(ctx, 1, ords[1])
	h.must(err)
	h.must(log(entry.KindErasure, ords[1], entry.ErasureCooled{Begun: l.Entry}))
	if _, err := v.Erase.Undo(ctx, visit.Who, ords[1:2]); !errors.Is(err, ledger.ErrNotCooling) {
		t.Errorf("taken back after its end was logged: %v", err)
	}
	finish()
	if n := h.count(`SELECT (SELECT count(*) FROM cooling) + (SELECT count(*) FROM log_erasures)`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	// Rotated while it cools, and destroyed.
	_, err = officer.Erase(ctx, "gucci", tokens[2])
	h.must(err)
	h.rotate("kek", "index")
	h.well()
	if n, err := v.Erase.DestroyCooled(ctx, afterwards); n != 1 || err != nil {
		t.Errorf("%d keys were destroyed, %v", n, err)
	}
	h.well()
}

// rotate rotates keys of gucci and waits for it.
func (h *house) rotate(kinds ...string) {
	h.t.Helper()
	ctx := h.t.Context()
	tending, stop := context.WithCancel(ctx)
	var tend sync.WaitGroup
	defer func() { stop(); tend.Wait() }()
	tend.Go(func() { h.vault.Upkeep.Tend(tending, slog.New(slog.DiscardHandler)) })
	for _, kind := range kinds {
		h.must(h.Do(ctx, "POST", "/v1/brands/gucci/keys/"+kind+"/rotate", nil, nil))
		h.await(h.t, "the rotation ends", func() bool {
			var list []api.Rotation
			h.must(h.Do(ctx, "GET", "/v1/brands/gucci/rotations", nil, &list))
			return !slices.ContainsFunc(list, func(r api.Rotation) bool { return r.Ended.IsZero() })
		})
	}
}

// Whoever writes rows brings nobody back: a key that lies aside opens in its own place only.
func TestAKeyPutBackByHandDoesNotOpen(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		tokens, _ := h.addressed(2)
		_, err := h.as["data-protection-officer"].Erase(ctx, "gucci", tokens[0])
		h.must(err)
		for _, sql := range []string{
			`INSERT INTO customer_keys (ord, brand, kek, version, epoch, segments, wrapped) SELECT ord, brand, kek, version, epoch, segments, wrapped FROM cooling`,
			`DELETE FROM cooling`, `UPDATE customers SET erased = 0`,
		} {
			_, err := h.vault.DB.Exec(ctx, sql)
			h.must(err)
		}
		if d, err := h.as["support-agent"].View(ctx, "gucci", tokens[0], "customer-support", ""); err == nil {
			t.Errorf("%+v", d)
		}
	})
}

// A brand says how long keys lie aside; it is logged, and 0 destroys at once.
func TestTheCoolingTimeOfABrand(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	if got, err := h.as["support-agent"].ErasureCooling(ctx, "gucci"); err != nil || got.Days != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := h.as["data-protection-officer"].SetErasureCooling(ctx, "gucci", api.ErasureCooling{}); !isType(err, api.TypePolicyDenied) {
		t.Errorf("an officer set it: %v", err)
	}
	if _, err := h.SetErasureCooling(ctx, "gucci", api.ErasureCooling{Days: 22}); !isType(err, api.TypeInvalid) {
		t.Errorf("22 days: %v", err)
	}
	_, err := h.SetErasureCooling(ctx, "gucci", api.ErasureCooling{Days: 0})
	h.must(err)
	tokens := h.some(2)
	out, err := h.as["data-protection-officer"].Erase(ctx, "gucci", tokens[0])
	if err != nil || !out.Due.IsZero() || h.count(`SELECT count(*) FROM cooling`) != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := h.as["data-protection-officer"].EraseFor(ctx, "gucci", tokens[1]); err != nil {
		t.Error(err)
	}
}
