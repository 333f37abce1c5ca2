package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// The binary form of a record is described in docs/record-format.md. It has one
// encoding for one content: what decodes encodes to the same bytes again, so that
// a sealed record can be compared and no bytes can hide in it.

// ProfileVersion is the first byte of every profile written by this version. Those of
// version 1, which wrote phone numbers, days and times as texts, are read too.
const ProfileVersion = 2

// SegmentVersion is the first byte of every segment written by this version. Those of
// version 1, which wrote ids and changed texts whole, are read too.
const SegmentVersion = 2

// ProductVersion is the first byte of every product of the catalogue.
const ProductVersion = 1

// MaxSegmentPurchases bounds one segment, so that a damaged count cannot make a
// reader reserve memory. Segments usually hold about 32.
const MaxSegmentPurchases = 4096

// ErrCorrupt is returned for bytes that are not a record in canonical form.
var ErrCorrupt = fault.New(fault.Internal, "corrupt record")

// Bits of a purchase's flag byte. A set bit saves the bytes of the usual case.
const (
	flagProduct  = 1 << iota // SKU and description stand in the catalogue
	flagCurrency             // the same currency as the purchase before
	flagStore                // the same store
	flagChannel              // the same channel
	flagOne                  // quantity 1
	flagCents                // two decimals
	flagSeconds              // the time differs by whole seconds
	flagMark                 // a feed sent it: its mark follows
)

// The range of times that a record can hold: the years 1 to 9999, as in RFC 3339.
const (
	minMicro = -62135596800_000000
	maxMicro = 253402300799_999999
)

// AppendCustomer appends the binary form of c to dst. It does not check limits:
// what [Customer.Check] refuses may not decode again.
func AppendCustomer(dst []byte, c *Customer) []byte {
	dst = append(dst, ProfileVersion)
	var present uint64
	for i, v := range c.Columns {
		if v != "" {
			present |= 1 << i
		}
	}
	dst = binary.AppendUvarint(dst, present)
	for i, v := range c.Columns {
		if v != "" {
			dst = appendColumn(dst, Field(i), v)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Attributes)))
	if len(c.Attributes) == 0 {
		return dst
	}
	type attribute struct{ name, value string }
	var few [8]attribute
	all := few[:0]
	for name, v := range c.Attributes {
		all = append(all, attribute{name, v})
	}
	slices.SortFunc(all, func(a, b attribute) int { return strings.Compare(a.name, b.name) })
	for i := range all {
		dst = appendString(appendString(dst, all[i].name), all[i].value)
	}
	return dst
}

// DecodeCustomer reads a customer. On an error c is left as it was.
func DecodeCustomer(b []byte, c *Customer) error {
	whole := len(b) > 0 && b[0] == 1 // texts, as version 1 wrote them
	r := newReader(b, ProfileVersion)
	var out Customer
	present := r.uvarint(1<<NumFields - 1)
	r.require(present&^(textBits|1<<marksColumn) == 0)
	for i := range out.Columns {
		if present&(1<<i) != 0 {
			out.Columns[i] = r.column(Field(i), whole)
		}
	}
	if n := r.uvarint(MaxAttributes); n > 0 && !r.bad {
		out.Attributes = make(map[string]string, n)
		last := ""
		for range n {
			name := r.text(MaxAttributeName)
			// Ascending names are unique and, the first being above "", never empty.
			r.require(name > last)
			out.Attributes[name] = r.text(MaxValueBytes)
			last = name
		}
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("decoding customer: %w", err)
	}
	*c = out
	return nil
}

