package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// proposeBytes is how much of a file a proposal looks at.
	proposeBytes = 1 << 20
	// proposeRows is how many rows it looks at.
	proposeRows = 1000
	// ShownRows is how many rows a check shows.
	ShownRows = 10
)

// ErrNoHeader is returned for a file in whose first line no known name stands: what stands
// there may be a customer, so that it is not shown.
var ErrNoHeader = fault.New(fault.Internal, "the first line has no name of a column that is known, such as email, first name or order number: if it is a header, write a mapping by hand (docs/import.md); if it is a row, put a header before it")

// Proposal is a mapping for a file, as far as its first rows prove one.
type Proposal struct {
	Kind string // customers or purchases
	Text string // the mapping, with comments
}

// seen is what the first rows of a file show.
type seenFile struct {
	encoding  string
	proven    bool     // nothing but this encoding reads the bytes as words
	either    []string // of the East: each of these reads them, and none is chosen
	format    Format
	element   string   // of XML, the element that is a record
	lists     []string // columns that hold lists
	bare      bool     // a quote stands in a value that none surrounds
	delimiter byte
	names     []string
	rows      [][]string
}

// Propose looks at the first rows of a file, and writes a mapping with what it saw. It
// declares nothing that the rows do not prove.
func Propose(name string, stdin io.Reader) (*Proposal, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("opening %s: %w", name, err)
		}
		defer f.Close()
		in = f
	}
	plain, err := unpack(bufio.NewReaderSize(in, 64<<10))
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(plain, proposeBytes))
	if err != nil && len(b) == 0 {
		return nil, fmt.Errorf("reading the first bytes: %w", err)
	}
	s := &seenFile{}
	text, err := s.decode(b)
	if err != nil {
		return nil, err
	}
	if err := s.split(text, len(b) == proposeBytes); err != nil {
		return nil, err
	}
	return s.propose()
}

// decode finds the encoding.
func (s *seenFile) decode(b []byte) (string, error) {
	cut := b
	for n := 0; n < utf8.UTFMax && len(cut) > 0 && !utf8.Valid(cut); n++ {
		cut = cut[:len(cut)-1] // a letter that the limit cut
	}
	if len(b) < proposeBytes {
		cut = b
	}
	zeros := bytes.Count(b, []byte{0})
	switch {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")), bytes.HasPrefix(b, []byte("\xd0\xcf\x11\xe0")):
		return "", fmt.Errorf("%w: it is a ZIP archive or a spreadsheet: save it as CSV", ErrFormat)
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		s.encoding = "utf-16"
	case zeros > len(b)/4 && len(b) > 1 && b[0] != 0:
		s.encoding = "utf-16le"
	case zeros > len(b)/4:
		s.encoding = "utf-16be"
	case utf8.Valid(cut) && (bytes.Contains(b, []byte("\x1b$B")) || bytes.Contains(b, []byte("\x1b$@"))):
		s.encoding, s.proven = "iso-2022-jp", true
	case utf8.Valid(cut):
		return strings.TrimPrefix(string(cut), "\ufeff"), nil
	default:
		if text, done := s.decodeEastern(b); done {
			return text, nil
		}
		s.encoding = bestCodePage(b)
	}
	enc, _ := encodingOf(s.encoding)
	text, err := decodeAll(enc, b)
	return strings.TrimPrefix(text, "\ufeff"), err
}

// decodeEastern finds an encoding of the East: one that reads every byte, and as nothing but
// letters of the East. Several can, since they share most codes: then a name of a column that
// is known in one of them proves it, or kana do, which the others do not have at their place.
// Otherwise none is chosen.
func (s *seenFile) decodeEastern(b []byte) (text string, done bool) {
	type reading struct {
		name, text  string
		known, kana int
	}
	var all []reading
	for _, name := range eastern {
		enc, _ := encodingOf(name)
		cut, err := decodeAll(enc, b)
		if len(b) == proposeBytes && err == nil {
			cut = strings.TrimRight(cut, "\ufffd") // a letter that the limit cut
		}
		if err != nil {
			continue
		}
		r := reading{name: name, text: cut}
		r.known, r.kana = easternWords(cut)
		switch {
		case r.known < 0:
		case r.known == 0 && name == "shift_jis" && r.kana == 0, r.known == 0 && western(b):
			// An accent of the West and the letter behind it are a pair of the East, too.
		default:
			all = append(all, r)
		}
	}
	best := -1
	for i, r := range all {
		switch {
		case best < 0, r.known > all[best].known:
			best = i
		case r.known == all[best].known && r.kana > 2*all[best].kana:
			best = i
		}
	}
	if best < 0 {
		return "", false
	}
	for i, r := range all {
		if i != best && r.known == all[best].known && 2*r.kana >= all[best].kana {
			s.either = append(s.either, r.name)
		}
	}
	if len(s.either) > 0 || all[best].known == 0 && all[best].kana == 0 {
		s.either = append([]string{all[best].name}, s.either...)
		return all[best].text, true
	}
	s.encoding, s.proven = all[best].name, true
	return all[best].text, true
}

