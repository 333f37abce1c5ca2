package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const nameAndNote = "external_id,given_name,attr.note\n"

func TestLineEndsOfEveryKind(t *testing.T) {
	want := map[string]string{"given_name": "Zoë", "attr.note": "one\ntwo"}
	for name, ends := range map[string][3]string{"LF": {"\n", "\n", "\n"}, "CRLF": {"\r\n", "\r\n", "\r\n"}, "CR": {"\r", "\r", "\r"}, "mixed": {"\r", "\r\n", "\n"}} {
		text := "external_id,given_name,attr.note" + ends[0] + "A1,Zoë,\"one" + ends[1] + "two\"" + ends[2] + "A2,Ana," + ends[0]
		for size := range 40 { // a read ends anywhere, in the middle of an end of line too
			r, err := NewReader(&slow{strings.NewReader(text), size + 1}, CSV, nil)
			if err != nil {
				t.Fatal(err)
			}
			sink := newMemory()
			rep, err := Run(t.Context(), Rows(sink), Options{Customers: Input{Name: "f", Reader: r}, MaxRejects: -1})
			if err != nil || rep.Customers.New != 2 {
				t.Fatalf("%s, %d bytes at a time: %+v %v", name, size+1, rep.Customers, err)
			}
			brought{sink: sink}.customer(t, "A1", want)
		}
	}
}

// slow reads a few bytes at a time.
type slow struct {
	r io.Reader
	n int
}

func (s *slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }

// A line that tells spreadsheets the delimiter is no header, also where the file is repaired.
func TestADelimiterForSpreadsheets(t *testing.T) {
	for _, text := range []string{"sep=;\nexternal_id;country\nA1;FR\nA2;XX\n", "\ufeffSEP=;\r\nexternal_id;country\r\nA1;FR\r\nA2;XX\r\n", "\"sep=;\"\n\nexternal_id;country\nA1;FR\nA2;XX\n"} {
		for _, mapping := range []string{"", "delimiter: ';'\ncustomers: {external_id: external_id, country: country}"} {
			got := bring{mapping: mapping}.in(t, []byte(text))
			got.customer(t, "A1", map[string]string{"country": "FR"})
			if got.Customers.Rejected != 1 {
				t.Errorf("%q: %+v %v", text, got.Customers, got.err)
			}
			again := bring{mapping: mapping}.in(t, []byte(strings.Replace(got.refused, "XX", "IT", 1)))
			again.customer(t, "A2", map[string]string{"country": "IT"})
		}
	}
}

func TestAQuotedValueOfTwentyLines(t *testing.T) {
	note := strings.TrimSpace(strings.Repeat("a line, with a comma\n", 20))
	got := bring{}.in(t, []byte(nameAndNote+"A1,Ana,\""+note+"\"\nA2,Bo,\n"))
	got.customer(t, "A1", map[string]string{"attr.note": note})
	if got.Customers.New != 2 {
		t.Errorf("%+v", got.Customers)
	}
}

func TestACutFile(t *testing.T) {
	whole := nameAndNote + "A1,Ana,\nA2,Bo,\"a note\"\n"
	for n := len(nameAndNote) + 1; n < len(whole); n++ {
		got := bring{}.in(t, []byte(whole[:n]))
		// A row that lost values is refused, or the file is; one that lost the end of its
		// last value cannot be told from a whole one.
		if got.err != nil && !errors.Is(got.err, ErrUnclosedQuote) {
			t.Errorf("cut after %d bytes: %v", n, got.err)
		}
		if c, ok := got.sink.customers["A2"]; ok && c.Columns[1] != "Bo" {
			t.Errorf("cut after %d bytes, half a row went in", n)
		}
	}
	zipped := []byte("PK\x03\x04rest of an archive")
	if got := (bring{}).in(t, zipped); !errors.Is(got.err, ErrFormat) || !strings.Contains(got.err.Error(), "ZIP") {
		t.Error(got.err)
	}
}

