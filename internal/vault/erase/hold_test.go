package erase_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const month = 30 * 24 * time.Hour

// hold places a legal hold by two people and returns it.
func hold(h *apptest.House, t *testing.T, officer, responder identity.Caller, req api.HoldRequest) api.Hold {
	t.Helper()
	req.Ground, req.Review = "claim 12", time.Now().AddDate(1, 0, 0).Format(time.DateOnly)
	_, err := h.Erase.PlaceHold(t.Context(), officer, "gucci", req)
	agree(h, t, responder, err)
	list, err := h.Erase.Holds(t.Context(), officer, "gucci")
	h.Must(err)
	return list.Holds[len(list.Holds)-1]
}

// agree approves what waits for a second person.
func agree(h *apptest.House, t *testing.T, by identity.Caller, err error) {
	t.Helper()
	var pending *change.PendingError
	if !errors.As(err, &pending) {
		t.Fatalf("one hand is enough: %v", err)
	}
	x, err := h.Changes.Approve(t.Context(), by, pending.ID)
	if err != nil || x.State != "done" {
		t.Fatalf("%+v, %v", x, err)
	}
}

// destroyed destroys what is due long after any cooling time.
func destroyed(h *apptest.House, t *testing.T) int {
	t.Helper()
	n, err := h.Erase.DestroyCooled(t.Context(), month)
	h.Must(err)
	return n
}

// A customer under a legal hold is erased: nobody reads them from then on, the answer says
// that a hold keeps the key, and the key outlives the cooling time, a restart, an order to
// destroy it at once and a brand without cooling time, until two people release every hold.
func TestALegalHoldKeepsKeys(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
		officer, responder := h.TwoPeople()
		tokens := h.Put("gucci", api.Fields{"external_id": "C-1"}, api.Fields{"external_id": "C-2"}, api.Fields{"external_id": "C-3"}, api.Fields{"external_id": "C-4"})
		if _, err := h.Erase.PlaceHold(ctx, alice, "gucci", api.HoldRequest{Tokens: tokens}); err == nil {
			t.Error("support places a hold")
		}
		first, err := h.Erase.Erase(ctx, officer, "gucci", tokens[3], false) // cools already
		if err != nil || first.Held {
			t.Fatalf("%+v, %v", first, err)
		}
		a := hold(h, t, officer, responder, api.HoldRequest{Tokens: tokens[:1], ExternalIDs: []string{"C-2", "nobody's"}})
		if a.Named != 3 || a.Ground != "claim 12" || a.Overdue || a.By == "" {
			t.Errorf("%+v", a)
		}
		b := hold(h, t, officer, responder, api.HoldRequest{Tokens: []string{tokens[0], tokens[3]}})
		for i, token := range tokens[:3] {
			out, err := h.Erase.Erase(ctx, officer, "gucci", token, false)
			if err != nil || out.Held != (i < 2) {
				t.Errorf("customer %d: %+v, %v", i, out, err)
			}
			if err := view(h, t, alice, token); err == nil {
				t.Errorf("customer %d is read", i)
			}
		}
		if n := destroyed(h, t); n != 1 {
			t.Errorf("%d keys were destroyed, not that of the one without a hold", n)
		}
		h.Restart()
		if n := destroyed(h, t); n != 0 {
			t.Errorf("after a restart %d keys were destroyed", n)
		}
		list, err := h.Erase.Cooling(ctx, officer, "gucci", api.ErasureQuery{})
		h.Must(err)
		if len(list.Erasures) != 3 || !list.Erasures[0].Held || !list.Erasures[1].Held || !list.Erasures[2].Held {
			t.Errorf("%+v", list.Erasures)
		}
		_, err = h.Erase.EraseNow(ctx, officer, "gucci", api.EraseNow{Tokens: tokens[:1]})
		if !errors.Is(err, ledger.ErrHeld) {
			t.Errorf("a key under a hold is to be destroyed at once: %v", err)
		}
		state, err := h.Upkeep.Erasures(ctx, h.Local, "gucci")
		if err != nil || state.Holds != 2 || state.Held != 3 || len(state.Overdue) != 0 {
			t.Errorf("%+v, %v", state, err)
		}

		_, err = h.Erase.ReleaseHold(ctx, officer, "gucci", a.ID, api.HoldRelease{Reason: "withdrawn"})
		agree(h, t, responder, err)
		if n := destroyed(h, t); n != 1 {
			t.Errorf("%d keys were destroyed, not that of the one whom only the released hold kept", n)
		}
		if _, err := h.Erase.ReleaseHold(ctx, officer, "gucci", a.ID, api.HoldRelease{Reason: "again"}); !errors.Is(err, erase.ErrNoHold) {
			t.Errorf("a hold is released twice: %v", err)
		}
		h.Later(400 * 24 * time.Hour)
		if state, err := h.Upkeep.Erasures(ctx, h.Local, "gucci"); err != nil || len(state.Overdue) != 1 || state.Overdue[0] != b.ID {
			t.Errorf("%+v, %v", state, err)
		}
		_, err = h.Erase.ReleaseHold(ctx, officer, "gucci", b.ID, api.HoldRelease{Reason: "over"})
		agree(h, t, responder, err)
		if n := destroyed(h, t); n != 2 {
			t.Errorf("%d keys were destroyed after the last hold", n)
		}
	})
}