// western reports whether nearly all letters that are not ASCII stand alone between others, as
// accents do. In pairs of the East the second byte is mostly no ASCII.
func western(b []byte) bool {
	pairs, alone := 0, 0
	for i := 0; i < len(b); i++ {
		if b[i] >= utf8.RuneSelf {
			if pairs++; i+1 == len(b) || b[i+1] < utf8.RuneSelf {
				alone++
			}
			i++
		}
	}
	return 4*alone > 3*pairs
}

// easternWords counts the names of columns in the first line that are known and not ASCII,
// and the kana of a text. known is -1 for a text that holds other than ASCII and the letters
// and marks of the East.
func easternWords(text string) (known, kana int) {
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
		case unicode.In(r, unicode.Hiragana, unicode.Katakana) && (r < 0xff61 || r > 0xff9f):
			kana++
		case unicode.In(r, unicode.Han, unicode.Hangul), r >= 0x3000 && r <= 0x30ff, r >= 0xff01 && r <= 0xff9f && r < 0xff61, r == '\u2015', r == '\u2212', r == '\u00b7', r == '\u2026':
		default:
			return -1, 0
		}
	}
	text = strings.ReplaceAll(text, "\r", "\n")
	first, _, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n")
	for name := range strings.FieldsFuncSeq(first, func(r rune) bool { return strings.ContainsRune(delimiters+"\"", r) }) {
		if _, ok := guess(name); ok && !ascii(name) {
			known++
		}
	}
	return known, kana
}

func decodeAll(enc encoding.Encoding, b []byte) (string, error) {
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return "", fmt.Errorf("%w: it is in no encoding that can be read: %s", ErrFormat, encodingNames())
	}
	return string(out), nil
}

// bestCodePage is the code page that makes the most letters of words: they overlap, and
// no byte proves one.
func bestCodePage(b []byte) string {
	best, most := "windows-1252", -1
	for _, name := range []string{"windows-1252", "macroman"} {
		enc, _ := encodingOf(name)
		text, err := decodeAll(enc, b)
		if err != nil {
			continue
		}
		n := 0
		for _, r := range text {
			if strings.ContainsRune("àâäáãåæçèéêëìíîïñòóôöõøœùúûüýÿßÀÂÄÁÅÆÇÈÉÊËÎÏÑÓÔÖÕØÙÚÛÜ€’", r) {
				n++
			}
		}
		if n > most {
			best, most = name, n
		}
	}
	return best
}

// split finds the delimiter, and reads the first rows.
func (s *seenFile) split(text string, cut bool) error {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	if cut {
		if i := strings.LastIndexByte(text, '\n'); i > 0 {
			text = text[:i]
		}
	}
	s.format = CSV
	switch t := strings.TrimSpace(text); {
	case strings.HasPrefix(t, "<"):
		s.format = XML
		if err := s.elements(text); err != nil {
			return err
		}
		return s.named()
	case strings.HasPrefix(t, "["):
		return errArray
	case strings.HasPrefix(t, "{"):
		s.format = JSONLines
		s.objects(text)
		return s.named()
	}
	first, rest, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n")
	if mark, is := spreadsheetMark(first); is {
		s.delimiter, text = mark, rest
	} else {
		s.delimiter = findDelimiter(first, func(name string) bool { _, ok := guess(name); return ok })
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = rune(s.delimiter), true, -1
	strict := csv.NewReader(strings.NewReader(text))
	strict.Comma, strict.FieldsPerRecord = r.Comma, -1
	for len(s.rows) < proposeRows {
		if _, err := strict.Read(); errors.Is(err, csv.ErrBareQuote) {
			s.bare = true
		}
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			break // the import says where
		}
		if s.names == nil {
			s.names = row
			continue
		}
		s.rows = append(s.rows, row)
	}
	return s.named()
}