func TestAnEncodingThatChangesHalfWay(t *testing.T) {
	latin := nameAndNote + "A1,Zo\xeb,\nA2,Zo\xc3\xab,\nA3,Ana,\n" // the second is UTF-8
	mapping := "encoding: windows-1252\ncustomers: {external_id: external_id, given_name: given_name}\ndrop: ['*']"
	got := bring{mapping: mapping}.in(t, []byte(latin))
	got.customer(t, "A1", map[string]string{"given_name": "Zoë"})
	got.lines(t, "3 given_name "+CodeBadField)
	if !strings.Contains(got.rejects, "half-way") {
		t.Error(got.rejects)
	}
	got = bring{}.in(t, []byte(latin))
	got.customer(t, "A2", map[string]string{"given_name": "Zoë"})
	got.lines(t, "2 given_name "+CodeBadField)
	// The refused row comes back in UTF-8, with a mark that says more than the mapping.
	got = bring{mapping: mapping}.in(t, []byte(nameAndNote+"\"\",Zo\xeb,\n"))
	if !strings.HasPrefix(got.refused, "\ufeff") {
		t.Fatalf("%q", got.refused)
	}
	mended := strings.Replace(got.refused, ",\"\",Zoë", ",A9,Zoë", 1)
	bring{mapping: mapping}.in(t, []byte(mended)).customer(t, "A9", map[string]string{"given_name": "Zoë"})
}

