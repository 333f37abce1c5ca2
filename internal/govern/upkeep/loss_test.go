package upkeep_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/govern/upkeep"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	sqlTestLossHead  = `SELECT size, checkpoint FROM log_tips WHERE brand = $1 ORDER BY size DESC LIMIT 1`
	sqlTestLossCut   = `DELETE FROM log_groups WHERE brand = $1 AND first >= $2`
	sqlTestLossTips  = `DELETE FROM log_tips WHERE brand = $1`
	sqlTestLossPoint = `INSERT INTO log_tips (brand, size, at, checkpoint) SELECT $1, $2, max(at), $3 FROM log_groups WHERE brand = $1`
)

// failedOver is a vault whose log of gucci lost its last three entries, and which noticed.
// It returns how many are left and the newest checkpoint of those that were.
func failedOver(t *testing.T, h *apptest.House) (size uint64, newest []byte) {
	t.Helper()
	ctx, brand := t.Context(), h.Brand("gucci")
	gucci := int64(brand)
	add := func() error {
		_, err := h.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Brand: brand}, Detail: entry.Checked{Check: "log-written"}})
		return err
	}
	h.Must(add())
	var cp []byte
	h.Must(h.DB.Row(ctx, sqlTestLossHead, gucci).Scan(&size, &cp))
	for range 3 {
		h.Must(add())
	}
	var most uint64
	h.Must(h.DB.Row(ctx, sqlTestLossHead, gucci).Scan(&most, &newest))
	for _, c := range []struct {
		sql  string
		args []any
	}{{sqlTestLossCut, []any{gucci, int64(size)}}, {sqlTestLossTips, []any{gucci}}, {sqlTestLossPoint, []any{gucci, int64(size), cp}}} {
		if _, err := h.DB.Exec(ctx, c.sql, c.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(); !errors.Is(err, ledger.ErrShorter) {
		t.Fatalf("over a log that was cut: %v", err)
	}
	return size, newest
}

// sizeOf is how many entries the log of the first brand has, by its head alone.
func sizeOf(h *apptest.House) uint64 {
	n, err := h.Ledger.Size(context.Background(), 1)
	h.Must(err)
	return n
}

// continues checks that the log goes on in a new epoch, that its first entry says who
// accepted the loss, and that the loss is named.
func continues(t *testing.T, h *apptest.House, size uint64, newest []byte, by string, first, second uint64) {
	t.Helper()
	if f := h.Ledger.Faults(); len(f) != 1 || f[0].Trouble != ledger.Followed {
		t.Errorf("before a restart: %+v", f)
	}
	h.Restart()
	ctx, gucci := t.Context(), h.Brand("gucci")
	e, _, err := h.Ledger.Entry(ctx, gucci, size)
	h.Must(err)
	d, ok := e.Detail.(entry.EpochBegun)
	if !ok || d.By != by || d.Cause != entry.CauseAcceptLoss || d.First != first || d.Second != second || d.Missing != 3 || d.Kept != string(newest) || d.Reason == "" {
		t.Errorf("the first entry after the loss is %s of %d: %+v", e.Kind, e.Principal, d)
	}
	h.Put("gucci", api.Fields{"external_id": "after", "email": "after@example.com"})
	if r, err := h.Ledger.Verify(ctx, gucci, newest); err != nil || r.Lost != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A log that lost entries continues when two people accept it: who may ask and approve is
// known from the group's log, which lost none.
func TestALossIsAcceptedByTwoPeople(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		adam := h.Person("adam", map[string]string{"group": access.Administrator})
		officer, _ := h.TwoPeople()
		req := api.LossRequest{Reason: "the primary is destroyed"}
		if _, err := h.Upkeep.AcceptLoss(ctx, adam, "gucci", req); !errors.Is(err, ledger.ErrNoLoss) {
			t.Errorf("a log that is well: %v", err)
		}
		size, newest := failedOver(t, h)
		if _, err := h.Upkeep.AcceptLoss(ctx, officer, "gucci", req); err == nil {
			t.Error("an officer asks")
		}
		if _, err := h.Upkeep.AcceptLoss(ctx, adam, "group", req); !errors.Is(err, upkeep.ErrGroupLoss) {
			t.Errorf("the group's log: %v", err)
		}
		_, err := h.Upkeep.AcceptLoss(ctx, adam, "gucci", req)
		pending, ok := errors.AsType[*change.PendingError](err)
		if !ok {
			t.Fatalf("one hand: %v", err)
		}
		if _, err := h.Changes.Approve(ctx, adam, pending.ID); !errors.Is(err, change.ErrOwn) {
			t.Errorf("the requester approves: %v", err)
		}
		if _, err := h.Upkeep.AcceptLoss(ctx, adam, "gucci", req); err == nil || sizeOf(h) != size {
			t.Errorf("before a second person: %v", err)
		}
		_, err = h.Changes.Approve(ctx, officer, pending.ID)
		h.Must(err)
		if n := sizeOf(h); n != size {
			t.Errorf("the approval itself added %d entries", n-size)
		}
		out, err := h.Upkeep.AcceptLoss(ctx, adam, "gucci", req)
		h.Must(err)
		if out.Epoch != 2 || out.Size != size || out.Missing != 3 || len(out.Files) == 0 {
			t.Errorf("%+v", out)
		}
		for _, f := range out.Files {
			if _, err := os.Stat(f); err != nil {
				t.Errorf("evidence: %v", err)
			}
		}
		if _, err := h.Upkeep.AcceptLoss(ctx, adam, "gucci", req); !errors.Is(err, ledger.ErrNoLoss) {
			t.Errorf("a second time: %v", err)
		}
		continues(t, h, size, newest, entry.ByTwoPeople, adam.Principal, officer.Principal)
	})
}

