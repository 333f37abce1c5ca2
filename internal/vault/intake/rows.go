package intake

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// source reads the rows of one format.
type source interface {
	// next reads the next row, into the one that holds the row before. Its error ends
	// reading; at the end of the file it is io.EOF.
	next(*row) error
}

// row is a row before it is known what it says.
type row struct {
	line  int64
	cells []cell // valid until the next row is read
	// tidy says that all texts are short printable ASCII without space around them.
	tidy bool
	rej  *Reject // also once it was checked
	// Of a row that a plan read: the columns as they were, and what could not be read.
	raws   []cell
	faults []Fault
	raw    string // the row as it was, if it is kept
}

func rowOf(line int64) row { return row{line: line} }

// rowFault is what is wrong with one row. The source stands at the next one.
type rowFault struct{ code, reason string }

// Error returns the reason.
func (f *rowFault) Error() string { return f.reason }

func (f *rowFault) reject(line int64) *Reject {
	return &Reject{Line: line, Code: f.code, Reason: f.reason}
}

func tooLong() *rowFault { return &rowFault{CodeRowTooLong, "is longer than 256 KiB"} }

// Customers yields the rows of a file of customers. After an error, which is the
// context's or says why the rest cannot be read, nothing more is yielded.
func Customers(ctx context.Context, r *Reader) iter.Seq2[CustomerRow, error] {
	return each(ctx, r, customerRows)
}

// Purchases yields the rows of a file of purchases as Customers does.
func Purchases(ctx context.Context, r *Reader) iter.Seq2[PurchaseRow, error] {
	return each(ctx, r, purchaseRows)
}