// endless is a line that never ends, until it has given out so many bytes.
type endless struct {
	left int64
	c    byte
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	for i := range p[:n] {
		p[i] = e.c
	}
	e.left -= n
	return int(n), nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A line as long as any costs no memory, and the rows after it go in.
func TestALineOfTwoGigabytes(t *testing.T) {
	const size = 2 << 30
	for name, in := range map[string]io.Reader{
		"plain":  io.MultiReader(strings.NewReader(nameAndNote+"A1,Ana,\nA2,"), &endless{size, 'x'}, strings.NewReader(",\nA3,Cy,\n")),
		"quoted": io.MultiReader(strings.NewReader(nameAndNote+"A1,Ana,\nA2,\""), &endless{size, 'x'}, strings.NewReader("\",\nA3,Cy,\n")),
	} {
		before := heap()
		r, err := NewReader(in, CSV, nil)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := Run(t.Context(), Rows(newMemory()), Options{Customers: Input{Name: "f", Reader: r}, MaxRejects: -1})
		if err != nil || rep.Customers.New != 2 || rep.Customers.RejectedBy[CodeRowTooLong] != 1 {
			t.Errorf("%s: %+v %v", name, rep.Customers, err)
		}
		if grown := int64(heap()) - int64(before); grown > 8<<20 {
			t.Errorf("%s: %d bytes stay", name, grown)
		}
	}
}

func TestXMLThatWantsToGrow(t *testing.T) {
	head := `<?xml version="1.0"?>`
	for name, c := range map[string]struct {
		in   io.Reader
		want string
	}{
		"entities": {strings.NewReader(head + `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><customers><customer customer-no="1"><profile><email>&b;</email></profile></customer></customers>`), "document type"},
		"a text":   {io.MultiReader(strings.NewReader(head+`<customers><customer customer-no="1"><profile><email>`), &endless{1 << 30, 'x'}), "256 KiB"},
		"a name":   {io.MultiReader(strings.NewReader(head+`<customers><`), &endless{1 << 30, 'x'}), "256 KiB"},
		"a value":  {io.MultiReader(strings.NewReader(head+`<customers><customer customer-no="`), &endless{1 << 30, 'x'}), "256 KiB"},
		"depth":    {strings.NewReader(head + `<customers><customer customer-no="1">` + strings.Repeat("<a>", 1000)), "deep"},
		"outside":  {strings.NewReader(head + strings.Repeat("<a>", 1000)), "deep"},
		"cut":      {strings.NewReader(head + `<customers><customer customer-no="1"><profile>`), "in the middle"},
		"crossed":  {strings.NewReader(head + `<customers><customer customer-no="1"><profile></customer></profile></customers>`), "another element"},
		"entity":   {strings.NewReader(head + `<customers><customer customer-no="secret@example.com">&secret;</customer></customers>`), "is not XML"},
		"encoding": {strings.NewReader(`<?xml version="1.0" encoding="ISO-8859-1"?><customers></customers>`), "another encoding"},
	} {
		before := heap()
		m, err := Profile("sfcc-customers")
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(c.in, XML, m)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Run(t.Context(), Rows(newMemory()), Options{Customers: Input{Name: "f", Reader: r}, MaxRejects: -1})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if grown := int64(heap()) - int64(before); grown > 8<<20 {
			t.Errorf("%s: %d bytes stay", name, grown)
		}
	}
	// A record of many small pieces is refused, and the next one goes in.
	many := head + `<customers><customer customer-no="1"><profile>` + strings.Repeat("<a>b</a>", 10_000) + `</profile></customer><customer customer-no="2"></customer></customers>`
	got := bring{mapping: "@sfcc-customers"}.in(t, []byte(many))
	if got.Customers.New != 1 || got.Customers.RejectedBy[CodeRowTooLong] != 1 {
		t.Errorf("%+v %v", got.Customers, got.err)
	}
}

// Lines of an order that were refused are repaired as what they were: their number and
// what was filled down go with them.
func TestARefusedLineOfAnOrderIsRepaired(t *testing.T) {
	const mapping = "purchases: {external_id: who, id: {from: order, per-line: true}, at: {from: at, fill-down: order}, amount: {from: price, per: piece}, quantity: n, currency: {from: currency, fill-down: order}}\ndrop: [note]"
	sink := known("A1")
	in := func(text string) brought {
		return bring{kind: kindPurchases, mapping: mapping, sink: sink}.in(t, []byte(text))
	}
	got := in("who,order,at,price,n,currency,note\nA1,7,2025-01-01,10.00,1,EUR,\"a, b\"\nA1,7,,ten,2,,\"x\"\"y\"\nA1,7,,30.00,1,,\nA1,8,2025-01-02,1.00,1,USD,\n")
	got.lines(t, "3 amount "+CodeBadField)
	want := "cloakroom_reason,cloakroom_line,who,order,at,price,n,currency,note\n"
	if !strings.HasPrefix(got.refused, want) || !strings.Contains(got.refused, `,2,A1,7,2025-01-01,ten,2,EUR,"x""y"`) {
		t.Fatalf("%s", got.refused)
	}
	// Another round of repair keeps one column for the reason.
	got = in(strings.Replace(got.refused, ",ten,", ",eleven,", 1))
	if !strings.HasPrefix(got.refused, want) || !strings.Contains(got.refused, `,2,A1,7,2025-01-01,eleven,2,EUR,"x""y"`) {
		t.Fatalf("%s", got.refused)
	}
	if got = in(strings.Replace(got.refused, "eleven", "11.00", 1)); got.Purchases.New != 1 {
		t.Errorf("%+v\n%s", got.Purchases, got.rejects)
	}
	got.purchase(t, "A1", "7-2", "2025-01-01T00:00:00Z", "22.00", "EUR", 2)
	got.purchase(t, "A1", "7-3", "2025-01-01T00:00:00Z", "30.00", "EUR", 1)
}

// 300 broken rows come back, are mended in one pass and go in.
func TestARoundOfRepair(t *testing.T) {
	for _, format := range []Format{CSV, JSONLines} {
		var b bytes.Buffer
		if format == CSV {
			b.WriteString("external_id,country,email,attr.note\n")
		}
		for i := range 1000 {
			country := "FR"
			if i%10 < 3 {
				country = "Narnia"
			}
			note := "plain"
			if i == 0 {
				note = "4111 1111 1111 1111"
			}
			if format == CSV {
				fmt.Fprintf(&b, "C%d,%s,c%d@example.com,\"%s, \"\"quoted\"\"\"\n", i, country, i, note)
			} else {
				fmt.Fprintf(&b, "{\"external_id\":\"C%d\",\"country\":%q,\"email\":\"c%d@example.com\",\"attr.note\":%q}\n", i, country, i, note)
			}
		}
		sink := newMemory()
		got := bring{sink: sink}.in(t, b.Bytes())
		if c := got.Customers; c.New != 700 || c.Rejected != 300 || c.Unwritten != 1 || strings.Contains(got.refused, "4111") {
			t.Fatalf("%s: %+v", format, c)
		}
		mended := strings.ReplaceAll(got.refused, "Narnia", "IT")
		if got = (bring{sink: sink}).in(t, []byte(mended)); got.Customers.New != 299 || got.Customers.Rejected != 0 {
			t.Errorf("%s: %+v\n%s", format, got.Customers, got.rejects)
		}
	}
}

// Repeats are found however far apart they stand, and a repeat that says the same is one.
func TestRepeatsAcrossChunks(t *testing.T) {
	var c strings.Builder
	c.WriteString("external_id,given_name\n")
	for i := range 30_000 {
		fmt.Fprintf(&c, "C%d,Ana\n", i)
	}
	c.WriteString("C1,Ana\nC2,Bea\n")
	got := bring{}.in(t, []byte(c.String()))
	if n := got.Customers; n.New != 30_000 || n.Unchanged != 1 || n.RejectedBy[CodeRepeated] != 1 || !strings.Contains(got.rejects, "line 4") {
		t.Errorf("%+v\n%s", n, got.rejects)
	}
}

// The same of purchases, many of which are looked for together, beside their customers and
// alone, and past many growths of the table.
func TestRepeatsOfPurchases(t *testing.T) {
	const customers, each = 3000, 10
	var c, p strings.Builder
	c.WriteString("external_id\n")
	p.WriteString("external_id,purchase_id,at,amount,currency\n")
	var ids []string
	for i := range customers {
		ids = append(ids, fmt.Sprint("C", i))
		fmt.Fprintf(&c, "C%d\n", i)
		for n := range each {
			fmt.Fprintf(&p, "C%d,P%d,2025-01-01,%d.00,EUR\n", i, n, n+1)
		}
	}
	p.WriteString("C5,P1,2025-01-01,2.00,EUR\nC5,P2,2025-01-01,9.00,EUR\nC2999,P9,2025-01-01,10.00,EUR\nC2999,P9,2025-01-01,10.01,EUR\n")
	check := func(got Counts, rejects string) {
		t.Helper()
		if got.New != customers*each || got.Unchanged != 2 || got.RejectedBy[CodeRepeated] != 2 || got.Read != customers*each+4 {
			t.Errorf("%+v\n%s", got, rejects)
		}
		for _, line := range []string{"f,30003,purchase_id,", "differs from line 54,", "f,30005,purchase_id,", "differs from line 30001,"} {
			if !strings.Contains(rejects, line) {
				t.Errorf("%q is missing:\n%s", line, rejects)
			}
		}
	}
	alone := bring{kind: kindPurchases, sink: known(ids...)}.in(t, []byte(p.String()))
	check(alone.Purchases, alone.rejects)
	in := func(text string) Input {
		r, err := NewReader(strings.NewReader(text), CSV, nil)
		if err != nil {
			t.Fatal(err)
		}
		return Input{Name: "f", Reader: r}
	}
	var rejects bytes.Buffer
	rep, err := Run(t.Context(), Rows(newMemory()), Options{Customers: in(c.String()), Purchases: in(p.String()), MaxRejects: -1, Rejects: &rejects})
	if err != nil {
		t.Fatal(err)
	}
	check(rep.Purchases, rejects.String())
}

func TestMappingsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"customers:\n  external_id: A\n  givenname: B\n":                       "line 3",
		"customers:\n  external_id: {form: A}\n":                               "line 2",
		"delimitre: ';'\ncustomers: {external_id: A}\n":                        "line 1",
		"encoding: utf-7\ncustomers: {external_id: A}\n":                       "line 1",
		"customers:\n  external_id: A\n  external_id: B\n":                     "line 3",
		"customers:\n  id: A\n  external_id: B\n":                              "line 3",
		"customers:\n  given_name: A\n":                                        "external_id",
		"zone: Nowhere/At all\ncustomers: {external_id: A}\n":                  "line 1",
		"date: DD/MM/YY\ncustomers: {external_id: A}\n":                        "line 1",
		"decimal: ','\nthousands: ','\ncustomers: {external_id: A}\n":          "one mark",
		"customers: {external_id: A, full_name: B}\n":                          "order",
		"customers: {external_id: A, given_name: {from: B, per-line: true}}\n": "per-line",
		"customers: {external_id: A, given_name: {constant: x, from: B}}\n":    "either",
		"customers: [a]\n":           "our_column",
		"a: b: secret@example.com\n": "it is not YAML",
		"E-Mail: secret\n":           "line 1",
		"- secret\n":                 "line 1",
		"purchases: {external_id: A, id: B, at: C, amount: {from: D, per: kg}}\n": "piece or line",
	} {
		_, err := ParseMapping([]byte(text))
		if !errors.Is(err, ErrMapping) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	// What the header and the mapping do not say of each other.
	const m = "customers: {external_id: Number, given_name: First}\n"
	for text, want := range map[string]string{
		"Number\nA1\n":                          "line 1 of the mapping names a column that is not in the header",
		"Number,First,secret@example.com,x\n,,": "columns 3, 4",
		"Number,First,first\nA1,a,b\n":          "columns 2, 3",
	} {
		got := bring{mapping: m}.in(t, []byte(text))
		if !errors.Is(got.err, ErrColumns) || !strings.Contains(got.err.Error(), want) || strings.Contains(got.err.Error(), "secret") {
			t.Errorf("%q: %v", text, got.err)
		}
	}
}

