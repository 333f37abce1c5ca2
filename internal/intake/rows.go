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

	"github.com/cloakroom/cloakroom/internal/cards"
	"github.com/cloakroom/cloakroom/internal/record"
)

// source reads the rows of one format.
type source interface {
	// next returns the cells of the next row, valid until the next call, or the
	// row's reject. Its error ends reading; at the end of the file it is io.EOF.
	next() (line int64, cells []cell, rej *Reject, err error)
}

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
	return each(ctx, r, customerTable(), (*checker).customer)
}

// Purchases yields the rows of a file of purchases, as [Customers] does.
func Purchases(ctx context.Context, r *Reader) iter.Seq2[PurchaseRow, error] {
	return each(ctx, r, purchaseTable(), (*checker).purchase)
}

func each[T any](ctx context.Context, r *Reader, t *table, row func(*checker, int64, []cell, *Reject) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		src, err := r.rows(t)
		if err != nil {
			yield(none, err)
			return
		}
		c := &checker{cards: cards.New(), names: t.names}
		for {
			if err := ctx.Err(); err != nil {
				yield(none, err)
				return
			}
			line, cells, rej, err := src.next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(none, err)
				return
			}
			if !yield(row(c, line, cells, rej), nil) {
				return
			}
		}
	}
}

// checker turns cells into records.
type checker struct {
	cards *cards.Finder
	names []string // of the columns, by slot
}

// hasCard looks at every text of the row, as it is written: what a number or a date
// would be read from is a text too.
func (c *checker) hasCard(cells []cell) (field string, found bool) {
	for i := range cells {
		switch cell := &cells[i]; {
		case cell.slot == slotAttr && c.cards.Contains(cell.attr):
			return record.Attributes.String(), true // the name is not repeated
		case c.cards.Contains(cell.text) && cell.slot == slotAttr:
			return attrPrefix + cell.attr, true
		case c.cards.Contains(cell.text):
			return c.names[cell.slot], true
		}
	}
	return "", false
}

const cardReason = "holds a payment card number, which must not be kept here"

func (c *checker) customer(line int64, cells []cell, rej *Reject) CustomerRow {
	row := c.columns(line, cells, rej)
	if row.Reject != nil {
		return row
	}
	id := row.Customer.Get(record.ExternalID)
	code, reason := CodeMissingExternalID, "is missing"
	if id != "" {
		_, err := record.NormalExternalID(id)
		if err == nil {
			return row
		}
		code, reason = CodeBadField, err.Error()
	}
	return CustomerRow{Line: line, Reject: &Reject{Line: line, Field: record.ExternalID.String(), Code: code, Reason: reason}}
}

// columns is customer for a row that need not say which customer it is of.
func (c *checker) columns(line int64, cells []cell, rej *Reject) CustomerRow {
	refuse := func(field, code, reason string) CustomerRow {
		return CustomerRow{Line: line, Reject: &Reject{Line: line, Field: field, Code: code, Reason: reason}}
	}
	if rej != nil {
		return CustomerRow{Line: line, Reject: rej}
	}
	if field, found := c.hasCard(cells); found {
		return refuse(field, CodeCardNumber, cardReason)
	}
	row := CustomerRow{Line: line}
	for _, cell := range cells {
		if cell.slot != slotAttr {
			row.Customer.Columns[cell.slot] = cell.text
			row.Set = row.Set.With(record.Field(cell.slot))
			continue
		}
		row.Set = row.Set.With(record.Attributes)
		if cell.text == "" {
			continue // an attribute without a value is one that the customer has not
		}
		if row.Customer.Attributes == nil {
			row.Customer.Attributes = make(map[string]string, len(cells))
		}
		row.Customer.Attributes[cell.attr] = cell.text
	}
	if err := row.Customer.Check(); err != nil {
		return refuse(fieldOf(err))
	}
	return row
}

// Reasons for values of purchases that [record.Purchase.Check] does not see.
var (
	errEmpty    = errors.New("is empty, though there is such a column")
	errQuantity = errors.New("is not a whole number")
	errAt       = errors.New("is not a time such as 2024-05-31T12:00:00Z, nor a date")
)

func (c *checker) purchase(line int64, cells []cell, rej *Reject) PurchaseRow {
	refuse := func(field, code, reason string) PurchaseRow {
		return PurchaseRow{Line: line, Reject: &Reject{Line: line, Field: field, Code: code, Reason: reason}}
	}
	if rej != nil {
		return PurchaseRow{Line: line, Reject: rej}
	}
	if field, found := c.hasCard(cells); found {
		return refuse(field, CodeCardNumber, cardReason)
	}
	row := PurchaseRow{Line: line, Purchase: record.Purchase{Quantity: 1}}
	p := &row.Purchase
	external := ""
	for i := range cells {
		var err error
		text := cells[i].text
		switch cells[i].slot {
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
			return refuse(c.names[cells[i].slot], CodeBadField, err.Error())
		}
	}
	if external == "" {
		return refuse(c.names[colExternalID], CodeMissingExternalID, "is missing")
	}
	var err error
	if row.ExternalID, err = record.NormalExternalID(external); err != nil {
		return refuse(c.names[colExternalID], CodeBadField, err.Error())
	}
	if err := p.Check(); err != nil {
		return refuse(fieldOf(err))
	}
	return row
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