// A hold on a period is on everybody in the log of its days, also at a brand without a
// cooling time; it binds however many keys are due before the one that no hold keeps.
func TestAHoldOnAPeriod(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	officer, responder := h.TwoPeople()
	var put []api.Fields
	for i := range 520 { // more than one step of DestroyCooled
		put = append(put, api.Fields{"external_id": fmt.Sprintf("C-%d", i)})
	}
	held := h.Put("gucci", put...)
	day := time.Now().Add(25 * time.Hour).UTC().Format(time.DateOnly)
	hold(h, t, officer, responder, api.HoldRequest{From: day, To: day})
	h.Later(2 * 24 * time.Hour)
	free := h.Put("gucci", api.Fields{"external_id": "D-1"}, api.Fields{"external_id": "D-2"})
	v, err := h.Disclose.Door.Enter(ctx, h.Local, "gucci")
	h.Must(err)
	ords, err := h.Disclose.Seal.Resolve(ctx, v.Brand.ID, append(held, free[0]))
	h.Must(err)
	gone, err := h.Erase.EraseFor(ctx, v, ords, time.Hour)
	if err != nil || len(gone) != len(ords) {
		t.Fatalf("%d erased, %v", len(gone), err)
	}
	if n := destroyed(h, t); n != 1 {
		t.Errorf("%d keys were destroyed", n)
	}
	_, err = h.Admin.SetCooling(ctx, h.Local, "gucci", api.ErasureCooling{Days: 0})
	agree(h, t, responder, err)
	_, err = h.Erase.UndoErasures(ctx, officer, "gucci", api.ErasureUndo{Tokens: held[:1]})
	agree(h, t, responder, err)
	if out, err := h.Erase.Erase(ctx, officer, "gucci", held[0], false); err != nil || !out.Held || out.Due.IsZero() {
		t.Errorf("at a brand without cooling time: %+v, %v", out, err)
	}
	if out, err := h.Erase.Erase(ctx, officer, "gucci", free[1], false); err != nil || out.Held || !out.Due.IsZero() {
		t.Errorf("without a hold: %+v, %v", out, err)
	}
	for name, req := range map[string]api.HoldRequest{
		"nobody":           {},
		"two kinds":        {Tokens: held[:1], From: day, To: day},
		"half a period":    {From: day},
		"a future":         {From: day, To: "2999-01-01"},
		"a turned period":  {From: day, To: "2020-01-01"},
		"no such customer": {Tokens: []string{"cus_x"}},
	} {
		req.Ground, req.Review = "x", "2999-01-01"
		var pending *change.PendingError
		if _, err := h.Erase.PlaceHold(ctx, officer, "gucci", req); err == nil || errors.As(err, &pending) {
			t.Errorf("a hold on %s: %v", name, err)
		}
	}
}

// What was logged first is carried out after a kill: the destruction of a key that was logged
// before the hold, and the beginning of an erasure that the hold keeps from its end.
func TestAHoldAndAKillBetween(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		officer, responder := h.TwoPeople()
		tokens := h.Put("gucci", api.Fields{"external_id": "C-1"}, api.Fields{"external_id": "C-2"})
		v, err := h.Disclose.Door.Enter(ctx, h.Local, "gucci")
		h.Must(err)
		ords, err := h.Disclose.Seal.Resolve(ctx, v.Brand.ID, tokens)
		h.Must(err)
		log := func(kind entry.Kind, ord record.Ordinal, detail entry.Detail) error {
			u, err := h.Disclose.Seal.Fetch(ctx, v.Brand.ID, []record.Ordinal{ord}, 0)
			h.Must(err)
			_, err = h.Ledger.Record(ctx, ledger.Event{Kind: kind, Who: v.Who, Ords: u.Ords(), Commit: u.Commitment(0), Detail: detail})
			return err
		}
		h.Must(log(entry.KindErasure, ords[0], nil)) // and killed
		hold(h, t, officer, responder, api.HoldRequest{Tokens: tokens})
		if err := log(entry.KindErasure, ords[1], nil); !errors.Is(err, ledger.ErrHeld) {
			t.Fatalf("the log takes the destruction of a key under a hold: %v", err)
		}
		h.Must(log(entry.KindErasureBegun, ords[1], entry.ErasureBegun{Due: "2020-01-01", By: entry.ByStaff})) // and killed
		h.Restart()
		if n, err := h.Erase.FinishCutOff(ctx, 0); n != 1 || err != nil {
			t.Errorf("%d keys were destroyed, %v", n, err)
		}
		if n := destroyed(h, t); n != 0 {
			t.Errorf("%d keys under a hold were destroyed", n)
		}
		if list, err := h.Erase.Cooling(ctx, officer, "gucci", api.ErasureQuery{}); err != nil || len(list.Erasures) != 1 || !list.Erasures[0].Held {
			t.Errorf("%+v, %v", list, err)
		}
	})
}