func each[T any](ctx context.Context, r *Reader, open func(*Reader) (*rows[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		src, err := open(r)
		if err != nil {
			yield(none, err)
			return
		}
		for {
			var row T
			err := src.next(ctx, &row)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(none, err)
				return
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// rows reads the rows of one file, checked.
type rows[T any] struct {
	src     source
	c       *checker
	check   func(*checker, *row, *T)
	repeats *repeats
	repeat  func(*repeats, *T)
	row     row
}

func customerRows(r *Reader) (*rows[CustomerRow], error) {
	return rowsOf(r, customerTable(), (*checker).customer, func(s *repeats, row *CustomerRow) {
		if row.Reject == nil {
			s.customer(row)
		}
	})
}

func purchaseRows(r *Reader) (*rows[PurchaseRow], error) {
	return rowsOf(r, purchaseTable(), (*checker).purchase, func(s *repeats, row *PurchaseRow) {
		if row.Reject == nil {
			id, says := s.hashes(row)
			s.purchase(row, id, says)
		}
	})
}

func rowsOf[T any](r *Reader, t *table, check func(*checker, *row, *T), repeat func(*repeats, *T)) (*rows[T], error) {
	src, err := r.rows(t)
	c := newChecker(t, r.Own)
	c.Rules = r.Rules
	c.hints = &r.hints
	c.anonymous = r.mapping.anonymous()
	return &rows[T]{src: src, c: c, check: check, repeats: &repeats{}, repeat: repeat}, err
}

// next reads a row into one that is empty. Its errors are those of source.
func (r *rows[T]) next(ctx context.Context, into *T) error {
	if err := r.read(ctx, into); err != nil {
		return err
	}
	r.repeat(r.repeats, into)
	return nil
}

// read is next for a caller that looks for repeats itself.
func (r *rows[T]) read(ctx context.Context, into *T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.src.next(&r.row); err != nil {
		return err
	}
	r.check(r.c, &r.row, into)
	return nil
}

// Rules say how the values of a file are taken.
type Rules struct {
	// Country is whose numbers those are that say no country and stand in a row without
	// one: an ISO 3166-1 alpha-2 code.
	Country string
	// Fallback is the brand's own country: the vault reads such numbers with it where the
	// customer has no country either.
	Fallback string
	// Zone is that of times which say none; nil: they are refused.
	Zone *time.Location
	// Empty is what an empty value does where no mapping says; EmptyDefault means keep.
	Empty EmptyRule
	// Strict refuses an e-mail address or phone number by which nobody can be found.
	Strict bool
	// DropBadFields leaves out a field that cannot be kept, and keeps the rest of the row.
	// Ids, times and amounts of purchases are never left out.
	DropBadFields bool
}

// checker turns cells into records.
type checker struct {
	Rules
	cards *cards.Finder
	own   *cards.Own
	kind  string
	names []string // of the columns, by slot
	hints *hints   // nil: nobody asks
	// anonymous says that purchases which name no customer are left out.
	anonymous bool

	// The external id of the purchase before, as it was written and its normal form:
	// those of one customer usually stand together.
	written, normal string
}

func newChecker(t *table, own *cards.Own) *checker {
	return &checker{cards: cards.New(), own: own, names: t.names, kind: t.kind}
}

// hasCard looks at every text of the row, as it is written: what a number or a date
// would be read from is a text too.
func (c *checker) hasCard(in *row) (field string, found bool) {
	for _, cells := range [...][]cell{in.cells, in.raws} {
		for i := range cells {
			cell := &cells[i]
			if cell.slot == slotAttr && c.cards.Contains(cell.attr) {
				return record.Attributes.String(), true // the name is not repeated
			}
			if c.cards.Contains(cell.text) {
				if field = c.nameOf(cell); !c.own.Lets(field, cell.text) {
					return field, true
				}
			}
		}
	}
	return "", false
}

func (c *checker) nameOf(cell *cell) string {
	switch cell.slot {
	case slotAttr:
		return attrPrefix + cell.attr
	case slotBlank, slotDrop:
		return ""
	case slotAttrs:
		return record.Attributes.String()
	case slotToken:
		return tokenColumn
	}
	return c.names[cell.slot]
}

const cardReason = "holds a payment card number, which must not be kept here"

// faultOf is a fault of one field.
func faultOf(field string, err error) Fault {
	return Fault{Field: field, Code: CodeBadField, Reason: err.Error()}
}

// refusal is the reject of a row with these faults.
func (in *row) refusal(faults []Fault) *Reject {
	f := faults[0]
	in.rej = &Reject{Line: in.line, Field: f.Field, Code: f.Code, Reason: f.Reason, Also: slices.Clone(faults[1:]), raw: in.raw}
	if len(in.rej.Also) == 0 {
		in.rej.Also = nil
	}
	return in.rej
}

// customer reads a row into an empty one, which may have a map for its attributes.
func (c *checker) customer(in *row, out *CustomerRow) {
	faults := c.columns(in, out)
	if out.Reject != nil {
		return
	}
	id := out.Customer.Get(record.ExternalID)
	if id == "" {
		if !faulty(faults, record.ExternalID.String()) {
			faults = append([]Fault{{record.ExternalID.String(), CodeMissingExternalID, "is missing"}}, faults...)
		}
	} else {
		var err error
		if out.id, err = record.NormalExternalID(id); err != nil && !faulty(faults, record.ExternalID.String()) {
			faults = append([]Fault{faultOf(record.ExternalID.String(), err)}, faults...)
		}
	}
	if len(faults) > 0 {
		*out = CustomerRow{Line: in.line, Reject: in.refusal(faults)}
	}
}

// fields is columns for a row that need not say which customer it is of.
func (c *checker) fields(in *row, out *CustomerRow) {
	if faults := c.columns(in, out); len(faults) > 0 {
		*out = CustomerRow{Line: in.line, Reject: in.refusal(faults)}
	}
}

func faulty(faults []Fault, field string) bool {
	return slices.ContainsFunc(faults, func(f Fault) bool { return f.Field == field })
}

// columns reads the cells of a row, and returns all that is wrong with them. A row that
// cannot be looked at at all has its Reject set.
func (c *checker) columns(in *row, out *CustomerRow) (faults []Fault) {
	out.Line, out.Reject = in.line, in.rej
	out.raw, out.Merge = in.raw, true
	if in.rej != nil {
		in.rej.raw = in.raw
		*out = CustomerRow{Line: in.line, Reject: in.rej}
		return nil
	}
	expanded := in.expand()
	if field, found := c.hasCard(in); found {
		*out = CustomerRow{Line: in.line, Reject: in.refusal([]Fault{{field, CodeCardNumber, cardReason}})}
		return nil
	}
	faults = append(faults, in.faults...)
	if !expanded {
		faults = append(faults, Fault{record.Attributes.String(), CodeBadField, "is no JSON object whose values are texts"})
	}
	country := c.Country
	for i := range in.cells {
		cell := &in.cells[i]
		if cell.slot == slotDrop {
			continue
		}
		if cell.slot == slotBlank {
			faults = append(faults, Fault{"", CodeBadRow, "has a value in a column that has no name"})
			continue
		}
		clear := cell.empty == EmptyClear || cell.empty == EmptyDefault && c.Empty == EmptyClear
		if cell.text == "" && !clear {
			continue
		}
		if cell.slot != slotAttr {
			out.Customer.Columns[cell.slot] = cell.text
			out.Set = out.Set.With(record.Field(cell.slot))
			if cell.country != "" {
				country = cell.country
			}
			continue
		}
		out.Set = out.Set.With(record.Attributes)
		if out.Customer.Attributes == nil {
			out.Customer.Attributes = make(map[string]string, few(in.cells[i:]))
		}
		out.Customer.Attributes[cell.attr] = cell.text
	}
	faults = c.read(out, country, faults)
	check := (*record.Customer).Check
	if in.tidy {
		check = (*record.Customer).CheckTidy
	}
	if check(&out.Customer) != nil {
		for _, fe := range out.Customer.Faults() {
			if !faulty(faults, fe.Field) {
				faults = append(faults, Fault{fe.Field, CodeBadField, fe.Reason})
			}
		}
	}
	if len(faults) > 0 {
		c.hint(faults)
		if c.DropBadFields {
			faults = c.drop(out, faults)
		}
	}
	return faults
}

// expand puts attributes in the place of a JSON object of them, and reports false where it
// is none.
func (in *row) expand() bool {
	at := slices.IndexFunc(in.cells, func(c cell) bool { return c.slot == slotAttrs })
	if at < 0 {
		return true
	}
	text := in.cells[at].text
	cells := slices.Delete(slices.Clone(in.cells), at, at+1)
	in.cells, in.tidy = cells, false
	if text == "" {
		return true
	}
	var all map[string]string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		in.cells = append(in.cells, cell{slot: slotDrop, text: text}) // to be looked at for cards
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		in.cells = append(in.cells, cell{slot: slotAttr, attr: name, text: all[name]})
	}
	return true
}

// read reads the values that have a form of their own.
func (c *checker) read(out *CustomerRow, country string, faults []Fault) []Fault {
	columns := &out.Customer.Columns
	bad := func(f record.Field, err error) { faults = append(faults, faultOf(f.String(), err)) }
	unfound := func(f record.Field, err error) {
		if c.Strict {
			faults = append(faults, Fault{f.String(), CodeUnfindable, err.Error()})
			return
		}
		out.Notes.Unfound = out.Notes.Unfound.With(f)
	}
	if v := columns[record.Country]; v != "" {
		read, err := record.ReadCountry(v)
		if err != nil {
			bad(record.Country, err)
			read = ""
		}
		columns[record.Country] = read
		if read != "" {
			country = read
		}
	}
	if v := columns[record.Email]; v != "" {
		if read, err := record.ReadEmail(v); err == nil {
			columns[record.Email] = read
		} else {
			unfound(record.Email, err)
		}
	}
	if v := columns[record.Phone]; v != "" {
		switch read, err := record.ReadPhone(v, country); {
		case err == nil:
			columns[record.Phone] = read
		case errors.Is(err, record.ErrNoCountry) && (!c.Strict || c.fallsBack(v)):
			// The customer who is there may have one: the vault says when it writes.
		default:
			unfound(record.Phone, err)
		}
	}
	if v := columns[record.Standing]; v != "" {
		if read, err := record.ReadStanding(v); err == nil {
			columns[record.Standing] = read
		} else {
			bad(record.Standing, err)
			columns[record.Standing] = ""
		}
	}
	if v := columns[record.Locale]; v != "" {
		if read, err := record.ReadLocale(v); err == nil {
			columns[record.Locale] = read
		} else {
			bad(record.Locale, err)
			columns[record.Locale] = ""
		}
	}
	if v := columns[record.CreatedAt]; v != "" && !record.KeptTime(v) {
		if at, err := c.time(v); err == nil {
			columns[record.CreatedAt] = at.Format(time.RFC3339Nano)
		} else {
			bad(record.CreatedAt, err)
			columns[record.CreatedAt] = ""
		}
	}
	if v := columns[record.BirthDate]; v != "" && (len(v) != len(time.DateOnly) || v[4] != '-') {
		if err := unreadDate(v); err != nil {
			bad(record.BirthDate, err)
			columns[record.BirthDate] = ""
		}
	}
	return faults
}

// fallsBack reports whether a national number can be read with the brand's country.
func (c *checker) fallsBack(number string) bool {
	_, err := record.ReadPhone(number, c.Fallback)
	return err == nil
}

// time reads a time that says its zone, or is of the rules' zone.
func (c *checker) time(s string) (time.Time, error) {
	at, err := parseAnyTime(s)
	if errors.Is(err, errNoZone) && c.Zone != nil {
		for _, layout := range zoneless {
			if at, err := time.ParseInLocation(layout, s, c.Zone); err == nil {
				return time.UnixMicro(at.UnixMicro()).UTC(), nil
			}
		}
	}
	return at, err
}

// drop leaves out the fields that are wrong, and returns the faults that remain.
func (c *checker) drop(out *CustomerRow, faults []Fault) (left []Fault) {
	for _, f := range faults {
		field, err := record.ParseField(f.Field)
		attr, isAttr := strings.CutPrefix(f.Field, attrPrefix)
		switch {
		case f.Code != CodeBadField && f.Code != CodeUnfindable, f.Field == record.ExternalID.String():
			left = append(left, f)
			continue
		case isAttr:
			delete(out.Customer.Attributes, attr)
		case err == nil && field.Text():
			out.Customer.Columns[field] = ""
			out.Set = out.Set.Without(field)
		default:
			left = append(left, f)
			continue
		}
		out.Notes.Dropped = append(out.Notes.Dropped, f)
	}
	return left
}

// hint counts what rarely is wrong with one row alone.
func (c *checker) hint(faults []Fault) {
	if c.hints != nil {
		for _, f := range faults {
			c.hints.add(c.kind, f)
		}
	}
}

// few returns how many attributes of a customer stand in cells.
func few(cells []cell) (n int) {
	for i := range cells {
		if cells[i].slot == slotAttr && cells[i].text != "" {
			n++
		}
	}
	return n
}

// purchase reads a row into an empty one.
func (c *checker) purchase(in *row, out *PurchaseRow) {
	out.Line, out.Reject, out.raw = in.line, in.rej, in.raw
	if in.rej != nil {
		in.rej.raw = in.raw
		return
	}
	if field, found := c.hasCard(in); found {
		*out = PurchaseRow{Line: in.line, Reject: in.refusal([]Fault{{field, CodeCardNumber, cardReason}})}
		return
	}
	var faults []Fault
	faults = append(faults, in.faults...)
	bad := func(slot int, err error) {
		if !faulty(faults, c.names[slot]) {
			faults = append(faults, faultOf(c.names[slot], err))
		}
	}
	p := &out.Purchase
	p.Quantity = 1
	external, token := "", false
	for i := range in.cells {
		slot, text := in.cells[i].slot, in.cells[i].text
		var err error
		switch slot {
		case slotBlank:
			faults = append(faults, Fault{"", CodeBadRow, "has a value in a column that has no name"})
		case slotToken:
			if text != "" && external == "" {
				external, token = text, true
			}
		case colExternalID:
			if text != "" {
				external, token = text, false
			}
		case colPurchaseID:
			p.ID = text
		case colAt:
			if p.At, err = parseTime(text); err != nil {
				p.At, err = c.time(text)
			}
		case colSKU:
			p.SKU = text
		case colDescription:
			p.Description = text
		case colQuantity:
			p.Quantity, err = parseQuantity(text)
		case colAmount:
			p.Amount, err = parseAmount(text)
		case colCurrency:
			p.Currency = text
		case colStore:
			p.Store = text
		case colChannel:
			p.Channel = text
		}
		if err != nil {
			bad(slot, err)
		}
	}
	if p.Currency != "" {
		p.Currency = strings.ToUpper(p.Currency)
	}
	if external == "" {
		if !faulty(faults, c.names[colExternalID]) {
			if c.anonymous { // whatever else is wrong with it: nothing of it is kept
				*out = PurchaseRow{Line: in.line, Reject: &Reject{Line: in.line, Field: c.names[colExternalID], Code: CodeAnonymous, Reason: "is empty: the mapping leaves such rows out"}}
				return
			}
			faults = append(faults, Fault{c.names[colExternalID], CodeMissingExternalID, errNobody.Error()})
		}
	} else if external != c.written {
		if normal, err := record.NormalExternalID(external); err != nil {
			bad(colExternalID, err)
		} else {
			c.written, c.normal = external, normal
		}
	}
	check := (*record.Purchase).Check
	if in.tidy {
		check = (*record.Purchase).CheckTidy
	}
	if check(p) != nil {
		for _, fe := range p.Faults() {
			field := strings.TrimPrefix(fe.Field, "purchase.")
			if field == "id" {
				field = c.names[colPurchaseID]
			}
			if !faulty(faults, field) {
				faults = append(faults, Fault{field, CodeBadField, fe.Reason})
			}
		}
	}
	if len(faults) > 0 {
		c.hint(faults)
		if c.DropBadFields {
			faults = c.dropOfPurchase(out, faults)
		}
	}
	if len(faults) > 0 {
		*out = PurchaseRow{Line: in.line, Reject: in.refusal(faults)}
		return
	}
	if out.ExternalID = c.normal; token {
		out.ExternalID = tokenMark + c.normal
	}
}

// tokenMark begins what stands in place of an external id where a purchase names its
// customer by token. No external id begins so.
const tokenMark = "\x00"

// Token returns the token by which the row names its customer, if it does.
func (r *PurchaseRow) Token() (string, bool) { return strings.CutPrefix(r.ExternalID, tokenMark) }

// dropOfPurchase leaves out the texts that are wrong: a purchase without its amount, or
// at another time, would be another purchase.
func (c *checker) dropOfPurchase(out *PurchaseRow, faults []Fault) (left []Fault) {
	for _, f := range faults {
		p := &out.Purchase
		text := map[string]*string{c.names[colSKU]: &p.SKU, c.names[colDescription]: &p.Description, c.names[colStore]: &p.Store, c.names[colChannel]: &p.Channel}[f.Field]
		if text == nil || f.Code != CodeBadField {
			left = append(left, f)
			continue
		}
		*text = ""
		out.Dropped = append(out.Dropped, f)
	}
	return left
}
