package backup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/app"
)

// A restore begins a new epoch of every log. Its first entry names what the backup does not
// have; proofs, and the checkpoints and the key from before, go on to hold.
func TestARestoreBeginsANewEpoch(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 30), newCustody(t)
		read := h.tokens["gucci"][1]
		h.reveal("gucci", read)
		before := h.checkpoint("gucci")
		c.backup(h, "monday")
		h.reveal("gucci", read)
		h.reveal("gucci", read)
		after := h.checkpoint("gucci")
		must(t, h.v.Close())

		o := c.options(h, engine, "monday")
		o.Checkpoints = [][]byte{[]byte(after.Checkpoint)}
		if _, err := app.Restore(ctx, o, nil); err == nil || !strings.Contains(err.Error(), "--accept-loss") {
			t.Fatalf("entries are missing: %v", err)
		}
		o = c.options(h, engine, "monday")
		o.Checkpoints, o.AcceptLoss = [][]byte{[]byte(after.Checkpoint)}, true
		r, report := c.restored(h, o)
		if l := report.Logs[1]; l.Brand != "gucci" || l.Epoch != 2 || l.Missing != 2 {
			t.Errorf("%+v", report.Logs)
		}
		first, err := r.as("officer").Entry(ctx, "gucci", before.Size)
		must(t, err)
		if first.Kind != "epoch" || first.Detail["missing"] != "2" || first.Detail["cause"] != "restore" || !strings.Contains(first.Detail["kept"], "\n") {
			t.Errorf("the first entry after the backup is %+v", first)
		}
		r.reveal("gucci", read)
		for _, older := range []api.Checkpoint{before, after, {}} {
			r.verify(map[string]api.Checkpoint{"gucci": older})
		}
		who, err := r.as("officer").WhoRead(ctx, "gucci", read)
		must(t, err)
		if len(who.Disclosures) != 2 || who.Disclosures[0].Entry >= before.Size || who.Disclosures[1].Entry <= before.Size {
			t.Errorf("who read them: %d disclosures", len(who.Disclosures))
		}
		for _, vkey := range []string{before.VerifierKey, who.VerifierKey} {
			if _, err := evidence.VerifyDisclosures(vkey, who); err != nil {
				t.Errorf("with the key of %s: %v", strings.SplitN(vkey, "+", 2)[0], err)
			}
		}
		if before.VerifierKey == r.checkpoint("gucci").VerifierKey {
			t.Error("the new epoch has the name of the old one")
		}

		// A backup of the second epoch restores into a third.
		c.backup(r, "tuesday")
		must(t, r.v.Close())
		last, report := c.restored(r, c.options(h, engine, "tuesday"))
		if l := report.Logs[1]; l.Epoch != 3 || l.Missing != 0 {
			t.Errorf("%+v", report.Logs)
		}
		for _, older := range []api.Checkpoint{before, after} {
			last.verify(map[string]api.Checkpoint{"gucci": older})
		}
	})
}

// A restore into the directory of the vault that was lost names what that had seen.
func TestARestoreNamesWhatTheDirectoryHadSeen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	h, c := newHouse(t, "sqlite", 20), newCustody(t)
	c.backup(h, "monday")
	h.reveal("gucci", h.tokens["gucci"][0])
	must(t, h.v.Close())
	o := c.options(h, "sqlite", "monday")
	must(t, os.CopyFS(filepath.Join(o.Data, app.SeenDir), os.DirFS(filepath.Join(h.dir, app.SeenDir))))
	r, report := c.restored(h, o)
	if l := report.Logs[1]; l.Brand != "gucci" || l.Missing != 1 {
		t.Errorf("%+v", report.Logs)
	}
	r.reveal("gucci", h.tokens["gucci"][0])
	files, err := filepath.Glob(filepath.Join(o.Data, app.SeenDir, "evidence-*"))
	if err != nil || len(files) == 0 {
		t.Errorf("what was seen is not kept as evidence: %v, %v", files, err)
	}
	if _, err := r.v.Ledger.Verify(ctx, 1, nil); err != nil {
		t.Error(err)
	}
}
