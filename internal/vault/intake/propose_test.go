package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// proposed proposes a mapping for a file, and reads the file with it.
func proposed(t *testing.T, name string, text []byte) (*Proposal, []Shown, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Propose(path, nil)
	if err != nil {
		return p, nil, err
	}
	m, err := ParseMapping([]byte(p.Text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, p.Text)
	}
	r, err := Open(path, nil, m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rows, err := Show(context.Background(), r, p.Kind)
	return p, rows, err
}

const checkedJSON = `{"id":"A1","first_name":"Ana","contact":{"email":"ana@example.com","phone":"+33612345678"},"address":{"city":"Lyon","country":"FR"},"tags":["vip","old"],"score":7.5}
{"id":"A2","first_name":"Bo","contact":{"email":"bo@example.com"},"address":{"city":"Rome","country":"Italia"},"tags":[],"note":null}

{"id":"A3","first_name":"Cy"}
`

const checkedXML = `<?xml version="1.0" encoding="UTF-8"?>
<shop><made>2024</made><customers>
 <customer number="A1"><profile><first-name>Ana</first-name><email>ana@example.com</email></profile><addresses><address id="home"><city>Lyon</city><country>FR</country></address><address id="work"><city>Paris</city></address></addresses></customer>
 <customer number="A2"><profile><first-name>Bo</first-name><email>bo@example.com</email></profile></customer>
</customers></shop>
`

// A mapping is proposed for JSON lines and XML as for CSV, and the rows go in with it.
func TestProposalsForEveryFormat(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
		kind string
		rows int
	}{
		"customers.jsonl": {checkedJSON, []string{"external_id: id", "email: contact/email", "phone: contact/phone", "city: address/city", "country: address/country", "  - tags", "  - score"}, kindCustomers, 3},
		"customers.json":  {checkedJSON, []string{"given_name: first_name"}, kindCustomers, 3},
		"customers.xml":   {checkedXML, []string{"xml: customer\n", "external_id: '@number'", "email: profile/email", "city: addresses/address/city"}, kindCustomers, 2},
		"orders.jsonl": {`{"id":"O-1","customer_id":"A1","created_at":"2024-05-31T12:00:00Z","currency":"EUR","total":"9.50","lines":[{"sku":"x"}]}` + "\n",
			[]string{"purchase_id: id", "external_id: customer_id", "at: created_at", "amount: total", "  - lines"}, kindPurchases, 1},
		"orders.xml": {`<orders><order><no>O-1</no><customer_id>A1</customer_id><date>2024-05-31</date><total>9.50</total><currency>EUR</currency></order></orders>`,
			[]string{"xml: order\n", "purchase_id: 'no'", "at: date"}, kindPurchases, 1},
		"customers.csv": {"Kundennummer;Vorname;Nachname;E-Mail;PLZ;Land;Geburtsdatum\n7;Ute;Maß;ute@example.com;04109;Deutschland;31.05.1984\n",
			[]string{"delimiter: \";\"", "external_id: Kundennummer", "postal_code: PLZ", "date: D.M.YYYY"}, kindCustomers, 1},
	} {
		p, rows, err := proposed(t, name, []byte(c.text))
		if err != nil || p.Kind != c.kind || len(rows) != c.rows {
			t.Errorf("%s: %d rows, %v\n%+v", name, len(rows), err, p)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(p.Text, w) {
				t.Errorf("%s: no %q in\n%s", name, w, p.Text)
			}
		}
		for _, row := range rows {
			if row.Reject != nil {
				t.Errorf("%s: %+v with\n%s", name, row.Reject, p.Text)
			}
		}
	}
}

