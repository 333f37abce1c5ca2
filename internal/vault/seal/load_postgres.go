package seal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// copyAtLeast is from how many customers on COPY, whose statements are a handful
// whatever the number, is faster than statements for each.
const copyAtLeast = 32

const (
	sqlPostgresCopyExternals = `COPY externals (value, ord) FROM STDIN BINARY`
	sqlPostgresCopyCustomers = `COPY customers (ord, brand, updated, erased, sealed, bought) FROM STDIN BINARY`
	sqlPostgresCopySecrets   = `COPY customer_keys (ord, brand, kek, version, epoch, segments, wrapped) FROM STDIN BINARY`
	sqlPostgresCopyLookups   = `COPY lookups (value, ord) FROM STDIN BINARY`
	sqlPostgresCopySegments  = `COPY purchases (ord, segment, sealed) FROM STDIN BINARY`
	sqlPostgresMoveSegments  = `UPDATE customer_keys AS k SET segments = n.segments FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[]) AS n (ord, version, epoch, was, segments) WHERE k.ord = n.ord AND k.version = n.version AND k.epoch = n.epoch AND k.segments = n.was`
	sqlPostgresTouch         = `UPDATE customers SET updated = $2 WHERE ord = ANY($1) AND erased = 0`
)

// copied are changes written by COPY: new customers, and segments added to others.
// It is made once and may be written several times.
type copied struct {
	externals, customers, secrets, lookups, segments copyRows

	// The customers who get segments, as they were, and how many they have then.
	ords, versions, epochs []int64
	was, now               []int32

	rows [2][]indexRow // of externals and lookups, before they are sorted
}

// from takes those of the changes that COPY can write in place of what there was, and
// returns the rest.
func (c *copied) from(changes []*change, brand record.BrandID, at time.Time) (rest []*change) {
	*c = copied{
		externals: c.externals.emptied(), customers: c.customers.emptied(), secrets: c.secrets.emptied(),
		lookups: c.lookups.emptied(), segments: c.segments.emptied(),
		rows: [2][]indexRow{c.rows[0][:0], c.rows[1][:0]},
	}
	externals, lookups := c.rows[0], c.rows[1]
	us := at.UnixMicro()
	fresh, added, bytes, firsts := 0, 0, 0, 0
	for _, ch := range changes {
		for _, b := range ch.later() {
			bytes += len(b) + segmentOverhead
		}
		switch {
		case ch.made:
			fresh++
			firsts += len(ch.profile) + len(ch.first()) + customerOverhead
		case ch.appends():
			added++
		}
	}
	c.segments.grow(bytes)
	c.customers.grow(firsts)
	c.secrets.grow(fresh * secretRow)
	for _, ch := range changes {
		ord := int64(ch.ord)
		switch {
		case ch.made && fresh >= copyAtLeast:
			externals = append(externals, indexRow{ch.external, ord})
			for _, v := range ch.come {
				lookups = append(lookups, indexRow{v, ord})
			}
			c.customers.begin(6)
			c.customers.int8(ord)
			c.customers.int4(int32(brand))
			c.customers.int8(us)
			c.customers.int8(0)
			c.customers.bytes(ch.profile)
			c.customers.bytes(ch.first())
			c.secrets.begin(7)
			c.secrets.int8(ord)
			c.secrets.int4(int32(brand))
			c.secrets.int4(int32(ch.kek))
			c.secrets.int8(firstVersion)
			c.secrets.int8(0)
			c.secrets.int4(int32(len(ch.packed)))
			c.secrets.bytes(ch.wrapped)
		case !ch.made && ch.appends() && added >= copyAtLeast:
			c.ords, c.versions, c.epochs = append(c.ords, ord), append(c.versions, int64(ch.version)), append(c.epochs, int64(ch.epoch))
			c.was, c.now = append(c.was, int32(ch.segments)), append(c.now, int32(ch.segments+len(ch.packed)))
		default:
			rest = append(rest, ch)
			continue
		}
		for n, b := range ch.later() {
			c.segments.begin(3)
			c.segments.int8(ord)
			c.segments.int4(int32(n))
			c.segments.bytes(b)
		}
	}
	c.externals.index(externals)
	c.lookups.index(lookups)
	c.rows = [2][]indexRow{externals, lookups}
	return rest
}