// AppendPurchases appends one segment of purchases to dst. Where products has the
// catalogue number of a purchase's product, and not 0, that is written in place of SKU
// and description; nil is none at all. Times are kept to the microsecond, in UTC.
func AppendPurchases(dst []byte, ps []Purchase, products []uint64) []byte {
	dst = append(dst, SegmentVersion)
	dst = binary.AppendUvarint(dst, uint64(len(ps)))
	var memory [3][8]string
	currencies, stores, channels := texts(memory[0][:1]), texts(memory[1][:1]), texts(memory[2][:1])
	before := &Purchase{}
	var last int64
	for i := range ps {
		p := &ps[i]
		var product uint64
		if products != nil {
			product = products[i]
		}
		known := product != 0
		now := p.At.UnixMicro()
		step := now - last
		flags := bit(known, flagProduct) |
			bit(p.Currency == before.Currency, flagCurrency) |
			bit(p.Store == before.Store, flagStore) |
			bit(p.Channel == before.Channel, flagChannel) |
			bit(p.Quantity == 1, flagOne) |
			bit(p.Amount.Scale == 2, flagCents) |
			bit(step%1e6 == 0, flagSeconds) |
			bit(p.Mark.Source != 0, flagMark)
		dst = append(dst, flags)
		dst = appendID(dst, before.ID, p.ID)
		if flags&flagSeconds != 0 {
			step /= 1e6
		}
		dst = binary.AppendVarint(dst, step)
		if known {
			dst = binary.AppendUvarint(dst, product)
		} else {
			dst = appendString(dst, p.SKU)
			dst = appendString(dst, p.Description)
		}
		if flags&flagOne == 0 {
			dst = binary.AppendVarint(dst, p.Quantity)
		}
		if flags&flagCents == 0 {
			dst = append(dst, p.Amount.Scale)
		}
		dst = binary.AppendVarint(dst, p.Amount.Units)
		if flags&flagCurrency == 0 {
			dst, currencies = currencies.append(dst, p.Currency)
		}
		if flags&flagStore == 0 {
			dst, stores = stores.append(dst, p.Store)
		}
		if flags&flagChannel == 0 {
			dst, channels = channels.append(dst, p.Channel)
		}
		if flags&flagMark != 0 {
			dst = binary.AppendVarint(binary.AppendUvarint(dst, uint64(p.Mark.Source)), p.Mark.At)
		}
		before, last = p, now
	}
	return dst
}

// texts are those that stood in one field of a segment, each once. The first is the
// empty one, which the field has before the first purchase.
type texts []string

// append appends a text: its number, from 1, where it stood in the field before, else
// 0 and the text. It returns the texts with it, so that few of them lie on the stack.
func (ts texts) append(dst []byte, s string) ([]byte, texts) {
	if i := slices.Index(ts, s); i >= 0 {
		return binary.AppendUvarint(dst, uint64(i)+1), ts
	}
	return appendString(append(dst, 0), s), append(ts, s)
}

// idMost is the longest part of an id whose length fits beside the other's in a byte.
const idMost = 15

// appendID appends an id by what it does not share with the beginning of the one before:
// a byte with both lengths, what of each is over idMost, and the rest.
func appendID(dst []byte, before, id string) []byte {
	shared := 0
	for shared < len(before) && shared < len(id) && before[shared] == id[shared] {
		shared++
	}
	rest := id[shared:]
	dst = append(dst, byte(min(shared, idMost)<<4|min(len(rest), idMost)))
	for _, n := range [...]int{shared, len(rest)} {
		if n >= idMost {
			dst = binary.AppendUvarint(dst, uint64(n-idMost))
		}
	}
	return append(dst, rest...)
}

// DecodePurchases reads a segment. An error of product is returned as it is, and
// is not [ErrCorrupt]: the catalogue failed, not the record.
func DecodePurchases(b []byte, product func(id uint64) (sku, description string, err error)) ([]Purchase, error) {
	whole := len(b) > 0 && b[0] == 1 // ids and texts, as version 1 wrote them
	r := newReader(b, SegmentVersion)
	n := r.uvarint(MaxSegmentPurchases)
	if r.bad {
		return nil, fmt.Errorf("decoding purchases: %w", ErrCorrupt)
	}
	// A purchase takes at least 5 bytes, so a false count reserves little.
	out := make([]Purchase, 0, min(n, uint64(len(b)/5)))
	var memory [3][8]string
	currencies, stores, channels := texts(memory[0][:1]), texts(memory[1][:1]), texts(memory[2][:1])
	var ids ids
	var before Purchase
	var last int64
	for range n {
		p := Purchase{Quantity: 1, Amount: Amount{Scale: 2}, Currency: before.Currency, Store: before.Store, Channel: before.Channel}
		flags := r.byte()
		r.require(!whole || flags&flagMark == 0)
		if whole {
			p.ID = r.text(MaxPurchaseValue)
		} else {
			r.id(&ids)
		}
		last = r.time(last, flags&flagSeconds != 0)
		p.At = time.UnixMicro(last).UTC()
		if flags&flagProduct == 0 {
			p.SKU, p.Description = r.text(MaxPurchaseValue), r.text(MaxPurchaseValue)
		} else if id := r.uvarint(math.MaxUint64); !r.bad {
			if product == nil {
				return nil, fmt.Errorf("decoding purchases: a catalogue number without a catalogue: %w", ErrCorrupt)
			}
			var err error
			if p.SKU, p.Description, err = product(id); err != nil {
				return nil, fmt.Errorf("decoding purchases: looking up product: %w", err)
			}
		}
		if flags&flagOne == 0 {
			p.Quantity = r.varint()
			r.require(p.Quantity != 1)
		}
		if flags&flagCents == 0 {
			p.Amount.Scale = r.byte()
			r.require(p.Amount.Scale != 2 && p.Amount.Scale <= MaxScale)
		}
		p.Amount.Units = r.varint()
		r.changed(whole, flags&flagCurrency == 0, &currencies, &p.Currency)
		r.changed(whole, flags&flagStore == 0, &stores, &p.Store)
		r.changed(whole, flags&flagChannel == 0, &channels, &p.Channel)
		if flags&flagMark != 0 {
			p.Mark = Mark{uint32(r.uvarint(math.MaxUint32)), r.varint()}
			r.require(p.Mark.Source != 0)
		}
		if r.bad {
			break
		}
		out = append(out, p)
		before = p
	}
	if !whole && !r.bad {
		ids.give(out)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("decoding purchases: %w", err)
	}
	return out, nil
}

