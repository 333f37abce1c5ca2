package intake

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// memory is a fake sink: it keeps what it is given by the rules of the vault's.
type memory struct {
	customers map[string]record.Customer
	purchases map[string]record.Purchase
}

func newMemory() *memory {
	return &memory{map[string]record.Customer{}, map[string]record.Purchase{}}
}

func (m *memory) Customers(_ context.Context, rows []CustomerRow) ([]Result, error) {
	var out []Result
	for _, r := range rows {
		id := r.Customer.Get(record.ExternalID)
		old, had := m.customers[id]
		now := old
		now.Attributes = maps.Clone(old.Attributes)
		for _, f := range r.Set.List() {
			if f.Text() {
				now.Set(f, r.Customer.Get(f))
				continue
			}
			if now.Attributes == nil {
				now.Attributes = map[string]string{}
			}
			for name, v := range r.Customer.Attributes {
				if now.Attributes[name] = v; v == "" {
					delete(now.Attributes, name)
				}
			}
		}
		m.customers[id] = now
		switch {
		case !had:
			out = append(out, Result{Outcome: New, Unfound: r.Notes.Unfound})
		case old.Columns == now.Columns && maps.Equal(old.Attributes, now.Attributes):
			out = append(out, Result{Outcome: Unchanged})
		default:
			out = append(out, Result{Outcome: Updated})
		}
	}
	return out, nil
}

func (m *memory) Purchases(_ context.Context, rows []PurchaseRow) ([]Result, error) {
	var out []Result
	for _, r := range rows {
		if _, ok := m.customers[r.ExternalID]; !ok {
			out = append(out, Result{Outcome: Rejected, Reject: &Reject{Code: CodeNoCustomer, Reason: "no such customer"}})
			continue
		}
		key := r.ExternalID + "\x00" + r.Purchase.ID
		old, had := m.purchases[key]
		m.purchases[key] = r.Purchase
		switch {
		case !had:
			out = append(out, Result{Outcome: New})
		case old == r.Purchase:
			out = append(out, Result{Outcome: Unchanged})
		default:
			out = append(out, Result{Outcome: Updated})
		}
	}
	return out, nil
}

func input(t *testing.T, name, text string, f Format) Input {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return Input{Name: name, Reader: r}
}

const (
	customersCSV = "\ufeffexternal_id,given_name,email,country,attr.note\n" +
		"A1,Ada,ada@example.com,FR,\n" +
		"A2,Bo,bo@example.com,Narnia,\n" +
		"A3,Cy,cy@example.com,,\"paid with 4111 1111 1111 1111\"\n" +
		",Di,di@example.com,,\n" +
		"A5,Ed\n" +
		"A6,Flo,flo@example.com,,\"two\nlines\"\n"
	purchasesCSV = "external_id,purchase_id,at,amount,currency,quantity\n" +
		"A1,p1,2024-01-02T03:04:05Z,12.50,EUR,1\n" +
		"A6,p2,2024-01-03T03:04:05Z,0.10,EUR,2\n" +
		"A1,p3,2024-01-04T03:04:05Z,7,USD,1\n" +
		"A9,p4,2024-01-04T03:04:05Z,7,USD,1\n" +
		"A1,p5,2024-01-04T03:04:05Z,seven,USD,1\n"
)