// appends reports whether all there is to write is segments after those there are.
func (c *change) appends() bool { return c.profile == nil && !c.rewrite }

func (c *copied) write(ctx context.Context, q db.Queryer, at time.Time) error {
	// The external ids first: where two imports meet, one of them waits here, having
	// written nothing else.
	for _, t := range []struct {
		sql  string
		rows *copyRows
	}{
		{sqlPostgresCopyExternals, &c.externals}, {sqlPostgresCopyCustomers, &c.customers}, {sqlPostgresCopySecrets, &c.secrets},
		{sqlPostgresCopyLookups, &c.lookups}, {sqlPostgresCopySegments, &c.segments},
	} {
		if t.rows.n == 0 {
			continue
		}
		n, err := db.CopyIn(ctx, q, t.sql, bytes.NewReader(t.rows.ended()))
		if errors.Is(err, db.ErrDuplicate) {
			return ErrConflict
		}
		if err != nil {
			return err
		}
		if n != t.rows.n {
			return fmt.Errorf("%d of %d rows were copied", n, t.rows.n)
		}
	}
	if len(c.ords) == 0 {
		return nil
	}
	n, err := q.Exec(ctx, sqlPostgresMoveSegments, c.ords, c.versions, c.epochs, c.was, c.now)
	if err != nil {
		return err
	}
	if n != int64(len(c.ords)) {
		return ErrConflict
	}
	_, err = q.Exec(ctx, sqlPostgresTouch, c.ords, at.UnixMicro())
	return err
}

// indexRow is a row of externals or lookups.
type indexRow struct{ value, ord int64 }

const (
	copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	// Bytes of a row of each table, without what is sealed in it.
	segmentOverhead  = 2 + 3*4 + 8 + 4
	customerOverhead = 2 + 6*4 + 8 + 4 + 8 + 8
	secretRow        = 2 + 7*4 + 8 + 4 + 4 + 8 + 8 + 4 + wrappedBytes
)

// copyRows are rows of one table in the binary format of COPY: a header, rows that
// begin with their number of columns, columns that begin with their length, a trailer.
type copyRows struct {
	b []byte
	n int64 // rows
}

// emptied are no rows, in the same memory.
func (r *copyRows) emptied() copyRows { return copyRows{b: r.b[:0]} }

// grow makes room for n bytes, before there is a row.
func (r *copyRows) grow(n int) {
	if n > 0 {
		r.b = append(slices.Grow(r.b[:0], n+len(copyHeader)+2), copyHeader...)
	}
}

func (r *copyRows) begin(columns int16) {
	if len(r.b) == 0 {
		r.b = append(r.b, copyHeader...)
	}
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(columns))
	r.n++
}

func (r *copyRows) int4(v int32) {
	r.b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(r.b, 4), uint32(v))
}

func (r *copyRows) int8(v int64) {
	r.b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(r.b, 8), uint64(v))
}

// bytes adds a column; nil is NULL.
func (r *copyRows) bytes(v []byte) {
	if v == nil {
		r.b = binary.BigEndian.AppendUint32(r.b, math.MaxUint32)
		return
	}
	r.b = append(binary.BigEndian.AppendUint32(r.b, uint32(len(v))), v...)
}

// index adds index rows in the order of the index: neighbours share its pages, and
// two imports take their locks in one order.
func (r *copyRows) index(rows []indexRow) {
	slices.SortFunc(rows, func(a, b indexRow) int { return cmp.Compare(a.value, b.value) })
	r.grow(len(rows) * (2 + 4 + 8 + 4 + 8))
	for _, x := range rows {
		r.begin(2)
		r.int8(x.value)
		r.int8(x.ord)
	}
}

// ended returns everything with the trailer. It may be called again.
func (r *copyRows) ended() []byte { return append(r.b, 0xff, 0xff) }
