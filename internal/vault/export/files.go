package export

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"
	"github.com/parquet-go/parquet-go"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// The forms and formats of exports.
const (
	formExtract = "extract"
	formMasked  = "masked"
	formClear   = "clear"

	formatCSV     = "csv"
	formatSheet   = "csv-spreadsheet"
	formatJSONL   = "jsonl"
	formatParquet = "parquet"
)

// The files of a part.
const (
	Customers = "customers" // a row for each customer
	Purchases = "purchases" // a row for each purchase, with its customer's token
)

// files are those that each part of an export of fields has.
func files(fields record.FieldSet) []string {
	var out []string
	if fields.Without(record.Purchases) != 0 {
		out = append(out, Customers)
	}
	if fields.Has(record.Purchases) {
		out = append(out, Purchases)
	}
	return out
}

// numbered reports whether purchases carry the number of their customer beside the token, which
// is nobody's in another vault: those who may have the numbers in clear asked for them.
func (x *Export) numbered() bool { return x.Form == formClear && x.Fields.Has(record.ExternalID) }

// File is a file of an export whose customers are logged and none of whose bytes left.
type File struct {
	// Name is what to call it, such as customers-00001.csv.age.
	Name    string
	export  *Export
	file    string
	leaving *leaving

	still    func(ctx context.Context) error // whether it may still leave
	revision int64                           // under which it was last found that it may
	tracker  *revision.Tracker
}

// checkEvery is after how many customers of a file it is looked again whether they may
// leave: what was stopped meanwhile is cut.
const checkEvery = 256

// File logs that the customers of a file leave, and returns it: part counts from 1, file
// is Customers or Purchases.
func (d *Desk) File(ctx context.Context, c identity.Caller, brand, id string, part int, file string) (*File, error) {
	v, x, err := d.approved(ctx, c, brand, id)
	if err != nil {
		return nil, err
	}
	if err := v.Purpose(ctx, x.Purpose); err != nil {
		return nil, err
	}
	order, err := d.order(ctx, x)
	if err != nil {
		return nil, err
	}
	if part < 1 || part > parts(len(order)) || !slices.Contains(files(x.Fields), file) {
		return nil, fmt.Errorf("%w: it has parts 1 to %d, each with %v", ErrNoExport, parts(len(order)), files(x.Fields))
	}
	fields := x.Fields.Without(record.Purchases)
	if file == Purchases {
		fields = record.Fields(record.Purchases)
		if x.numbered() {
			fields = fields.With(record.ExternalID)
		}
	}
	g, err := authorize(ctx, v, x.Form, x.Purpose, fields)
	if err != nil {
		return nil, err
	}
	own, err := d.Seal.Extract(ctx, x.Brand, x.ID)
	if err != nil {
		return nil, err
	}
	if x.Began.IsZero() {
		r, err := d.record(ctx, v, x, entry.ExportDownloaded{ExportFacts: x.facts()})
		if err != nil {
			return nil, err
		}
		if err := d.Store.begin(ctx, x, r.At()); err != nil {
			return nil, err
		}
	}
	l, err := d.leave(ctx, v, g, own, x, order[(part-1)*PartCustomers:min(part*PartCustomers, len(order))])
	if err != nil {
		return nil, err
	}
	still := func(ctx context.Context) error {
		if err := d.Door.Identity.Live(ctx, c.Credential); err != nil {
			return err
		}
		v, x, err := d.approved(ctx, c, brand, id)
		if err == nil {
			_, err = authorize(ctx, v, x.Form, x.Purpose, fields)
		}
		return err
	}
	return &File{Name: fmt.Sprintf("%s-%05d.%s.age", file, part, ending(x.Format)), export: x, file: file, leaving: l,
		still: still, revision: revision.Of(ctx), tracker: d.Door.Revisions}, nil
}

// goesOn returns an error where something that allowed the file was taken away since.
func (f *File) goesOn(ctx context.Context) error {
	now, err := f.tracker.Read(ctx)
	if err != nil || now == f.revision {
		return err
	}
	if err := f.still(revision.Unbound(ctx)); err != nil {
		return err
	}
	f.revision = now
	return nil
}

// Write encrypts the file to its recipient. What it wrote before an error does not open
// as a whole file.
func (f *File) Write(ctx context.Context, w io.Writer) error {
	to, err := recipient(f.export.Recipient)
	if err != nil {
		return err
	}
	sealed, err := age.Encrypt(w, to)
	if err != nil {
		return fmt.Errorf("encrypting: %w", err)
	}
	out := bufio.NewWriterSize(sealed, 64<<10)
	t, err := newTable(f.export.Format, out, f.columns())
	if err != nil {
		return err
	}
	n := 0
	err = f.leaving.each(ctx, func(c *api.Customer) error {
		if n%checkEvery == 0 {
			if err := f.goesOn(ctx); err != nil {
				return err
			}
		}
		n++
		return f.rows(c, t)
	})
	if err == nil {
		err = t.close()
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = sealed.Close()
	}
	if err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}

func (f *File) columns() []string {
	if f.file == Purchases {
		columns := []string{"token"}
		if f.export.numbered() {
			columns = append(columns, record.ExternalID.String())
		}
		return append(columns, "purchase_id", "at", "sku", "description", "quantity", "amount", "currency", "store", "channel")
	}
	return append([]string{"token"}, f.export.Fields.Without(record.Purchases).Names()...)
}