// Broken glass accepts a loss at the socket alone, after its delay, whether or not two
// people have existed: the lost entries may be those that made two people eligible.
func TestBrokenGlassAcceptsALossAtTheSocketAlone(t *testing.T) {
	t.Parallel()
	for name, two := range map[string]bool{"two people": true, "nobody is second": false} {
		t.Run(name, func(t *testing.T) { brokenGlassAcceptsALoss(t, two) })
	}
}

func brokenGlassAcceptsALoss(t *testing.T, two bool) {
	h := apptest.Open(t)
	ctx := t.Context()
	adam := h.Person("adam", map[string]string{"group": access.Administrator})
	if two {
		h.TwoPeople()
	}
	size, newest := failedOver(t, h)
	ask := func(c identity.Caller) string {
		t.Helper()
		_, err := h.Upkeep.AcceptLoss(ctx, c, "gucci", api.LossRequest{Reason: "lost"})
		pending, ok := errors.AsType[*change.PendingError](err)
		if !ok {
			t.Fatalf("one hand: %v", err)
		}
		return pending.ID
	}
	glass := api.BreakGlassRequest{Reason: "both are on a plane"}
	if _, err := h.Changes.BreakGlass(ctx, adam, ask(adam), glass); !errors.Is(err, change.ErrSocket) {
		t.Errorf("from afar: %v", err)
	}
	// Nor does a log that was cut let one hand do anything else at once.
	var pending *change.PendingError
	if _, err := h.Admin.SetCooling(ctx, h.Local, "balenciaga", api.ErasureCooling{Days: 0}); !errors.As(err, &pending) {
		t.Errorf("one hand shortens a cooling time beside a log that was cut: %v", err)
	}
	id := ask(h.Local)
	for range 2 {
		_, err := h.Changes.BreakGlass(ctx, h.Local, id, glass)
		h.Must(err)
		if n := sizeOf(h); n != size {
			t.Fatalf("before the delay, %d entries were added", n-size)
		}
	}
	h.Later(change.DefaultGlass + time.Minute)
	_, err := h.Changes.BreakGlass(ctx, h.Local, id, glass)
	h.Must(err)
	continues(t, h, size, newest, entry.ByBreakGlass, h.Local.Principal, 0)
}
