package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
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

// Purchases yields the rows of a file of purchases. After an error, which is the
// context's or says why the rest cannot be read, nothing more is yielded.
func Purchases(ctx context.Context, r *Reader) iter.Seq2[PurchaseRow, error] {
	return func(yield func(PurchaseRow, error) bool) {
		src, err := purchaseRows(r)
		if err != nil {
			yield(PurchaseRow{}, err)
			return
		}
		for {
			var row PurchaseRow
			err := src.next(ctx, &row)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(PurchaseRow{}, err)
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
	src   source
	c     *checker
	check func(*checker, *row, *T)
	row   row
}

func customerRows(r *Reader) (*rows[CustomerRow], error) {
	return rowsOf(r, customerTable(), (*checker).customer)
}

func purchaseRows(r *Reader) (*rows[PurchaseRow], error) {
	return rowsOf(r, purchaseTable(), (*checker).purchase)
}

func rowsOf[T any](r *Reader, t *table, check func(*checker, *row, *T)) (*rows[T], error) {
	src, err := r.rows(t)
	return &rows[T]{src: src, c: newChecker(t, r.Own), check: check}, err
}

// next reads a row into one that is empty. Its errors are those of source.
func (r *rows[T]) next(ctx context.Context, into *T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.src.next(&r.row); err != nil {
		return err
	}
	r.check(r.c, &r.row, into)
	return nil
}

// checker turns cells into records.
type checker struct {
	cards *cards.Finder
	own   *cards.Own
	names []string // of the columns, by slot

	// The external id of the purchase before, as it was written and its normal form:
	// those of one customer usually stand together.
	written, normal string
}

func newChecker(t *table, own *cards.Own) *checker {
	return &checker{cards: cards.New(), own: own, names: t.names}
}

// hasCard looks at every text of the row, as it is written: what a number or a date
// would be read from is a text too.
func (c *checker) hasCard(in *row) (field string, found bool) {
	for i := range in.cells {
		switch cell := &in.cells[i]; {
		case cell.slot == slotAttr && c.cards.Contains(cell.attr):
			return record.Attributes.String(), true // the name is not repeated
		case c.cards.Contains(cell.text):
			if field = attrPrefix + cell.attr; cell.slot != slotAttr {
				field = c.names[cell.slot]
			}
			if !c.own.Lets(field, cell.text) {
				return field, true
			}
		}
	}
	return "", false
}

const cardReason = "holds a payment card number, which must not be kept here"

// customer reads a row into an empty one, which may have a map for its attributes.
func (c *checker) customer(in *row, out *CustomerRow) {
	c.columns(in, out)
	if out.Reject != nil {
		return
	}
	id := out.Customer.Get(record.ExternalID)
	code, reason := CodeMissingExternalID, "is missing"
	if id != "" {
		_, err := record.NormalExternalID(id)
		if err == nil {
			return
		}
		code, reason = CodeBadField, err.Error()
	}
	in.rej = &Reject{Line: in.line, Field: record.ExternalID.String(), Code: code, Reason: reason}
	*out = CustomerRow{Line: in.line, Reject: in.rej}
}

// columns is customer for a row that need not say which customer it is of.
func (c *checker) columns(in *row, out *CustomerRow) {
	refuse := func(field, code, reason string) {
		in.rej = &Reject{Line: in.line, Field: field, Code: code, Reason: reason}
		*out = CustomerRow{Line: in.line, Reject: in.rej}
	}
	out.Line, out.Reject = in.line, in.rej
	if in.rej != nil {
		return
	}
	if field, found := c.hasCard(in); found {
		refuse(field, CodeCardNumber, cardReason)
		return
	}
	for i := range in.cells {
		cell := &in.cells[i]
		if cell.slot != slotAttr {
			out.Customer.Columns[cell.slot] = cell.text
			out.Set = out.Set.With(record.Field(cell.slot))
			continue
		}
		out.Set = out.Set.With(record.Attributes)
		if cell.text == "" {
			continue // an attribute without a value is one that the customer has not
		}
		if out.Customer.Attributes == nil {
			out.Customer.Attributes = make(map[string]string, few(in.cells[i:]))
		}
		out.Customer.Attributes[cell.attr] = cell.text
	}
	check := (*record.Customer).Check
	if in.tidy {
		check = (*record.Customer).CheckTidy
	}
	if err := check(&out.Customer); err != nil {
		refuse(fieldOf(err))
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

// Reasons for values of purchases that [record.Purchase.Check] does not see.
var (
	errEmpty    = errors.New("is empty, though there is such a column")
	errQuantity = errors.New("is not a whole number")
	errAt       = errors.New("is not a time such as 2024-05-31T12:00:00Z, nor a date")
)

// purchase reads a row into an empty one.
func (c *checker) purchase(in *row, out *PurchaseRow) {
	refuse := func(field, code, reason string) {
		in.rej = &Reject{Line: in.line, Field: field, Code: code, Reason: reason}
		*out = PurchaseRow{Line: in.line, Reject: in.rej}
	}
	out.Line, out.Reject = in.line, in.rej
	if in.rej != nil {
		return
	}
	if field, found := c.hasCard(in); found {
		refuse(field, CodeCardNumber, cardReason)
		return
	}
	p := &out.Purchase
	p.Quantity = 1
	external := ""
	for i := range in.cells {
		var err error
		text := in.cells[i].text
		switch in.cells[i].slot {
		case colExternalID:
			external = text
		case colPurchaseID:
			p.ID = text
		case colAt:
			p.At, err = parseTime(text)
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
			refuse(c.names[in.cells[i].slot], CodeBadField, err.Error())
			return
		}
	}
	if external == "" {
		refuse(c.names[colExternalID], CodeMissingExternalID, "is missing")
		return
	}
	if external != c.written {
		normal, err := record.NormalExternalID(external)
		if err != nil {
			refuse(c.names[colExternalID], CodeBadField, err.Error())
			return
		}
		c.written, c.normal = external, normal
	}
	out.ExternalID = c.normal
	check := (*record.Purchase).Check
	if in.tidy {
		check = (*record.Purchase).CheckTidy
	}
	if err := check(p); err != nil {
		refuse(fieldOf(err))
	}
}

// fieldOf returns what a record's check says, in the words of a reject.
func fieldOf(err error) (field, code, reason string) {
	if fe, ok := errors.AsType[*record.FieldError](err); ok {
		if fe.Field == "purchase.id" {
			return "purchase_id", CodeBadField, fe.Reason
		}
		return strings.TrimPrefix(fe.Field, "purchase."), CodeBadField, fe.Reason
	}
	return "", CodeBadField, fmt.Sprintf("%v", err)
}

// parseTime returns a time in UTC at the precision that a record keeps, so that the
// same file read again compares equal to what was stored.
func parseTime(s string) (time.Time, error) {
	if at, ok := record.PlainTime(s); ok {
		return at, nil
	}
	return parseAnyTime(s)
}

func parseAnyTime(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if at, err = time.Parse(time.DateOnly, s); err != nil {
			return time.Time{}, errAt
		}
	}
	return time.UnixMicro(at.UnixMicro()).UTC(), nil
}

func parseQuantity(s string) (int64, error) {
	if s == "" {
		return 0, errEmpty
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errQuantity
	}
	return n, nil
}

func parseAmount(s string) (record.Amount, error) {
	if s == "" {
		return record.Amount{}, errEmpty
	}
	return record.ParseAmount(s)
}
