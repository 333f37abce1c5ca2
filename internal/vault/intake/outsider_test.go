package intake

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// A tap may send a customer twice: the older record is not unchanged where it said something
// else, and the figures add up.
func TestSingerCountsWhatALaterRecordReplaced(t *testing.T) {
	t.Parallel()
	const mapping = "streams: {users: customers, orders: purchases}\ncustomers:\n  external_id: id\n  email: email\npurchases:\n  external_id: customer\n  id: id\n  at: at\n  amount: total\n  currency: {constant: EUR}\n"
	const text = `{"type":"SCHEMA","stream":"users","schema":{"properties":{"id":{},"email":{}}}}
{"type":"SCHEMA","stream":"orders","schema":{"properties":{"id":{},"customer":{},"at":{},"total":{}}}}
{"type":"RECORD","stream":"users","record":{"id":"1","email":"a@example.com"}}
{"type":"RECORD","stream":"orders","record":{"id":"O","customer":"1","at":"2024-05-31","total":1}}
{"type":"RECORD","stream":"users","record":{"id":"1","email":"a@example.com"}}
{"type":"RECORD","stream":"users","record":{"id":"1","email":"b@example.com"}}
{"type":"RECORD","stream":"orders","record":{"id":"O","customer":"1","at":"2024-05-31","total":2}}
{"type":"ACTIVATE_VERSION","stream":"users","version":2}
{"type":"STATE","value":1}
`
	to := newMemory()
	r, _, rejects, err := tapped(t, to, mapping, text, Options{})
	if c := r.Customers; err != nil || c.Read != 3 || c.New != 1 || c.Unchanged != 1 || c.Superseded != 1 || c.Unsettled() != 0 {
		t.Errorf("customers: %+v, %v, %s", c, err, rejects)
	}
	if c := r.Purchases; c.Read != 2 || c.New != 1 || c.Superseded != 1 || c.Unsettled() != 0 || r.Amounts["EUR"] != "2" {
		t.Errorf("purchases: %+v, %v", c, r.Amounts)
	}
}

// A file that is broken on its way says how many rows were read and did not go in.
func TestFiguresAddUpWhereAFileBreaks(t *testing.T) {
	t.Parallel()
	text := "external_id,city\nA,Paris\nB,Rome\nC,\"Par"
	path := filepath.Join(t.TempDir(), "cut.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report, err := Run(t.Context(), Rows(newMemory()), Options{Customers: Input{Name: path, Reader: r}, MaxRejects: -1})
	c := report.Customers
	if err == nil || !strings.Contains(err.Error(), "nothing was imported") || c.Read != 2 || c.Unsettled() != c.Read-c.New {
		t.Errorf("%+v, %v", c, err)
	}
}

// An empty mapping is a mistake, and no default.
func TestAnEmptyMappingIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n\n", "# nothing\n", "{}"} {
		if _, err := ParseMapping([]byte(text)); err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Many programs surround no value: quotes are letters there, also at the front, and in rows
// that are refused and come back.
func TestAFileWithoutQuotes(t *testing.T) {
	t.Parallel()
	const mapping = "delimiter: tab\nquote: none\ncustomers:\n  external_id: id\n  given_name: name\n  country: land\n"
	const text = "id\tname\tland\n1\tAnna \"Nan\"\tFR\n2\t\"Bea\tFR\n3\t\"\"\tFR\n4\tÿ\tXX\n5\t'\tIT\n"
	to := newMemory()
	got := bring{kind: kindCustomers, mapping: mapping, sink: to}.in(t, []byte(text))
	if c := got.Customers; c.New != 4 || c.Rejected != 1 {
		t.Fatalf("%+v", c)
	}
	for id, want := range map[string]string{"1": `Anna "Nan"`, "2": `"Bea`, "3": `""`, "5": "'"} {
		if name := to.get(id, record.GivenName); name != want {
			t.Errorf("%s: %q, want %q", id, name, want)
		}
	}
	again := strings.Replace(got.refused, "XX", "FR", 1)
	if got := (bring{kind: kindCustomers, mapping: mapping, sink: to}).in(t, []byte(again)); got.Customers.New != 1 || to.get("4", record.GivenName) != "ÿ" {
		t.Errorf("%+v from %q", got.Customers, again)
	}
}

// get returns what was kept of a customer.
func (m *memory) get(id string, f record.Field) string {
	c := m.customers[id]
	return c.Get(f)
}

// Files of shops in German and French are proposed whole: which file it is, prices per piece
// and lines of an order.
func TestProposalsForOrdersInOtherLanguages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"german": {"Menge;Bestellnr;Kundennr;Bestelldatum;Artikelnr;Bezeichnung;Einzelpreis;Währung\n2;B-1;10001;31.12.2024 12:00;S1;Tasche \"Anna\";1.250,00;EUR\n1;B-1;10001;31.12.2024 12:00;S2;Gürtel;95,50;EUR\n", []string{
			"purchases:", "external_id: Kundennr", "id: {from: Bestellnr, per-line: true}", "at: Bestelldatum", "amount: {from: Einzelpreis, per: piece}", "quantity: Menge", "# quote: none", "thousands: \".\""}},
		"french": {"N° commande;N° client;Date commande;Référence;Désignation;Quantité;Prix total;Devise\nC1;9;31/12/2024;R1;Sac;1;95,50;EUR\n", []string{
			"purchases:", "external_id: 'N° client'", "purchase_id: 'N° commande'", "amount: Prix total"}},
		"english": {"id,first,last,mail,country\n1,Ana,Rossi,a@example.com,Italy\n", []string{"customers:", "given_name: first", "family_name: last", "email: mail"}},
	} {
		path := filepath.Join(t.TempDir(), name+".csv")
		b, err := charmap.Windows1252.NewEncoder().String(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Propose(path, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(p.Text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, p.Text)
			}
		}
	}
}