// A file that cannot be a list of records is refused without a word of it.
func TestProposalsRepeatNothing(t *testing.T) {
	for name, text := range map[string]string{
		"array.json":   `[{"email":"secret@example.com"}]`,
		"keys.jsonl":   `{"secret@example.com":{"name":"secret"}}` + "\n",
		"bomb.xml":     `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY secret "secret">]><a><email>&secret;</email></a>`,
		"deep.xml":     strings.Repeat("<secret>", 40),
		"nothing.json": "{}\n",
		"broken.xml":   "<",
		"charset.xml":  `<?xml version="1.0" encoding="latin-1"?><a><email>secret</email></a>`,
		"ids.xml":      `<a><b><c id="secret-1">1</c><email>x</email></b><b><d name="secret@example.com">1</d></b></a>`,
		"header.csv":   "secret@example.com,Ana\nx,y\n",
	} {
		p, rows, err := proposed(t, name, []byte(text))
		if (err == nil) != (name == "ids.xml") || strings.Contains(fmt.Sprint(p, rows, err), "secret") {
			t.Errorf("%s: %v %v %v", name, p, rows, err)
		}
	}
	// Rows that have other names each do not fill the memory, and are said to be many.
	var b bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&b, `{"id":"%d","email":"a@example.com","x%d":1}`+"\n", i, i)
	}
	p, _, err := proposed(t, "many.jsonl", b.Bytes())
	if err != nil || len(p.Text) > 20_000 || strings.Count(p.Text, "\n") > maxProposed+20 {
		t.Errorf("%v: %d bytes", err, len(p.Text))
	}
}

// Encodings of the East are read where the mapping says so; a check proposes one only where
// the bytes leave no other.
func TestEncodingsOfTheEast(t *testing.T) {
	const (
		japanese1 = "顧客番号,氏名,メールアドレス,住所\nA1,山田 太郎,taro@example.jp,東京都渋谷区ソフィア表１\nA2,佐藤 花子,hana@example.jp,大阪市\n"
		korean1   = "고객번호,이름,이메일,주소\nA1,홍길동,hong@example.kr,서울특별시 강남구\nA2,김철수,kim@example.kr,부산\n"
		chinese1  = "客户编号,姓名,邮箱,地址\nA1,王小明,wang@example.cn,上海市浦东新区\nA2,李娜,li@example.cn,北京\n"
		taiwan1   = "客戶編號,姓名,電子郵件,地址\nA1,王小明,wang@example.tw,台北市信義區許功蓋\nA2,李娜,li@example.tw,高雄\n"
	)
	for name, c := range map[string]struct {
		encode func(string) (string, error)
		text   string
	}{
		"shift_jis":   {japanese.ShiftJIS.NewEncoder().String, japanese1},
		"euc-jp":      {japanese.EUCJP.NewEncoder().String, japanese1},
		"iso-2022-jp": {japanese.ISO2022JP.NewEncoder().String, japanese1},
		"euc-kr":      {korean.EUCKR.NewEncoder().String, korean1},
		"gb18030":     {simplifiedchinese.GB18030.NewEncoder().String, chinese1},
		"big5":        {traditionalchinese.Big5.NewEncoder().String, taiwan1},
	} {
		bytesOf, err := c.encode(c.text)
		if err != nil {
			t.Fatal(name, err)
		}
		p, rows, err := proposed(t, "f.csv", []byte(bytesOf))
		if err != nil || !strings.Contains(p.Text, "\nencoding: "+name+"\n") || len(rows) != 2 {
			t.Errorf("%s: %v\n%+v", name, err, p)
			continue
		}
		lines := strings.Split(c.text, "\n")
		if got, want := rows[0].Fields["street"], strings.Split(lines[1], ",")[3]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		// As a mapping says it, also where a file of refused rows is repaired.
		mapping := "encoding: " + name + "\ncustomers: {external_id: 1, family_name: 2, country: 3}\n"
		body, err := c.encode("1,2,3\nA1," + strings.Split(lines[1], ",")[1] + ",XX\nA2," + strings.Split(lines[2], ",")[1] + ",JP\n")
		if err != nil {
			t.Fatal(err)
		}
		got := bring{mapping: mapping}.in(t, []byte(body))
		got.customer(t, "A2", map[string]string{"family_name": strings.Split(lines[2], ",")[1]})
		if got.Customers.Rejected != 1 || got.Customers.New != 1 {
			t.Errorf("%s: %+v %v", name, got.Customers, got.err)
		}
		// UTF-8 is not what the mapping says: no other words are stored for it.
		if name != "iso-2022-jp" {
			wrong := bring{mapping: mapping}.in(t, []byte("1,2,3\nA1,東京都渋谷区東京都渋谷区,JP\nA2,서울특별시 강남구서울특별시,KR\n"))
			if wrong.Customers.New > 0 {
				t.Errorf("%s: UTF-8 was read as it: %+v", name, wrong.Customers)
			}
		}
	}
	// Names that are ASCII, and letters that several encodings have: none is chosen.
	hanzi, err := simplifiedchinese.GBK.NewEncoder().String("email,first name\na@example.cn,王小明\nb@example.cn,李娜\n")
	if err != nil {
		t.Fatal(err)
	}
	p, _, _ := proposed(t, "f.csv", []byte(hanzi))
	if p == nil || strings.Contains(p.Text, "\nencoding:") || !strings.Contains(p.Text, "gb18030") || !strings.Contains(p.Text, "prove none") {
		t.Errorf("%+v", p)
	}
	// Letters of the West are none of the East.
	for _, text := range []string{"email,first name\na@x.de,M\xfcller\nb@x.de,B\xe4cker\n", "email,first name\na@x.fr,H\xe9l\xe8ne\nb@x.fr,Zo\xeb\n", "email,city\na@x.fr,S\xe3o Paulo\n"} {
		if p, _, err := proposed(t, "f.csv", []byte(text)); err != nil || !strings.Contains(p.Text, "encoding: windows-1252") {
			t.Errorf("%q: %v\n%+v", text, err, p)
		}
	}
}