func (f *File) rows(c *api.Customer, t table) error {
	if f.file == Purchases {
		for _, p := range c.Purchases {
			quantity := ""
			if p.Quantity != nil {
				quantity = strconv.FormatInt(*p.Quantity, 10)
			}
			row := []string{c.Token}
			if f.export.numbered() {
				row = append(row, c.Fields[record.ExternalID.String()])
			}
			if err := t.row(append(row, p.ID, p.At, p.SKU, p.Description, quantity, p.Amount, p.Currency, p.Store, p.Channel)); err != nil {
				return err
			}
		}
		return nil
	}
	row := []string{c.Token}
	for _, field := range f.export.Fields.Without(record.Purchases).List() {
		if field != record.Attributes {
			row = append(row, c.Fields[field.String()])
			continue
		}
		all := map[string]string{}
		for name, v := range c.Fields {
			if len(name) > len(attr) && name[:len(attr)] == attr {
				all[name[len(attr):]] = v
			}
		}
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		row = append(row, string(text))
	}
	return t.row(row)
}

// attr begins the names of attributes; in a file they are one JSON object.
const attr = "attr."

// table writes rows of one shape.
type table interface {
	row(cells []string) error
	close() error
}

func newTable(format string, w io.Writer, columns []string) (table, error) {
	switch format {
	case formatJSONL:
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return &jsonTable{e, columns}, nil
	case formatParquet:
		return newParquet(w, columns), nil
	}
	t := csv.NewWriter(w)
	return &csvTable{t, format == formatSheet}, t.Write(columns)
}

// ending is the ending of a file's name.
func ending(format string) string {
	if format == formatSheet {
		return formatCSV
	}
	return format
}

type csvTable struct {
	w     *csv.Writer
	sheet bool
}

func (t *csvTable) row(cells []string) error {
	if t.sheet {
		cells = slices.Clone(cells)
		for i := range cells {
			cells[i] = text(cells[i])
		}
	}
	return t.w.Write(cells)
}

// text is a cell that a spreadsheet takes for a text, whatever it holds. A formula in a
// customer's name would run on the machine of whoever opens the file.
func text(cell string) string {
	if cell != "" && strings.IndexByte("=+-@\t\r", cell[0]) >= 0 {
		return "'" + cell
	}
	return cell
}

func (t *csvTable) close() error {
	t.w.Flush()
	return t.w.Error()
}

type jsonTable struct {
	e       *json.Encoder
	columns []string
}

func (t *jsonTable) row(cells []string) error {
	out := make(map[string]any, len(cells))
	for i, name := range t.columns {
		switch {
		case cells[i] == "":
		case name == quantityColumn:
			n, err := strconv.ParseInt(cells[i], 10, 64)
			if err != nil {
				return err
			}
			out[name] = n
		case name == attributesColumn:
			out[name] = json.RawMessage(cells[i])
		default:
			out[name] = cells[i]
		}
	}
	return t.e.Encode(out)
}

func (t *jsonTable) close() error { return nil }

const (
	quantityColumn   = "quantity"
	attributesColumn = "attributes"
)

// parquetRows is how many rows a group has: what is in memory at a time.
const parquetRows = 10_000

// parquetTable has a column for each of ours, in the order of their names, as the format
// has it; what is not known is null.
type parquetTable struct {
	w       *parquet.GenericWriter[any]
	place   []int // of our columns among the file's
	numbers []bool
	n       int
}

func newParquet(w io.Writer, columns []string) *parquetTable {
	t := &parquetTable{}
	group := parquet.Group{}
	for _, name := range columns {
		group[name] = parquet.Optional(parquet.String())
		if name == quantityColumn {
			group[name] = parquet.Optional(parquet.Int(64))
		}
	}
	sorted := slices.Sorted(slices.Values(columns))
	for _, name := range columns {
		t.place = append(t.place, slices.Index(sorted, name))
		t.numbers = append(t.numbers, name == quantityColumn)
	}
	t.w = parquet.NewGenericWriter[any](w, parquet.NewSchema("export", group), parquet.Compression(&parquet.Zstd))
	return t
}

func (t *parquetTable) row(cells []string) error {
	row := make(parquet.Row, len(cells))
	for i, cell := range cells {
		at := t.place[i]
		switch {
		case cell == "":
			row[at] = parquet.NullValue().Level(0, 0, at)
		case t.numbers[i]:
			n, err := strconv.ParseInt(cell, 10, 64)
			if err != nil {
				return err
			}
			row[at] = parquet.Int64Value(n).Level(0, 1, at)
		default:
			row[at] = parquet.ByteArrayValue([]byte(cell)).Level(0, 1, at)
		}
	}
	if _, err := t.w.WriteRows([]parquet.Row{row}); err != nil {
		return err
	}
	if t.n++; t.n%parquetRows == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *parquetTable) close() error { return t.w.Close() }

// to is what the entries of an export say of its recipient: the public key, unless it is
// longer than an entry takes. The entry of the request has it in any case.
func (x *Export) to() ledger.Recipient {
	if len(x.Recipient) > entry.MaxParty {
		return ledger.Recipient{}
	}
	return ledger.Recipient{Name: x.Recipient}
}