// named refuses a file in which no name of a column is known.
func (s *seenFile) named() error {
	known := 0
	for _, name := range s.names {
		if _, ok := guess(name); ok {
			known++
		}
		if s.format == XML {
			name = strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/@", "/") // a record's own attribute
		}
		if strings.Contains(name, "@") || cards.New().Contains(name) || longDigits.MatchString(name) {
			return ErrNoHeader
		}
	}
	if known == 0 {
		return ErrNoHeader
	}
	return nil
}

var longDigits = regexp.MustCompile(`[0-9]{6}`)

// column returns the values of a column that say something.
func (s *seenFile) column(i int) (out []string) {
	for _, row := range s.rows {
		if i < len(row) {
			if v := strings.TrimSpace(row[i]); v != "" {
				out = append(out, v)
			}
		}
	}
	return out
}

// objects reads the first lines of JSON.
func (s *seenFile) objects(text string) {
	at := map[string]int{}
	for line := range strings.Lines(text) {
		if len(s.rows) == proposeRows {
			return
		}
		if line = strings.TrimSpace(line); line == "" || line[0] != '{' || !json.Valid([]byte(line)) {
			continue // the import says where
		}
		row := make([]string, len(s.names))
		s.members(&row, at, "", []byte(line), 0)
		s.rows = append(s.rows, row)
	}
}

// members reads those of one object, as an import does.
func (s *seenFile) members(row *[]string, at map[string]int, prefix string, text []byte, depth int) {
	rest := trimJSON(text[1:])
	for rest[0] != '}' {
		end := stringEnd(rest)
		name, ok := unquoteJSON(rest[:end])
		rest = trimJSON(trimJSON(rest[end:])[1:])
		end = valueEnd(rest)
		value := rest[:end]
		if rest = trimJSON(rest[end:]); rest[0] == ',' {
			rest = trimJSON(rest[1:])
		}
		if !ok {
			continue
		}
		if value[0] == '{' && depth < singerDepth {
			s.members(row, at, prefix+name+"/", value, depth+1)
			continue
		}
		text := string(value)
		switch value[0] {
		case '"':
			text, _ = unquoteJSON(value)
		case '[', '{':
			if text = ""; !slices.Contains(s.lists, prefix+name) && len(s.lists) < maxProposed {
				s.lists = append(s.lists, prefix+name)
			}
		case 'n':
			text = ""
		}
		s.value(row, at, prefix+name, text)
	}
}

// maxProposed bounds the columns of a file whose rows have names of their own.
const maxProposed = 500

// value puts a value into the column of its name.
func (s *seenFile) value(row *[]string, at map[string]int, name, text string) {
	i, ok := at[name]
	if !ok {
		if len(s.names) == maxProposed {
			return
		}
		i = len(s.names)
		at[name] = i
		s.names = append(s.names, name)
	}
	for len(*row) <= i {
		*row = append(*row, "")
	}
	if (*row)[i] == "" {
		(*row)[i] = text
	}
}

// elements reads the first records of XML. A record is the element nearest to the root that
// stands more than once in one place.
func (s *seenFile) elements(text string) error {
	x := newXMLReader(bufio.NewReader(strings.NewReader(text)), false)
	type place struct {
		name     string
		depth, n int
	}
	var places []*place // in order of appearance
	at := map[string]*place{}
	var open []string
	for {
		tok, err := x.token()
		if errors.Is(err, errEntities) || errors.Is(err, errCharset) {
			return err
		}
		if err != nil {
			break // the end, or where the first bytes end
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if open = append(open, tok.Name.Local); len(open) > xmlDepth {
				return fmt.Errorf("%w: elements lie more than %d deep", ErrFormat, xmlDepth)
			}
			path := strings.Join(open, "/")
			if at[path] == nil && len(places) < maxProposed {
				at[path] = &place{name: tok.Name.Local, depth: len(open)}
				places = append(places, at[path])
			}
			if p := at[path]; p != nil {
				p.n++
			}
		case xml.EndElement:
			open = open[:max(len(open)-1, 0)]
		}
	}
	var best *place
	for _, p := range places {
		if p.n > 1 && (best == nil || p.depth < best.depth) {
			best = p
		}
	}
	switch {
	case best != nil:
	case len(places) > 0:
		best = places[min(1, len(places)-1)] // a file of one record, in its root
	default:
		return fmt.Errorf("%w: it is not XML", ErrFormat)
	}
	s.element = best.name
	x = newXMLReader(bufio.NewReader(strings.NewReader(text)), false)
	x.element = s.element
	columns := map[string]int{}
	for len(s.rows) < proposeRows {
		seen := make([]string, len(s.names))
		x.see = func(path, value string) {
			if value == "" {
				return // what holds other elements
			}
			if !strings.Contains(path, "=") || strings.Contains(path, "attribute=") || strings.Contains(path, "property=") || strings.Contains(path, "field=") {
				s.value(&seen, columns, path, value) // elsewhere an id is a value
			}
		}
		var one row
		if x.next(&one) != nil {
			return nil // the import says where
		}
		s.rows = append(s.rows, seen)
	}
	return nil
}