// What a till sells to nobody in particular is counted apart, and nothing of it is lost
// without a word: refused, unless the mapping leaves it out.
func TestPurchasesOfNobody(t *testing.T) {
	const rules = "purchases: {external_id: Customer, id: Receipt, at: Date, amount: Total, currency: Currency}\n"
	text := "Customer,Receipt,Date,Total,Currency\n"
	for i := range 50 {
		who := ""
		if i%5 == 0 {
			who = "A1"
		} else if i%5 == 1 {
			who = " Walk-in "
		}
		text += fmt.Sprintf("%s,R-%d,2024-05-31,9.50,EUR\n", who, i)
	}
	got := bring{kind: kindPurchases, sink: known("A1"), mapping: "null: [walk-in]\n" + rules}.in(t, []byte(text))
	if got.Purchases.New != 10 || got.Purchases.Rejected != 40 || got.Purchases.RejectedBy[CodeMissingExternalID] != 40 || !strings.Contains(strings.Join(got.Purchases.Hints, ""), "without-customer: skip") {
		t.Errorf("%+v", got.Purchases)
	}
	got = bring{kind: kindPurchases, sink: known("A1"), mapping: "without-customer: skip\nnull: [walk-in]\n" + rules}.in(t, []byte(text))
	if got.Purchases.New != 10 || got.Purchases.Rejected != 0 || got.Purchases.Anonymous != (FirstOf{40, 3}) || got.rejects != "" || got.refused != "" {
		t.Errorf("%+v\n%s", got.Purchases, got.rejects)
	}
	// A customer whose number is wrong is somebody: that row is refused.
	got = bring{kind: kindPurchases, sink: known("A1"), mapping: "without-customer: skip\n" + rules}.in(t,
		[]byte("Customer,Receipt,Date,Total,Currency\n"+strings.Repeat("x", 2000)+",R-1,2024-05-31,9.50,EUR\n,R-2,yesterday,x,y\nB9,R-3,2024-05-31,1,EUR\n,R-4,2024-05-31,4111111111111111,EUR\n"))
	if got.Purchases.Rejected != 3 || got.Purchases.Anonymous.N != 1 || got.Purchases.RejectedBy[CodeCardNumber] != 1 {
		t.Errorf("%+v\n%s", got.Purchases, got.rejects)
	}
	for _, wrong := range []string{"without-customer: maybe\n", "without-customer: [skip]\n"} {
		if _, err := ParseMapping([]byte(wrong + rules)); !errors.Is(err, ErrMapping) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
