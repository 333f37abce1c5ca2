package server_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"testing"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// shelf is a house with customers and a recipient.
type shelf struct {
	*house
	tokens []string
	id     *age.X25519Identity
}

func furnished(h *house, n int) *shelf {
	h.t.Helper()
	ctx := h.t.Context()
	s := &shelf{house: h}
	var err error
	s.id, err = age.GenerateX25519Identity()
	h.must(err)
	for from := 0; from < n; from += 1000 {
		var put api.PutRequest
		var bought api.PurchasesRequest
		for i := from; i < min(from+1000, n); i++ {
			id := fmt.Sprint("C-", i)
			put.Customers = append(put.Customers, api.Fields{"external_id": id, "family_name": "Unmistakable", "email": fmt.Sprintf("c%d@example.com", i),
				"country": []string{"FR", "IT"}[i%2], "region": "Bretagne", "birth_date": "1984-05-31", "created_at": "2024-02-03", "postal_code": "29200", "city": "Brest"})
			bought.Customers = append(bought.Customers, api.CustomerPurchases{ExternalID: id, Purchases: []api.Purchase{
				{ID: fmt.Sprint("receipt-", i), At: fmt.Sprintf("202%d-03-01T10:11:12Z", 3+i%3), SKU: "GU1", Description: "Belt", Quantity: new(int64(2)), Amount: "90.00", Currency: "EUR", Store: "Brest"}}})
		}
		w, err := h.Put(ctx, "gucci", put)
		h.must(err)
		for _, r := range w.Results {
			s.tokens = append(s.tokens, r.Token)
		}
		_, err = h.AddPurchases(ctx, "gucci", bought) // the owner of the machine: more than a budget meets
		h.must(err)
	}
	return s
}

func (s *shelf) extract() api.ExportRequest {
	return api.ExportRequest{Fields: []string{"country", "birth_date", "created_at", "postal_code", "purchases"}, Purpose: "analysis", Recipient: s.id.Recipient().String()}
}

func (s *shelf) export(c *client.Client, method string, more ...string) (*api.Export, error) {
	out := &api.Export{}
	return out, c.Do(s.t.Context(), method, client.Path(append([]string{"brands", "gucci", "exports"}, more...)...), nil, out)
}

// asked asks for an export, and gathers it.
func (s *shelf) asked(c *client.Client, req api.ExportRequest) (*api.Export, error) {
	out := &api.Export{}
	err := c.Do(s.t.Context(), "POST", client.Path("brands", "gucci", "exports"), req, out)
	for err == nil && out.State == "gathering" {
		out, err = s.export(c, "POST", out.ID, "gather")
	}
	return out, err
}

func (s *shelf) approved(c *client.Client, req api.ExportRequest) *api.Export {
	s.t.Helper()
	x, err := s.asked(c, req)
	s.must(err)
	x, err = s.export(s.as["incident-responder"], "POST", x.ID, "approve")
	s.must(err)
	return x
}

func (s *shelf) file(c *client.Client, id string, part int, file string) ([]byte, error) {
	var b bytes.Buffer
	_, err := c.ExportFile(s.t.Context(), "gucci", id, part, file, &b)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(&b, s.id)
	s.must(err)
	return io.ReadAll(r)
}

func rowsOf(t *testing.T, b []byte) [][]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// entries returns the entries of an export in the log, and whom its files named.
func (s *shelf) entries(id string) (changes []string, left map[record.Ordinal]int) {
	s.t.Helper()
	changes, left, err := s.tryEntries(id)
	s.must(err)
	return changes, left
}

func (s *shelf) tryEntries(id string) (changes []string, left map[record.Ordinal]int, err error) {
	left = map[record.Ordinal]int{}
	b, err := s.vault.Exports.Door.Brands.ByName(s.t.Context(), "gucci")
	if err != nil {
		return nil, nil, err
	}
	err = s.vault.Ledger.Scan(s.t.Context(), b.ID, 0, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
		switch {
		case e.Texts()["export"] != id:
		case e.Kind == entry.KindExport:
			changes = append(changes, e.Change())
		case e.Kind == entry.KindDisclosure && e.Class == "export":
			for _, ord := range ords {
				left[ord]++
			}
		}
		return nil
	})
	return changes, left, err
}

func (s *shelf) ords(tokens []string) map[record.Ordinal]bool {
	s.t.Helper()
	b, err := s.vault.Exports.Door.Brands.ByName(s.t.Context(), "gucci")
	s.must(err)
	list, err := s.vault.Disclose.Seal.Resolve(s.t.Context(), b.ID, tokens)
	s.must(err)
	out := map[record.Ordinal]bool{}
	for _, o := range list {
		out[o] = true
	}
	return out
}

func onShelf(n int, test func(t *testing.T, s *shelf)) func(t *testing.T, h *house) {
	return func(t *testing.T, h *house) { test(t, furnished(h, n)) }
}

// decoys makes customers who are nobody.
type decoys struct{ s *shelf }

func (d decoys) ForExport(ctx context.Context, brand record.BrandID, export string, n int) ([]record.Ordinal, error) {
	var put api.PutRequest
	for i := range n {
		put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprint("D-", i, export), "email": fmt.Sprintf("decoy%d@example.com", i), "country": "FR"})
	}
	w, err := d.s.Put(ctx, "gucci", put)
	if err != nil {
		return nil, err
	}
	var out []record.Ordinal
	for _, r := range w.Results {
		for ord := range d.s.ords([]string{r.Token}) {
			out = append(out, ord)
		}
	}
	return out, nil
}

func (decoys) Refresh(context.Context, record.BrandID) error { return nil }

func (d decoys) Contains(_ record.BrandID, ord record.Ordinal) bool { return ord == 1 }