// synonyms are names that columns have elsewhere, folded, by ours. purchase. begins what
// is a field of purchases alone.
var synonyms = map[string][]string{
	"external_id": {"customer ref", "kundennr.", "kunden nummer", "client no", "client number", "n° de client", "numero client", "id client", "no client", "id cliente", "nº cliente", "klantnummer", "member id", "member no", "loyalty id", "crm id", "customer id", "customer no", "customer number", "client id", "contact id", "customer_id", "customerid", "user id", "klaviyo id", "euid",
		"kundennummer", "kundennr", "kunden nr", "kunden-nr.", "kunden-id", "numéro client", "n° client", "codice cliente", "número de cliente", "código do cliente",
		"顧客番号", "会員番号", "お客様番号", "顧客id", "고객번호", "회원번호", "客户编号", "会员编号", "客戶編號", "會員編號"},
	"given_name":  {"first", "forename", "fname", "first name", "firstname", "prénom", "prenom", "given name", "vorname", "nome", "nombre", "billing first name", "名", "이름", "名字"},
	"family_name": {"last", "lname", "last name", "lastname", "surname", "family name", "nachname", "familienname", "nom de famille", "cognome", "apellido", "apellidos", "sobrenome", "姓", "苗字", "성"},
	"full_name":   {"name", "full name", "nom complet", "customer name", "billing name", "nome completo", "nombre completo", "氏名", "お名前", "名前", "성명", "고객명", "姓名"},
	"email":       {"e-mail", "mail", "email address", "e-mail address", "courriel", "adresse e-mail", "correo electrónico", "e-mail-adresse", "emailadresse", "indirizzo email", "メール", "メールアドレス", "이메일", "邮箱", "电子邮箱", "電子郵件", "電郵"},
	"phone":       {"phone number", "telephone", "mobile", "mobile phone", "téléphone", "telefon", "tel", "teléfono", "telefono", "telefonnummer", "handy", "cellulare", "telefone", "電話番号", "電話", "携帯電話", "전화번호", "휴대폰", "电话", "手机", "手机号", "手機"},
	"street":      {"address", "address1", "address 1", "street address", "adresse", "rue", "straße", "strasse", "billing street", "indirizzo", "dirección", "endereço", "anschrift", "住所", "주소", "地址"},
	"postal_code": {"zip", "zip code", "postal code", "postcode", "postalcode", "code postal", "plz", "postleitzahl", "cap", "código postal", "cep", "郵便番号", "우편번호", "邮编", "邮政编码", "郵遞區號"},
	"city":        {"town", "ville", "ort", "stadt", "wohnort", "città", "ciudad", "cidade", "市区町村", "도시", "城市"},
	"region":      {"state", "province", "state / region", "county", "bundesland", "provincia", "都道府県", "省份"},
	"country":     {"country code", "country / region", "pays", "land", "paese", "país", "国", "国名", "국가", "国家", "國家"},
	"locale":      {"language", "langue", "sprache", "lingua", "idioma"},
	"birth_date":  {"birthday", "birthdate", "date of birth", "dob", "date de naissance", "geburtsdatum", "data di nascita", "fecha de nacimiento", "data de nascimento", "生年月日", "생년월일", "生日", "出生日期"},
	"created_at":  {"created at", "created", "sign up", "registered", "date created", "profile created on", "createddate", "creation date", "angelegt am", "registriert am", "登録日", "가입일", "注册时间"},
	"purchase_id": {"bestellnr", "bestell-nr", "bestell-nr.", "bestell nr", "bestellung nr", "auftragsnummer", "auftragsnr", "auftrags-nr", "rechnungsnummer", "invoice number", "invoice no", "order ref", "order reference", "n° commande", "numéro commande", "référence commande", "numero pedido", "nº pedido", "pedido", "ordine", "id ordine", "ordernummer", "ordernr", "order", "order id", "order number", "order no", "receipt", "receipt no", "receipt number", "transaction id", "commande", "numéro de commande", "bestellnummer", "bestellung", "belegnummer", "bon-nr", "numero ordine", "número de pedido", "注文番号", "주문번호", "订单号", "訂單編號"},
	"at":          {"auftragsdatum", "kaufdatum", "rechnungsdatum", "order placed", "ordered at", "date commande", "date achat", "date d'achat", "data acquisto", "fecha de pedido", "fecha pedido", "fecha compra", "data do pedido", "order time", "purchased at", "order date", "purchase date", "date", "paid at", "date de commande", "bestelldatum", "datum", "data ordine", "fecha", "注文日", "注文日時", "주문일", "下单时间", "transaction date"},
	"sku":         {"artikelnr", "artikel nr", "artikel-nr.", "article no", "article number", "item no", "item sku", "product sku", "réf", "réf.", "código de artículo", "lineitem sku", "article", "product code", "item number", "référence", "artikelnummer", "artikel-nr", "codice articolo", "商品コード", "상품코드", "商品编码"},
	"description": {"artikelbezeichnung", "libellé", "libelle", "article name", "produkt", "prodotto", "producto", "produto", "articolo", "lineitem name", "item name", "product", "product name", "désignation", "bezeichnung", "artikel", "descrizione", "descripción", "商品名", "상품명", "商品名称"},
	"quantity":    {"stück", "stückzahl", "pieces", "qté", "quantite", "quantita", "cant.", "cant", "quantidade", "qtà", "qty", "lineitem quantity", "quantité", "menge", "anzahl", "quantità", "cantidad", "quantity (- refund)", "数量", "수량"},
	"amount":      {"stückpreis", "line total", "item price", "prix", "prix unitaire", "prix total", "montant ttc", "prezzo unitario", "totale", "precio", "precio unitario", "preço", "zeilensumme", "netto", "brutto", "単価", "단가", "单价", "total", "price", "unit price", "lineitem price", "item cost", "grand total", "montant", "betrag", "preis", "einzelpreis", "gesamtpreis", "summe", "importo", "prezzo", "importe", "金額", "価格", "금액", "金额"},
	"currency":    {"order currency", "devise", "währung", "valuta", "moneda", "moeda", "通貨", "통화", "货币"},
	"store":       {"shop", "location", "boutique", "filiale", "negozio", "tienda", "店舗", "매장", "门店"},
	"channel":     {"sales channel"},
}

