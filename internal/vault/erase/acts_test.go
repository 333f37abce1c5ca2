package erase_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
)

// An officer's stolen key erases everybody. One other person is enough to undo it, and the
// thief alone is not: nor to destroy a key at once, nor to shorten the cooling time.
func TestTwoPeopleUndoWhatOneErased(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	thief := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	officer, responder := h.TwoPeople()
	var put []api.Fields
	for i := range 30 {
		put = append(put, api.Fields{"external_id": fmt.Sprintf("C-%d", i), "given_name": "Zoe"})
	}
	tokens := h.Put("gucci", put...)
	from := h.Size("gucci")
	for _, token := range tokens {
		_, err := h.Erase.Erase(ctx, thief, "gucci", token, false)
		h.Must(err)
	}
	to := h.Size("gucci")
	var pending *change.PendingError
	if _, err := h.Erase.EraseNow(ctx, thief, "gucci", api.EraseNow{Tokens: tokens}); !errors.As(err, &pending) {
		t.Fatalf("one hand destroys keys at once: %v", err)
	}
	if _, err := h.Changes.Approve(ctx, thief, pending.ID); !errors.Is(err, change.ErrOwn) {
		t.Errorf("the thief approved: %v", err)
	}
	if _, err := h.Admin.SetCooling(ctx, h.Local, "gucci", api.ErasureCooling{Days: 0}); !errors.As(err, &pending) {
		t.Errorf("one hand shortens the cooling time: %v", err)
	}
	if _, err := h.Admin.SetCooling(ctx, h.Local, "gucci", api.ErasureCooling{Days: 10}); err != nil {
		t.Errorf("longer: %v", err)
	}

	if _, err := h.Erase.UndoErasures(ctx, officer, "gucci", api.ErasureUndo{FromEntry: to, ToEntry: to + 9}); !errors.Is(err, erase.ErrNobody) {
		t.Errorf("erasures of no entry: %v", err)
	}
	_, err := h.Erase.UndoErasures(ctx, officer, "gucci", api.ErasureUndo{FromEntry: from, ToEntry: to, Ticket: "INC-7"})
	if !errors.As(err, &pending) {
		t.Fatalf("one hand takes erasures back: %v", err)
	}
	x, err := h.Changes.Approve(ctx, responder, pending.ID)
	if err != nil {
		t.Fatalf("%+v, %v", x, err)
	}
	for _, token := range tokens {
		if err := view(h, t, alice, token); err != nil {
			t.Error(err)
		}
	}
	// And what was asked for before destroys nobody who came back: the thief's request is
	// refused by any second person.
	if _, err := h.Changes.Refuse(ctx, responder, firstPending(h, t, "erase-now")); err != nil {
		t.Error(err)
	}
	// With two people a key is destroyed at once, also of one who is there.
	_, err = h.Erase.EraseNow(ctx, officer, "gucci", api.EraseNow{Tokens: tokens[:2]})
	if !errors.As(err, &pending) {
		t.Fatal(err)
	}
	_, err = h.Changes.Approve(ctx, responder, pending.ID)
	h.Must(err)
	if got := kinds(h, h.Size("gucci")-5); !slices.Contains(got, "erasure") {
		t.Errorf("the log has %v", got)
	}
	if err := view(h, t, alice, tokens[0]); err == nil {
		t.Error("who was erased at once is there")
	}
}

// firstPending returns the change that waits for an act.
func firstPending(h *apptest.House, t *testing.T, act string) string {
	t.Helper()
	officer := h.Key("second-responder")
	list, err := h.Changes.List(t.Context(), officer)
	h.Must(err)
	for _, x := range list {
		if x.Act == act && x.State == "asked" {
			return x.ID
		}
	}
	t.Fatalf("no change for %s: %+v", act, list)
	return ""
}

const sqlTestKeys = `SELECT k.wrapped, c.sealed FROM customer_keys k JOIN customers c ON c.ord = k.ord WHERE k.ord = $1`

// A copy of the vault's files that is taken after a key was destroyed holds neither the key
// nor a record, in no page and no frame of the write-ahead log. While a backup reads an older
// state it still does; then the next call mends it.
func TestTheFilesHoldNothingOfADestroyedKey(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	var put []api.Fields
	for i := range 300 { // so that pages split and merge
		put = append(put, api.Fields{"external_id": fmt.Sprintf("C-%d", i), "given_name": "Zoe", "email": "zoe@example.com"})
	}
	tokens := h.Put("gucci", put...)
	var secrets [][]byte
	var gone []record.Ordinal
	for i, token := range tokens {
		ords, err := h.Disclose.Seal.Resolve(ctx, h.Brand("gucci"), []string{token})
		h.Must(err)
		var wrapped, sealed []byte
		h.Must(h.DB.Row(ctx, sqlTestKeys, int64(ords[0])).Scan(&wrapped, &sealed))
		if i%3 == 0 {
			secrets, gone = append(secrets, wrapped, sealed), append(gone, ords[0])
		}
	}
	visit, err := h.Disclose.Door.Enter(ctx, h.Local, "gucci")
	h.Must(err)
	_, err = h.Erase.EraseFor(ctx, visit, gone, time.Minute)
	h.Must(err)
	h.Must(h.DB.Rows(ctx, func(r db.Row) error {
		var wrapped []byte
		err := r.Scan(&wrapped)
		secrets = append(secrets, bytes.Clone(wrapped))
		return err
	}, `SELECT wrapped FROM cooling`))
	h.Must(h.DB.LongSnapshot(ctx, func(q db.Queryer) error {
		var n int64
		h.Must(q.Row(ctx, `SELECT count(*) FROM customers`).Scan(&n))
		if n, err := h.Erase.DestroyCooled(ctx, 30*24*time.Hour); n != 100 || err != nil {
			t.Errorf("%d keys were destroyed, %v", n, err)
		}
		h.Must(h.Erase.Scrub(ctx, false))
		if files(t, h.Dir, secrets) == 0 {
			t.Error("nothing is left while a backup reads an older state: this test sees nothing")
		}
		return nil
	}))
	h.Must(h.Erase.Scrub(ctx, false))
	if n := files(t, h.Dir, secrets); n != 0 {
		t.Errorf("%d of %d keys and records are left in the files", n, len(secrets))
	}
	h.Must(view(h, t, h.Person("alice", map[string]string{"gucci": "support-agent"}), tokens[1]))
}

// files counts the secrets that stand in a file below a directory.
func files(t *testing.T, dir string, secrets [][]byte) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, s := range secrets {
			if len(s) > 0 && bytes.Contains(text, s[1:]) {
				n++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