// A value read by a description is the value that is declared, or none.
func TestDescribedValues(t *testing.T) {
	one := func(rules, field, value string) string {
		t.Helper()
		kind, columns, head, row := kindCustomers, "customers: {external_id: id, "+field+": v}", "id;v\n", "A1;"+value+"\n"
		if field == "amount" || field == "at" {
			kind, columns = kindPurchases, "purchases: {external_id: id, id: p, at: t, amount: a}"
			head, row = "id;p;t;a\n", "A1;p;2025-01-01;"+value+"\n"
			if field == "at" {
				row = "A1;p;" + value + ";1\n"
			}
		}
		got := bring{kind: kind, mapping: "delimiter: ';'\n" + rules + "\n" + columns, sink: known("A1")}.in(t, []byte(head+row))
		if got.err != nil {
			t.Fatal(got.err)
		}
		if strings.Contains(got.rejects, CodeBadField) {
			return "refused"
		}
		if kind == kindCustomers {
			f, err := record.ParseField(field)
			if err != nil {
				t.Fatal(err)
			}
			c := got.sink.customers["A1"]
			return c.Get(f)
		}
		p := got.sink.purchases["A1\x00p"]
		if field == "at" {
			return p.At.Format("2006-01-02T15:04:05Z")
		}
		return p.Amount.String()
	}
	for _, c := range []struct{ rules, field, value, want string }{
		{"decimal: ','", "amount", "12,50", "12.50"},
		{"decimal: ','", "amount", "1.250,00", "refused"},
		{"decimal: ','\nthousands: '.'", "amount", "1.250,00", "1250.00"},
		{"decimal: ','\nthousands: '.'", "amount", "12.50", "refused"},
		{"decimal: ','\nthousands: '.'", "amount", "1.25.000,00", "refused"},
		{"decimal: ','\nthousands: ' '", "amount", "1\u202f250,00", "1250.00"},
		{"thousands: ','", "amount", "1,25,000.50", "125000.50"},
		{"thousands: \"'\"", "amount", "1'250.50", "1250.50"},
		{"currency-signs: drop", "amount", "€ 12.50", "12.50"},
		{"currency-signs: drop", "amount", "12.50 EUR", "12.50"},
		{"currency-signs: drop", "amount", "-€12.50", "-12.50"},
		{"negative: parentheses", "amount", "(12.50)", "-12.50"},
		{"", "amount", "(12.50)", "refused"},
		{"time: DD/MM/YYYY hh:mm\nzone: Europe/Paris", "at", "01/07/2024 12:00", "2024-07-01T10:00:00Z"},
		{"time: DD/MM/YYYY hh:mm", "at", "01/07/2024 12:00", "refused"},
		{"time: MM/DD/YYYY hh:mm\nzone: America/New_York", "at", "07/01/2024 12:00", "2024-07-01T16:00:00Z"},
		{"time: [DD/MM/YYYY hh:mm, MM/DD/YYYY hh:mm]\nzone: UTC", "at", "01/07/2024 12:00", "refused"},
		{"time: YYYY-MM-DD hh:mm:ss\nzone: '+09:00'", "at", "2024-07-01 12:00:00", "2024-07-01T03:00:00Z"},
		{"serial: 1900\nzone: UTC", "at", "45474.5", "2024-07-01T12:00:00Z"},
		{"date: DD.MM.YYYY", "birth_date", "31.05.1984", "1984-05-31"},
		{"date: [DD/MM/YYYY, MM/DD/YYYY]", "birth_date", "05/06/1984", "refused"},
		{"date: [DD/MM/YYYY, MM/DD/YYYY]", "birth_date", "31/05/1984", "1984-05-31"},
		{"serial: 1900", "birth_date", "30833", "1984-05-31"},
		{"serial: 1904", "birth_date", "29371", "1984-05-31"},
		{"serial: 1900", "birth_date", "59", "1900-02-28"},
		{"null: [n/a, '0000-00-00']", "birth_date", "N/A", ""},
		{"apostrophes: drop", "postal_code", "'01067", "01067"},
		{"", "postal_code", "'01067", "'01067"},
		{"default-country: FR", "phone", "0612345678", "+33612345678"},
	} {
		if got := one(c.rules, c.field, c.value); got != c.want {
			t.Errorf("%s %q with %q is %q, want %q", c.field, c.value, c.rules, got, c.want)
		}
	}
}