func TestRunCountsEveryRowAndNamesTheBadOnes(t *testing.T) {
	t.Parallel()
	sink := newMemory()
	var rejects bytes.Buffer
	run := func() Report {
		t.Helper()
		rep, err := Run(t.Context(), Rows(sink), Options{
			Customers: input(t, "c.csv", customersCSV, Auto), Purchases: input(t, "p.csv", purchasesCSV, Auto),
			Rejects: &rejects, MaxRejects: -1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	first := run()
	if c := first.Customers; c.Read != 6 || c.New != 2 || c.Rejected != 4 ||
		c.RejectedBy[CodeCardNumber] != 1 || c.RejectedBy[CodeMissingExternalID] != 1 || c.RejectedBy[CodeBadField] != 1 || c.RejectedBy[CodeBadRow] != 1 {
		t.Errorf("customers: %+v", c)
	}
	if p := first.Purchases; p.Read != 5 || p.New != 3 || p.Rejected != 2 || p.RejectedBy[CodeNoCustomer] != 1 || p.RejectedBy[CodeBadField] != 1 {
		t.Errorf("purchases: %+v", p)
	}
	if first.Amounts["EUR"] != "12.60" {
		t.Errorf("amounts: %v", first.Amounts)
	}
	for _, want := range []string{"c.csv,3,country,bad-field,", "c.csv,4,", "card-number-refused", "c.csv,6,", "p.csv,6,amount,bad-field,"} {
		if !strings.Contains(rejects.String(), want) {
			t.Errorf("the rejects do not say %q:\n%s", want, rejects.String())
		}
	}
	for _, value := range []string{"Narnia", "4111", "seven", "di@example.com"} {
		if strings.Contains(rejects.String(), value) {
			t.Errorf("the rejects repeat the value %q", value)
		}
	}
	if second := run(); second.Customers.Unchanged != 2 || second.Customers.New+second.Customers.Updated != 0 ||
		second.Purchases.Unchanged != 3 || second.Purchases.New+second.Purchases.Updated != 0 {
		t.Errorf("the second run changed something: %+v", second)
	}
}

func TestMaxRejectsEndsTheImport(t *testing.T) {
	_, err := Run(t.Context(), Rows(newMemory()), Options{Customers: input(t, "c.csv", customersCSV, Auto), MaxRejects: 1})
	if !errors.Is(err, ErrTooManyRejects) {
		t.Fatal(err)
	}
}

func TestDryRunHandsNothingToTheSink(t *testing.T) {
	t.Parallel()
	rep, err := Run(t.Context(), nil, Options{Customers: input(t, "c.csv", customersCSV, Auto), MaxRejects: -1, DryRun: true})
	if err != nil || rep.Customers.Read != 6 || rep.Customers.Rejected != 4 {
		t.Fatalf("%+v, %v", rep, err)
	}
}

func TestAnUnknownColumnIsShownByItsPosition(t *testing.T) {
	t.Parallel()
	in := "external_id,e_mail\nA1,a@example.com\n"
	r, err := NewReader(strings.NewReader(in), CSV, nil)
	if err == nil {
		_, err = Run(t.Context(), Rows(newMemory()), Options{Customers: Input{Name: "c.csv", Reader: r}, MaxRejects: -1})
	}
	if !errors.Is(err, ErrColumns) || strings.Contains(err.Error(), "e_mail") || !strings.Contains(err.Error(), "column 2") || !strings.Contains(err.Error(), "email") {
		t.Fatal(err)
	}
	m, err := ParseMapping([]byte("e_mail: email\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err = NewReader(strings.NewReader(in), CSV, m)
	if err != nil {
		t.Fatal(err)
	}
	sink := newMemory()
	if _, err := Run(t.Context(), Rows(sink), Options{Customers: Input{Name: "c.csv", Reader: r}, MaxRejects: -1}); err != nil {
		t.Fatal(err)
	}
	if c := sink.customers["A1"]; c.Get(record.Email) != "a@example.com" {
		t.Fatalf("the mapped column is missing")
	}
}

func TestJSONLinesAndGzip(t *testing.T) {
	t.Parallel()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprintln(w, `{"external_id":"A1","given_name":"Ada","attr.size":"M"}`)
	fmt.Fprintln(w, `{"external_id":"A2","surname":"x"}`)
	w.Close()
	r, err := NewReader(bytes.NewReader(z.Bytes()), Auto, nil)
	if err != nil {
		t.Fatal(err)
	}
	sink := newMemory()
	rep, err := Run(t.Context(), Rows(sink), Options{Customers: Input{Name: "c.jsonl.gz", Reader: r}, MaxRejects: -1})
	if err != nil || rep.Customers.New != 1 || rep.Customers.RejectedBy[CodeUnknownColumn] != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if sink.customers["A1"].Attributes["size"] != "M" {
		t.Fatal("the attribute is missing")
	}

	r, err = NewReader(bytes.NewReader(z.Bytes()[:z.Len()-6]), Auto, nil)
	if err == nil {
		_, err = Run(t.Context(), Rows(newMemory()), Options{Customers: Input{Name: "c.jsonl.gz", Reader: r}, MaxRejects: -1})
	}
	if err == nil {
		t.Fatal("a file cut short was read to its end without an error")
	}
}

func FuzzCSV(f *testing.F) { fuzz(f, CSV, customersCSV) }
func FuzzJSON(f *testing.F) {
	fuzz(f, JSONLines, "{\"external_id\":\"A1\",\"email\":\"a@example.com\"}\n[]\n")
}

// Whatever the bytes, a run ends, and counts each row that it read exactly once.
func fuzz(f *testing.F, format Format, seed string) {
	f.Add([]byte(seed))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b), format, nil)
		if err != nil {
			return
		}
		defer r.Close()
		rep, err := Run(t.Context(), Rows(newMemory()), Options{Customers: Input{Name: "f", Reader: r}, MaxRejects: -1})
		if c := rep.Customers; err == nil && c.Read != c.New+c.Updated+c.Unchanged+c.Rejected {
			t.Fatalf("%+v", c)
		}
	})
}

// Whichever way a row takes, its cells are those of encoding/csv.
func FuzzRowsAreThoseOfEncodingCSV(f *testing.F) {
	f.Add("a,b\n\"x, y\",z\n")
	f.Add("a,b\n\"x\"\"y\",\"two\nlines\"\n")
	f.Add("a,b\n\"x\"y,z\n")
	f.Add("a,b\n\"\",\"\"\n      ,     \nx,y\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\r") || !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) || !strings.HasPrefix(text, "a,b\n") {
			return
		}
		std := csv.NewReader(strings.NewReader(text))
		want, err := std.ReadAll()
		if err != nil {
			return
		}
		r, err := NewReader(strings.NewReader(text), CSV, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows := &csvRows{lines: r.lines, comma: ',', quote: '"'}
		start, line, err := rows.begin()
		if err == nil {
			err = rows.fields(start, line)
		}
		if err != nil {
			t.Fatal(err)
		}
		rows.head = make([]cell, 2)
		for _, w := range want[1:] {
			if strings.TrimSpace(strings.Join(w, "")) == "" {
				continue // padding is no row
			}
			var got row
			if err := rows.next(&got); err != nil || got.rej != nil {
				t.Fatalf("%q: %v %v", w, got.rej, err)
			}
			for i := range w {
				if got.cells[i].text != strings.TrimSpace(w[i]) {
					t.Fatalf("%q read as %q", w[i], got.cells[i].text)
				}
			}
		}
	})
}