// guess returns our name for a name that columns have elsewhere. That of a path is its last
// part, if what it lies in does not say that it is about something else.
func guess(name string) (string, bool) {
	parent, last := "", name
	if i := strings.LastIndexByte(name, '/'); i > 0 && !strings.Contains(name, " ") {
		parent, last = foldName(name[:i]), name[i+1:]
	}
	ours, ok := guessName(strings.TrimPrefix(last, "@"))
	if !ok || parent == "" {
		return ours, ok
	}
	for _, other := range []string{"company", "shop", "store", "product", "item", "shipping", "parent", "agent", "tag", "seller"} {
		if strings.Contains(parent, other) {
			return "", false
		}
	}
	return ours, true
}

func guessName(name string) (string, bool) {
	folded := foldName(name)
	folded = strings.TrimPrefix(folded, "default address ")
	for _, t := range []*table{customerTable(), purchaseTable()} {
		if slot, ok := t.find(folded); ok && slot != slotAttr && slot != slotDrop {
			return folded, true
		}
	}
	parted := strings.NewReplacer("_", " ", "-", " ").Replace(folded)
	for ours, theirs := range synonyms {
		if slices.ContainsFunc(theirs, func(s string) bool {
			return foldName(s) == folded || strings.ReplaceAll(foldName(s), "-", " ") == parted
		}) {
			return ours, true
		}
	}
	return "", false
}

