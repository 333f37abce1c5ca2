package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
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
	case utf8.Valid(cut):
		return strings.TrimPrefix(string(cut), "\ufeff"), nil
	default:
		s.encoding = bestCodePage(b)
	}
	enc, _ := encodingOf(s.encoding)
	text, err := decodeAll(enc, b)
	return strings.TrimPrefix(text, "\ufeff"), err
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
	if t := strings.TrimSpace(text); t != "" && (t[0] == '{' || t[0] == '<' || t[0] == '[') {
		return fmt.Errorf("%w: a mapping is proposed for CSV; for JSON lines and XML write one (docs/import.md)", ErrFormat)
	}
	first, rest, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n")
	if mark, is := spreadsheetMark(first); is {
		s.delimiter, text = mark, rest
	} else {
		s.delimiter = findDelimiter(first, func(name string) bool { _, ok := guess(name); return ok })
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = rune(s.delimiter), true, -1
	for len(s.rows) < proposeRows {
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
	known := 0
	for _, name := range s.names {
		if _, ok := guess(name); ok {
			known++
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

// synonyms are names that columns have elsewhere, folded, by ours. purchase. begins what
// is a field of purchases alone.
var synonyms = map[string][]string{
	"external_id": {"customer id", "customer no", "customer number", "client id", "contact id", "customer_id", "customerid", "user id", "klaviyo id", "euid"},
	"given_name":  {"first name", "firstname", "prénom", "prenom", "given name", "vorname", "nome", "nombre", "billing first name"},
	"family_name": {"last name", "lastname", "surname", "family name", "nachname", "nom de famille", "cognome", "apellido", "apellidos"},
	"full_name":   {"name", "full name", "nom complet", "customer name", "billing name"},
	"email":       {"e-mail", "mail", "email address", "e-mail address", "courriel", "adresse e-mail", "correo electrónico"},
	"phone":       {"phone number", "telephone", "mobile", "mobile phone", "téléphone", "telefon", "tel", "teléfono", "telefono"},
	"street":      {"address", "address1", "address 1", "street address", "adresse", "rue", "straße", "strasse", "billing street", "indirizzo"},
	"postal_code": {"zip", "zip code", "postal code", "postcode", "postalcode", "code postal", "plz", "cap"},
	"city":        {"town", "ville", "ort", "stadt", "città", "ciudad"},
	"region":      {"state", "province", "state / region", "county"},
	"country":     {"country code", "country / region", "pays", "land", "paese", "país"},
	"locale":      {"language", "langue", "sprache"},
	"birth_date":  {"birthday", "birthdate", "date of birth", "dob", "date de naissance", "geburtsdatum"},
	"created_at":  {"created at", "created", "sign up", "registered", "date created", "profile created on", "createddate", "creation date"},
	"purchase_id": {"order", "order id", "order number", "order no", "receipt", "transaction id", "commande", "numéro de commande"},
	"at":          {"order date", "purchase date", "date", "created at", "paid at", "date de commande"},
	"sku":         {"lineitem sku", "article", "product code", "item number", "référence"},
	"description": {"lineitem name", "item name", "product", "product name", "désignation"},
	"quantity":    {"qty", "lineitem quantity", "quantité", "menge", "quantity (- refund)"},
	"amount":      {"total", "price", "lineitem price", "item cost", "grand total", "montant", "betrag", "importe"},
	"currency":    {"order currency", "devise", "währung"},
	"store":       {"shop", "location", "boutique", "filiale"},
	"channel":     {"sales channel"},
}

// guess returns our name for a name that columns have elsewhere.
func guess(name string) (string, bool) {
	folded := foldName(name)
	folded = strings.TrimPrefix(folded, "default address ")
	for _, t := range []*table{customerTable(), purchaseTable()} {
		if slot, ok := t.find(folded); ok && slot != slotAttr {
			return folded, true
		}
	}
	under := strings.ReplaceAll(folded, "_", " ")
	for ours, theirs := range synonyms {
		if slices.ContainsFunc(theirs, func(s string) bool { return foldName(s) == folded || foldName(s) == under }) {
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
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { _, ok := at[n]; return ok })
	}
	p := &Proposal{Kind: kindCustomers}
	if has("purchase_id") && has("amount", "sku", "quantity") || has("sku") && has("amount", "quantity") {
		p.Kind = kindPurchases
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Proposed from the first %d rows. Read it before you import: what the rows do not\n# prove stands here as a comment.\n", len(s.rows))
	if s.encoding != "" {
		fmt.Fprintf(&b, "encoding: %s\n", s.encoding)
		if !strings.HasPrefix(s.encoding, "utf-16") {
			b.WriteString("# No byte proves a code page: look at the accents in the rows below.\n")
		}
	}
	if s.delimiter != ',' {
		mark := map[byte]string{'\t': "tab", ';': `";"`, '|': `"|"`}[s.delimiter]
		fmt.Fprintf(&b, "delimiter: %s\n", mark)
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
	for _, ours := range t.names {
		i, ok := at[ours]
		if !ok || ours == "external_id" {
			continue
		}
		switch {
		case ours == "purchase_id" && repeats1(s.column(i)):
			used[i] = true
			fmt.Fprintf(b, "  # The id repeats from row to row: a row is a line of an order, and is numbered.\n  id: {from: %s, per-line: true}\n", quoteYAML(s.names[i]))
		case ours == "amount" && at["quantity"] != 0 && strings.Contains(foldName(s.names[i]), "price"):
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
	var rest []string
	for i, name := range s.names {
		if !used[i] && strings.TrimSpace(name) != "" {
			rest = append(rest, quoteYAML(name))
		}
	}
	if len(rest) > 0 {
		fmt.Fprintf(b, "# Not read. Move what you need up, as attr.NAME for instance.\ndrop:\n")
		for _, name := range rest {
			fmt.Fprintf(b, "  - %s\n", name)
		}
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
