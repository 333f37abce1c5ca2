package export_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

const gucci record.BrandID = 1

// house is a vault on SQLite with a brand's customers, an analyst who asks for files and
// an officer who approves them.
type house struct {
	*apptest.House
	t                *testing.T
	tokens           []string
	analyst, officer identity.Caller
	key              *age.X25519Identity
}

func newHouse(t *testing.T, customers int) *house {
	t.Helper()
	h := &house{House: apptest.Open(t), t: t}
	var put []api.Fields
	for i := range customers {
		put = append(put, api.Fields{"external_id": fmt.Sprintf("C-%d", i), "given_name": fmt.Sprintf("Ann%d", i),
			"country": []string{"FR", "IT"}[i%2], "birth_date": "1984-03-02"})
	}
	h.tokens = h.Put("gucci", put...)
	h.analyst = h.Person("ada", map[string]string{"gucci": "analyst"})
	h.officer = h.Person("odo", map[string]string{"gucci": "data-protection-officer"})
	var err error
	h.key, err = age.GenerateX25519Identity()
	h.Must(err)
	return h
}

// ask requests an extract.
func (h *house) ask(req api.ExportRequest) *api.Export {
	h.t.Helper()
	req.Form, req.Format, req.Fields, req.Purpose, req.Recipient = "extract", "csv", []string{"country", "birth_date"}, "analysis", h.key.Recipient().String()
	x, err := h.Exports.Request(h.t.Context(), h.analyst, "gucci", req)
	if err != nil {
		h.t.Fatal(err)
	}
	return x
}

func (h *house) approve(id string) {
	h.t.Helper()
	if _, err := h.Exports.Approve(h.t.Context(), h.officer, "gucci", id); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) file(id string) (*export.File, error) {
	return h.Exports.File(h.t.Context(), h.analyst, "gucci", id, 1, export.Customers)
}

// read decrypts what a file writes.
func (h *house) read(f *export.File) [][]string {
	h.t.Helper()
	var b bytes.Buffer
	if err := f.Write(h.t.Context(), &b); err != nil {
		h.t.Fatal(err)
	}
	plain, err := age.Decrypt(&b, h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	rows, err := csv.NewReader(plain).ReadAll()
	if err != nil {
		h.t.Fatal(err)
	}
	return rows[1:]
}

// released are the customers that gucci's log says left with an export, from an entry on.
func (h *house) released(from uint64) (out []record.Ordinal, entries uint64) {
	h.t.Helper()
	err := h.Ledger.Scan(h.t.Context(), gucci, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		entries = i + 1
		if e.Kind == entry.KindDisclosure && i >= from {
			out = append(out, ords...)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out, entries
}

// A file's customers are in the log before its first byte, all of them, also where nobody
// reads the file then.
func TestAFileIsLoggedBeforeItsFirstByte(t *testing.T) {
	h := newHouse(t, 12)
	x := h.ask(api.ExportRequest{Tokens: h.tokens})
	h.approve(x.ID)
	if out, _ := h.released(0); len(out) != 0 {
		t.Fatalf("%d customers are logged as left before anybody took a file", len(out))
	}
	f, err := h.file(x.ID)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := h.released(0)
	want, err := h.Disclose.Seal.Resolve(t.Context(), gucci, h.tokens)
	if err != nil {
		t.Fatal(err)
	}
	for _, ord := range want {
		if !slices.Contains(out, ord) {
			t.Errorf("customer %d leaves and is not in the log", ord)
		}
	}
	if rows := h.read(f); len(rows) != len(out) {
		t.Errorf("%d customers left, and %d are logged", len(rows), len(out))
	}
}

// Where the log takes no entry there is no file.
func TestNoFileWithoutTheLog(t *testing.T) {
	h := newHouse(t, 12)
	x := h.ask(api.ExportRequest{Tokens: h.tokens})
	h.approve(x.ID)
	if err := h.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err := h.file(x.ID); f != nil || err == nil {
		t.Errorf("a file left: %v", err)
	}
}

// Those who were erased since the file was approved are neither in it nor logged.
func TestTheErasedDoNotLeave(t *testing.T) {
	h := newHouse(t, 12)
	x := h.ask(api.ExportRequest{Tokens: h.tokens})
	h.approve(x.ID)
	gone, err := h.Disclose.Seal.Resolve(t.Context(), gucci, h.tokens[:1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Erase.Erase(t.Context(), h.officer, "gucci", h.tokens[0], false); err != nil {
		t.Fatal(err)
	}
	f, err := h.file(x.ID)
	if err != nil {
		t.Fatal(err)
	}
	rows := h.read(f)
	out, _ := h.released(0)
	if slices.Contains(out, gone[0]) || len(rows) != len(out) {
		t.Errorf("%d rows, %d logged, the erased one among them: %v", len(rows), len(out), slices.Contains(out, gone[0]))
	}
}

// An extract shows what is coarse, under pseudonyms that no other extract has.
func TestAnExtractNamesNobody(t *testing.T) {
	h := newHouse(t, 12)
	seen := map[string]bool{}
	for range 2 {
		x := h.ask(api.ExportRequest{Tokens: h.tokens})
		h.approve(x.ID)
		f, err := h.file(x.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range h.read(f) {
			if seen[row[0]] || !strings.HasPrefix(row[0], "ext_") || slices.Contains(h.tokens, row[0]) || slices.Contains(row, "1984-03-02") || !slices.Contains(row, "1984") {
				t.Errorf("a row is %v", row)
			}
			seen[row[0]] = true
		}
	}
}

// A filter is an entry before it looks at anybody; it finds those who meet it.
func TestAFilterIsLoggedBeforeItLooks(t *testing.T) {
	h := newHouse(t, 40)
	x := h.ask(api.ExportRequest{Filter: &api.ExportFilter{Countries: []string{"IT"}}})
	_, before := h.released(0)
	for x.State == "gathering" {
		var err error
		if x, err = h.Exports.Gather(t.Context(), h.analyst, "gucci", x.ID); err != nil {
			t.Fatal(err)
		}
	}
	var first entry.Entry
	err := h.Ledger.Scan(t.Context(), gucci, before, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		if i == before {
			first = e
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if first.Kind != entry.KindExport || first.Fields != record.Fields(record.Country) || x.Customers != 20 {
		t.Errorf("%v, %v, %d customers", first.Kind, first.Fields.Names(), x.Customers)
	}
}

// Nobody approves what they asked for, and no file leaves before somebody did.
func TestAFileTakesTwoPeople(t *testing.T) {
	h := newHouse(t, 12)
	x := h.ask(api.ExportRequest{Tokens: h.tokens})
	if f, err := h.file(x.ID); f != nil || !errors.Is(err, export.ErrState) {
		t.Errorf("a file left unapproved: %v", err)
	}
	if _, err := h.Exports.Approve(t.Context(), h.analyst, "gucci", x.ID); err == nil {
		t.Error("who asked for it approved it")
	}
	h.approve(x.ID)
	f, err := h.file(x.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
}