// propose writes the mapping.
func (s *seenFile) propose() (*Proposal, error) {
	at := map[string]int{}
	for i, name := range s.names {
		if ours, ok := guess(name); ok {
			if _, taken := at[ours]; !taken {
				at[ours] = i
			}
		}
	}
	s.ids(at)
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { _, ok := at[n]; return ok })
	}
	p := &Proposal{Kind: kindCustomers}
	if has("purchase_id") && has("amount", "sku", "quantity") || has("sku") && has("amount", "quantity") {
		p.Kind = kindPurchases
		if i, made := at["created_at"]; made && !has("at") {
			at["at"] = i
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Proposed from the first %d rows. Read it before you import: what the rows do not\n# prove stands here as a comment.\n", len(s.rows))
	if len(s.either) > 0 {
		fmt.Fprintf(&b, "# The bytes are read by each of %s, and prove none: ask who wrote the file.\n# encoding: %s\n", strings.Join(s.either, ", "), s.either[0])
	}
	if s.encoding != "" {
		fmt.Fprintf(&b, "encoding: %s\n", s.encoding)
		if !s.proven && !strings.HasPrefix(s.encoding, "utf-16") {
			b.WriteString("# No byte proves a code page: look at the accents in the rows below.\n")
		}
	}
	if s.format == XML {
		fmt.Fprintf(&b, "# Each element of this name is a record.\nxml: %s\n", quoteYAML(s.element))
	}
	if s.format == CSV && s.delimiter != ',' {
		mark := map[byte]string{'\t': "tab", ';': `";"`, '|': `"|"`}[s.delimiter]
		fmt.Fprintf(&b, "delimiter: %s\n", mark)
	}
	if s.bare {
		b.WriteString("# Quotes stand inside values that none surround. If the file surrounds no value at all:\n# quote: none\n")
	}
	if s.any(func(v string) bool { return len(v) > 1 && v[0] == '\'' && strings.IndexByte("0123456789+", v[1]) >= 0 }) {
		b.WriteString("# An apostrophe stands before numbers, as spreadsheets write them.\napostrophes: drop\n")
	}
	s.times(&b, at)
	s.amounts(&b, at, p.Kind)
	s.fields(&b, at, p)
	p.Text = b.String()
	if _, err := ParseMapping([]byte(p.Text)); err != nil {
		return p, fmt.Errorf("the file does not say enough for a mapping: %w", err)
	}
	return p, nil
}

// ids finds what an id that says no more is the id of: of the purchase, where the customer
// has another.
func (s *seenFile) ids(at map[string]int) {
	id := slices.IndexFunc(s.names, func(name string) bool {
		return slices.Contains([]string{"id", "number", "no", "no.", "nr", "nr."}, strings.TrimPrefix(foldName(name), "@"))
	})
	if id < 0 {
		return
	}
	_, customer := at["external_id"]
	_, purchase := at["purchase_id"]
	_, amount := at["amount"]
	switch {
	case !customer:
		at["external_id"] = id
	case !purchase && amount:
		at["purchase_id"] = id
	}
}

func (s *seenFile) any(is func(string) bool) bool {
	for i := range s.names {
		if slices.ContainsFunc(s.column(i), is) {
			return true
		}
	}
	return false
}

var (
	dayFirst  = regexp.MustCompile(`^(\d{1,2})([/.\-])(\d{1,2})[/.\-](\d{4})\b`)
	clockPart = regexp.MustCompile(`\d{1,2}:\d{2}(:\d{2})?$`)
)

// times writes what the rows prove about times and dates.
func (s *seenFile) times(b *strings.Builder, at map[string]int) {
	zoneless, serial := false, false
	for _, ours := range []string{"at", "created_at", "birth_date"} {
		i, ok := at[ours]
		if !ok {
			continue
		}
		first, second, mark, clock, long := 0, 0, "", "", false
		n := 0
		for _, v := range s.column(i) {
			if errors.Is(unreadTime(v), errSerial) {
				serial = true
			}
			if _, err := parseAnyTime(v); err != nil && errors.Is(unreadTime(v), errNoZone) && ours != "birth_date" {
				zoneless = true
			}
			m := dayFirst.FindStringSubmatch(v)
			if m == nil {
				continue
			}
			n++
			mark = m[2]
			long = long || len(m[1]) == 2 && m[1][0] == '0'
			first, second = max(first, number(m[1])), max(second, number(m[3]))
			if c := clockPart.FindString(v); c != "" {
				clock = " hh:mm"
				if strings.Count(c, ":") == 2 {
					clock = " hh:mm:ss"
				}
			}
		}
		if n == 0 {
			continue
		}
		day, month := "D", "M"
		if long {
			day, month = "DD", "MM"
		}
		key := "date"
		if clock != "" && ours != "birth_date" {
			key, zoneless = "time", true
		}
		switch {
		case first > 12 && second > 12:
			fmt.Fprintf(b, "# Column %d has days first in some rows and months first in others: ask who wrote it.\n", i+1)
		case first > 12:
			fmt.Fprintf(b, "%s: %s%s%s%sYYYY%s\n", key, day, mark, month, mark, clock)
		case second > 12:
			fmt.Fprintf(b, "%s: %s%s%s%sYYYY%s\n", key, month, mark, day, mark, clock)
		default:
			fmt.Fprintf(b, "# No row proves whether the day or the month comes first in column %d: choose one.\n# %s: %s%s%s%sYYYY%s\n# %s: %s%s%s%sYYYY%s\n", i+1,
				key, day, mark, month, mark, clock, key, month, mark, day, mark, clock)
		}
	}
	if zoneless {
		b.WriteString("# Times say no zone, and none is guessed: say it here, or with --zone.\n# zone: Europe/Paris\n")
		if !strings.Contains(b.String(), "\ntime:") {
			b.WriteString("time: [YYYY-MM-DD hh:mm:ss, YYYY-MM-DD hh:mm]\n")
		}
	}
	if serial {
		b.WriteString("# Some dates are a spreadsheet's numbers: 1900 on Windows, 1904 on old Macs.\n# serial: 1900\n")
	}
}

func number(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

var (
	commaDecimals = regexp.MustCompile(`^-?[0-9. ]*\d,\d{1,2}$`)
	pointDecimals = regexp.MustCompile(`^-?[0-9, ]*\d\.\d{1,2}$`)
)

// amounts writes what the rows prove about amounts.
func (s *seenFile) amounts(b *strings.Builder, at map[string]int, kind string) {
	i, ok := at["amount"]
	if !ok || kind != kindPurchases {
		return
	}
	comma, point, signs, dots, commas, spaces := false, false, false, false, false, false
	for _, v := range s.column(i) {
		bare := strings.TrimFunc(v, func(r rune) bool { return unicode.Is(unicode.Sc, r) || unicode.IsLetter(r) || isSpace(r) })
		signs = signs || bare != v
		comma = comma || commaDecimals.MatchString(bare)
		point = point || pointDecimals.MatchString(bare)
		dots = dots || strings.Count(bare, ".") > 0
		commas = commas || strings.Count(bare, ",") > 0
		spaces = spaces || strings.ContainsFunc(bare, isSpace)
	}
	if signs {
		b.WriteString("currency-signs: drop\n")
	}
	switch {
	case comma && point:
		b.WriteString("# Some amounts have a comma before the cents and some a point: ask who wrote them.\n")
	case comma:
		b.WriteString("decimal: \",\"\n")
		if dots {
			b.WriteString("thousands: \".\"\n")
		}
	case point && commas:
		b.WriteString("thousands: \",\"\n")
	}
	if spaces && !dots {
		b.WriteString("thousands: \" \"\n")
	}
}

// fields writes where our fields come from.
func (s *seenFile) fields(b *strings.Builder, at map[string]int, p *Proposal) {
	t := customerTable()
	if p.Kind == kindPurchases {
		t = purchaseTable()
	}
	used := map[int]bool{}
	fmt.Fprintf(b, "%s:\n", p.Kind)
	line := func(ours string, i int) {
		used[i] = true
		fmt.Fprintf(b, "  %s: %s\n", ours, quoteYAML(s.names[i]))
	}
	if i, ok := at["external_id"]; ok {
		line("external_id", i)
	} else if i, ok := at["email"]; ok {
		b.WriteString("  # No column looks like the number of a customer: the e-mail address stands for it.\n")
		line("external_id", i)
	}
	_, counted := at["quantity"]
	for _, ours := range t.names {
		i, ok := at[ours]
		if !ok || ours == "external_id" {
			continue
		}
		switch {
		case ours == "purchase_id" && repeats1(s.column(i)):
			used[i] = true
			fmt.Fprintf(b, "  # The id repeats from row to row: a row is a line of an order, and is numbered.\n  id: {from: %s, per-line: true}\n", quoteYAML(s.names[i]))
		case ours == "amount" && counted && perPiece(s.names[i]):
			used[i] = true
			fmt.Fprintf(b, "  # A price is per piece, as a rule: write `per: line` if it is that of the whole line.\n  amount: {from: %s, per: piece}\n", quoteYAML(s.names[i]))
		default:
			line(ours, i)
		}
	}
	if i, ok := at["full_name"]; ok && p.Kind == kindCustomers && !used[i] {
		if _, split := at["given_name"]; !split {
			used[i] = true
			fmt.Fprintf(b, "  # Or family-first: no row proves it.\n  full_name: {from: %s, order: given-first}\n", quoteYAML(s.names[i]))
		}
	}
	s.unread(b, used)
}

// perPiece reports whether a column is called a price, and not a total.
func perPiece(name string) bool {
	folded := foldName(name)
	for _, total := range []string{"total", "gesamt", "summe", "line", "zeile"} {
		if strings.Contains(folded, total) && !strings.Contains(folded, "lineitem price") {
			return false
		}
	}
	for _, price := range []string{"price", "preis", "prix", "prezzo", "precio", "preço", "単価", "단가", "单价"} {
		if strings.Contains(folded, price) {
			return true
		}
	}
	return false
}

// unread writes which columns nothing is made of.
func (s *seenFile) unread(b *strings.Builder, used map[int]bool) {
	var rest, lists []string
	for i, name := range s.names {
		switch {
		case used[i] || strings.TrimSpace(name) == "":
		case slices.Contains(s.lists, name):
			lists = append(lists, quoteYAML(name))
		default:
			rest = append(rest, quoteYAML(name))
		}
	}
	if s.format == XML { // where nothing need be said of what is not read
		if len(rest) > 0 {
			fmt.Fprintf(b, "# Not read. Write what you need above, as attr.NAME for instance:\n#   %s\n", strings.Join(rest, "\n#   "))
		}
		return
	}
	if len(rest)+len(lists) == 0 {
		return
	}
	b.WriteString("# Not read. Move what you need up, as attr.NAME for instance.\ndrop:\n")
	for _, name := range rest {
		fmt.Fprintf(b, "  - %s\n", name)
	}
	if len(lists) > 0 {
		b.WriteString("  # These hold lists, whose parts no column can name.\n")
	}
	for _, name := range lists {
		fmt.Fprintf(b, "  - %s\n", name)
	}
}

// repeats1 reports whether a value follows itself.
func repeats1(values []string) bool {
	for i := 1; i < len(values); i++ {
		if values[i] == values[i-1] {
			return true
		}
	}
	return false
}

func quoteYAML(s string) string {
	s = strings.TrimSpace(s)
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != ' ' && r != '_' && r != '/' && r != '(' && r != ')'
	}) < 0 &&
		(unicode.IsLetter(rune(s[0]))) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off"}, strings.ToLower(s)) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// Shown is a row as it would be stored.
type Shown struct {
	Line   int64
	Fields map[string]string
	Reject *Reject
}

// Show reads the first rows of a file as an import would.
func Show(ctx context.Context, r *Reader, kind string) (out []Shown, err error) {
	if kind == kindPurchases {
		for row, err := range Purchases(ctx, r) {
			if err != nil || len(out) == ShownRows {
				return out, err
			}
			s := Shown{Line: row.Line, Reject: row.Reject, Fields: map[string]string{}}
			if p := &row.Purchase; row.Reject == nil {
				s.Fields = map[string]string{
					"external_id": row.ExternalID, "purchase_id": p.ID, "at": p.At.Format("2006-01-02T15:04:05Z"), "sku": p.SKU, "description": p.Description,
					"quantity": fmt.Sprint(p.Quantity), "amount": p.Amount.String(), "currency": p.Currency, "store": p.Store, "channel": p.Channel,
				}
			}
			out = append(out, s)
		}
		return out, nil
	}
	for row, err := range Customers(ctx, r) {
		if err != nil || len(out) == ShownRows {
			return out, err
		}
		s := Shown{Line: row.Line, Reject: row.Reject, Fields: map[string]string{}}
		for _, f := range record.Texts {
			if v := row.Customer.Get(f); v != "" {
				s.Fields[f.String()] = v
			}
		}
		for name, v := range row.Customer.Attributes {
			if v != "" {
				s.Fields[attrPrefix+name] = v
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// Kind returns of which kind of file a description speaks: customers, unless it has
// purchases alone.
func (m *Mapping) Kind() string {
	if m.described() && m.sections[kindCustomers] == nil {
		return kindPurchases
	}
	return kindCustomers
}