// Every proposal is a mapping, and shows no value of the file in its errors.
func TestProposals(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want, not string }{
		"sep":        {"sep=|\nCustomer ID|E-Mail\n7|a@example.com\n", "delimiter: \"|\"", ""},
		"semicolon":  {"Kunde;Nachname;E-Mail;Customer ID\nx;Muster;a@example.com;7\n", "delimiter: \";\"", ""},
		"mac":        {"Customer ID,First Name\n1,Zo\x91\n2,Andr\x8e\n", "encoding: macroman", ""},
		"windows":    {"Customer ID,First Name\n1,Zo\xeb\n2,Andr\xe9\n", "encoding: windows-1252", ""},
		"us dates":   {"Customer ID,Birthday\n1,05/31/1984\n2,01/02/1990\n", "\ndate: MM/DD/YYYY", ""},
		"no proof":   {"Customer ID,Birthday\n1,01/02/1984\n", "No row proves", "\ndate:"},
		"lines":      {"Order,Customer ID,Date,SKU,Qty,Unit Price,Currency\n1,7,2024-01-01,a,1,\"1.250,00\",EUR\n1,7,2024-01-01,b,1,\"3,50\",EUR\n", "per-line: true", ""},
		"apostrophe": {"Customer ID,Phone\n'7,'+33612345678\n", "apostrophes: drop", ""},
	} {
		path := dir + "/" + name + ".csv"
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Propose(path, nil)
		if err != nil || !strings.Contains(p.Text, c.want) || c.not != "" && strings.Contains(p.Text, c.not) {
			t.Errorf("%s: %v\n%+v", name, err, p)
		}
	}
	path := dir + "/none.csv"
	if err := os.WriteFile(path, []byte("A1,secret@example.com\nA2,b@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Propose(path, nil); !errors.Is(err, ErrNoHeader) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// What an export writes is taken as it is.
func TestExportsComeBack(t *testing.T) {
	const want = `{"note":"=1+1, \"quoted\"","vip":"yes"}`
	csv := "token,external_id,email,attributes\ncus_a,A1,ana@example.com,\"" + strings.ReplaceAll(want, `"`, `""`) + "\"\ncus_b,A2,,{}\n"
	jsonl := `{"token":"cus_a","external_id":"A1","email":"ana@example.com","attributes":` + want + "}\n" + `{"token":"cus_b","external_id":"A2","attributes":{}}` + "\n"
	for name, text := range map[string]string{"csv": csv, "jsonl": jsonl} {
		got := bring{}.in(t, []byte(text))
		if got.Customers.New != 2 {
			t.Fatalf("%s: %+v %v\n%s", name, got.Customers, got.err, got.rejects)
		}
		got.customer(t, "A1", map[string]string{"email": "ana@example.com", "attr.note": `=1+1, "quoted"`, "attr.vip": "yes"})
		got = bring{}.in(t, []byte(strings.ReplaceAll(text, "yes", "4111 1111 1111 1111")))
		if got.Customers.RejectedBy[CodeCardNumber] != 1 {
			t.Errorf("%s: a card in an attribute: %+v", name, got.Customers)
		}
	}
	bring{}.in(t, []byte("external_id,attributes\nA1,[1]\n")).lines(t, "2 attributes "+CodeBadField)
	got := bring{kind: kindPurchases, sink: known("\x00cus_a")}.in(t, []byte("token,purchase_id,at,quantity,amount,currency\ncus_a,P1,2025-01-01T00:00:00Z,0,1.00,EUR\n"))
	got.purchase(t, "\x00cus_a", "P1", "2025-01-01T00:00:00Z", "1.00", "EUR", 0)
}