// AppendProduct appends the binary form of a product of the catalogue to dst.
func AppendProduct(dst []byte, sku, description string) []byte {
	return appendString(appendString(append(dst, ProductVersion), sku), description)
}

// DecodeProduct reads a product of the catalogue.
func DecodeProduct(b []byte) (sku, description string, err error) {
	r := newReader(b, ProductVersion)
	sku, description = r.text(MaxPurchaseValue), r.text(MaxPurchaseValue)
	if err := r.end(); err != nil {
		return "", "", fmt.Errorf("decoding product: %w", err)
	}
	return sku, description, nil
}

func bit(set bool, mask byte) byte {
	if set {
		return mask
	}
	return 0
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// reader takes a record apart. The first fault sets bad, after which every method
// returns zero values; end reports it. Strings share one copy of the record.
type reader struct {
	rest []byte
	all  string
	bad  bool
}

func newReader(b []byte, newest byte) *reader {
	r := &reader{rest: b, all: string(b)}
	v := r.byte()
	r.require(v > 0 && v <= newest)
	return r
}

func (r *reader) require(ok bool) {
	if !ok {
		r.bad, r.rest = true, nil
	}
}

func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return ErrCorrupt
	}
	return nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.require(false)
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	// A last byte of zero adds nothing: the number has a shorter form.
	if n <= 0 || n > 1 && r.rest[n-1] == 0 || v > limit {
		r.require(false)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint(math.MaxUint64)
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) text(limit uint64) string {
	n := r.uvarint(limit)
	if n > uint64(len(r.rest)) {
		r.require(false)
		return ""
	}
	at := len(r.all) - len(r.rest)
	r.rest = r.rest[n:]
	return r.all[at : at+int(n)]
}

// changed reads a text that must differ from the one before, as texts.append wrote it
// or whole.
func (r *reader) changed(whole, written bool, known *texts, v *string) {
	if !written {
		return
	}
	before := *v
	if whole {
		*v = r.text(MaxPurchaseValue)
	} else if n := r.uvarint(uint64(len(*known))); n > 0 {
		*v = (*known)[n-1]
	} else if *v = r.text(MaxPurchaseValue); !r.bad {
		r.require(!slices.Contains(*known, *v))
		*known = append(*known, *v)
	}
	r.require(*v != before)
}

// ids are those of a segment, one after the other, and where each ends.
type ids struct {
	b    []byte
	from int // the last one begins here
	ends []int
}

// id reads one, as appendID wrote it.
func (r *reader) id(ids *ids) {
	last := ids.b[ids.from:]
	lengths := r.byte()
	n := [...]uint64{uint64(lengths >> 4), uint64(lengths & idMost)}
	for i := range n {
		if n[i] == idMost {
			n[i] += r.uvarint(MaxPurchaseValue)
		}
	}
	shared, rest := n[0], n[1]
	fits := shared+rest <= MaxPurchaseValue && shared <= uint64(len(last)) && rest <= uint64(len(r.rest))
	// All that is shared has to be said to be.
	if r.require(fits && (rest == 0 || shared == uint64(len(last)) || r.rest[0] != last[shared])); r.bad {
		return
	}
	ids.from = len(ids.b)
	ids.b = append(append(ids.b, last[:shared]...), r.rest[:rest]...)
	ids.ends = append(ids.ends, len(ids.b))
	r.rest = r.rest[rest:]
}

// give gives each purchase its id. They share one copy.
func (ids *ids) give(ps []Purchase) {
	all, from := string(ids.b), 0
	for i, end := range ids.ends {
		ps[i].ID, from = all[from:end], end
	}
}

func (r *reader) time(last int64, seconds bool) int64 {
	// Every step between two allowed times is below span, so the sum cannot overflow.
	const span = maxMicro - minMicro
	step := r.varint()
	if seconds {
		r.require(step <= span/1_000_000 && step >= -span/1_000_000)
		step *= 1e6
	} else {
		r.require(step <= span && step >= -span && step%1e6 != 0)
	}
	if r.bad {
		return 0
	}
	now := last + step
	r.require(now >= minMicro && now <= maxMicro)
	return now
}