// A row that is tidy at a glance says what the whole check makes of it.
func FuzzTidyRowsAreChecked(f *testing.F) {
	f.Add("A1,Ana,ana@example.com,FR,1984-05-31,gold\n", "A1,P1,2024-05-31,Bag,1,1250.00,EUR\n")
	f.Add("A1,\" Ana\",4111 1111 1111 1111,fr,1984-05-32,\n", "A1,P1,2024-05-31T10:00:00Z,4111111111111111,,x,eur\n")
	f.Fuzz(func(t *testing.T, customers, purchases string) {
		both(t, "external_id,given_name,email,country,birth_date,attr.tier\n"+customers, customerRows)
		both(t, "external_id,purchase_id,at,description,quantity,amount,currency\n"+purchases, purchaseRows)
	})
}

// both reads a file as it is read, and with every row checked in full.
func both[T any](t *testing.T, text string, open func(*Reader) (*rows[T], error)) {
	start := func() *rows[T] {
		r, err := NewReader(strings.NewReader(text), CSV, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := open(r)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	quick, full := start(), start()
	for {
		var a, b T
		err := quick.next(t.Context(), &a)
		err2 := full.src.next(&full.row)
		if fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%v, in full %v", err, err2)
		}
		if err != nil {
			return
		}
		full.row.tidy = false
		full.check(full.c, &full.row, &b)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v, in full %+v", a, b)
		}
	}
}

// Objects inside a row of JSON lines have columns named as paths, whatever order and depth
// they stand in; what no mapping names is refused, and what it drops is passed over.
func TestNestedJSONLines(t *testing.T) {
	const described = "customers: {external_id: id, given_name: name/first, city: address/place/city, postal_code: address/zip, attr.tag: meta/tag}\ncolumns: may-be-missing\ndrop: [orders, meta/internal*, spare]"
	const listed = "id: external_id\nname/first: given_name\naddress/place/city: city\naddress/zip: postal_code\nmeta/tag: attr.tag\norders: '-'\nmeta/internal_1: '-'\nspare: '-'"
	text := `{"id":1,"name":{"first":"Ana"},"address":{"zip":"75002","place":{"city":"Paris, \"2e\""}},"orders":[{"id":9}],"spare":{"a":{"b":[]}}}
{"address" : { "place" : { "city" : "Lyon" } , "zip" : 69001 } , "meta":{"internal_1":{"x":1},"tag":true}, "id":"2", "name":{}}
{"id":3,"address":{"street":"secret"}}
{"id":4,"name":{"first":{"secret":1}}}
{"id":5,"name":{"first":"a","first":"b"}}
{"id":6,` + strings.Repeat(`"a":{`, 40) + strings.Repeat("}", 40) + `}
`
	for name, mapping := range map[string]string{"described": described, "listed": listed} {
		got := bring{mapping: mapping}.in(t, []byte(text))
		if got.err != nil {
			t.Fatalf("%s: %v", name, got.err)
		}
		got.customer(t, "1", map[string]string{"given_name": "Ana", "city": `Paris, "2e"`, "postal_code": "75002"})
		got.customer(t, "2", map[string]string{"city": "Lyon", "postal_code": "69001", "attr.tag": "true"})
		got.lines(t, "3  "+CodeUnknownColumn, "4  "+CodeBadRow, "5  "+CodeBadRow, "6  "+CodeUnknownColumn)
		if strings.Contains(got.rejects, "secret") || got.Customers.New != 2 {
			t.Errorf("%s: %+v\n%s", name, got.Customers, got.rejects)
		}
	}
}

// What is kept of a file holds no more of it in memory than it must.
func TestRowsAfterARefusedOneStandAlone(t *testing.T) {
	t.Parallel()
	r, err := NewReader(strings.NewReader("external_id,purchase_id,at\nA1,P1,2024-05-31\nA1,P2\nA1,P3,2024-05-31\nA1,P4,never\nA1,P5,2024-05-31\n"), CSV, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := purchaseRows(r)
	if err != nil {
		t.Fatal(err)
	}
	alone := []int{0, 0, aloneAfter - 1, aloneAfter - 2, aloneAfter - 1}
	for i, want := range alone {
		var row PurchaseRow
		if err := rows.next(t.Context(), &row); err != nil || (row.Reject != nil) != (i == 1 || i == 3) {
			t.Fatal(row, err)
		}
		if got := rows.src.(*csvRows).alone; got != want {
			t.Errorf("after row %d the next %d stand alone, want %d", i+1, got, want)
		}
	}
}
