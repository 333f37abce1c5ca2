package ledger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// The index says which entries concern a customer, so that nobody has to read the whole
// log for that. It follows from the log and holds no more than the lists that stand
// there: ordinals, before and after an erasure. It is written beside the committer, one
// span of entries after another, and what it does not cover yet is read from the log.
//
// A span is cut into rows by the customers' ordinals. Each row carries a code that only
// the holder of the log's key can make, so that whoever changes or removes one makes an
// answer slower and hides nothing: from the first row that does not hold on, the log is
// read, and the index is written again.

const (
	// DefaultIndexSpan and spanCustomers end a span, whichever is reached first: the first
	// keeps short what has to be read behind the index, the second bounds what is in
	// memory while a span is written.
	DefaultIndexSpan = 4096
	spanCustomers    = 1 << 18
	// indexBuckets is how many rows a span has. A customer is looked for in one of each.
	indexBuckets = 1 << bucketBits
	bucketBits   = 6
	// indexPage is how many rows are read at a time: of a kilobyte each in practice, and
	// of one megabyte in the worst case.
	indexPage = 64
	// backlogSpans is from when on it is cheaper to count everybody from the beginning of
	// the log than to ask back span by span.
	backlogSpans = 8

	indexVersion = "cloakroom log index 1"
)

const (
	sqlReadIndex    = `SELECT first, data FROM log_index WHERE brand = $1 AND bucket = $2 AND first >= $3 ORDER BY first LIMIT $4`
	sqlReadIndexRow = `SELECT data FROM log_index WHERE brand = $1 AND bucket = $2 AND first = $3`
	sqlWriteIndex   = `INSERT INTO log_index (brand, bucket, first, data) VALUES ($1, $2, $3, $4) ON CONFLICT (brand, bucket, first) DO UPDATE SET data = excluded.data`
	sqlNewestSpan   = `SELECT first, data FROM log_index WHERE brand = $1 AND bucket = 0 ORDER BY first DESC LIMIT 1`
)

// posting is one entry that concerns a customer.
type posting struct {
	span     uint64 // first of its row
	index    uint64
	before   uint32 // releases of the customer that came before
	released bool
	alone    bool // the entry concerns nobody else
}

// span is a row of the index: of the customers of one bucket, in the entries from first
// on.
type span struct {
	first, end uint64
	rest       []byte
}

// place is a customer in an entry.
type place struct {
	ord             record.Ordinal
	before          uint32 // as in posting
	index           uint64
	released, alone bool
}

func bucketOf(ord record.Ordinal) int { return int(ord % indexBuckets) }

// indexKey returns the key of the rows' codes. Nobody makes that signature who has not
// the log's key, and it is never told.
func (c *chain) indexKey() ([]byte, error) {
	sig, err := c.signer.Sign([]byte(indexVersion + "\n" + c.signer.Name() + "\n"))
	if err != nil {
		return nil, fmt.Errorf("making the key of the index: %w", err)
	}
	sum := sha256.Sum256(sig)
	return sum[:], nil
}

func (c *chain) indexCode(key []byte, bucket int, first uint64, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	var head [20]byte
	binary.BigEndian.PutUint64(head[:], uint64(c.brand))
	binary.BigEndian.PutUint32(head[8:], uint32(bucket))
	binary.BigEndian.PutUint64(head[12:], first)
	h.Write(head[:])
	h.Write(data)
	return h.Sum(nil)
}

// encodeSpan returns the row of one bucket. The places are those of the bucket, by
// customer and then by entry; before has to be set in each customer's first one.
func (c *chain) encodeSpan(key []byte, bucket int, first, end uint64, places []place) []byte {
	out := binary.AppendUvarint(nil, end-first)
	last := uint64(0)
	for len(places) > 0 {
		ord := places[0].ord
		n := 1
		for n < len(places) && places[n].ord == ord {
			n++
		}
		q := uint64(ord/indexBuckets) + 1
		out = binary.AppendUvarint(out, q-last)
		out = binary.AppendUvarint(out, uint64(places[0].before))
		out = binary.AppendUvarint(out, uint64(n))
		last = q
		at := first
		for _, p := range places[:n] {
			v := (p.index - at) << 2
			if p.released {
				v |= 1
			}
			if p.alone {
				v |= 2
			}
			out = binary.AppendUvarint(out, v)
			at = p.index
		}
		places = places[n:]
	}
	return append(out, c.indexCode(key, bucket, first, out)...)
}

var errIndex = errors.New("a row of the index is not what was written")

// openSpan reads a row, if our key made it.
func (c *chain) openSpan(key []byte, bucket int, first uint64, data []byte) (span, error) {
	n := len(data) - sha256.Size
	if n < 1 || !hmac.Equal(c.indexCode(key, bucket, first, data[:n]), data[n:]) {
		return span{}, errIndex
	}
	count, m := binary.Uvarint(data[:n])
	if m <= 0 || count == 0 {
		return span{}, errIndex
	}
	return span{first, first + count, data[m:n]}, nil
}

// each hands fn the customers of a row with their postings, ascending, until fn says
// that it needs no more.
func (s span) each(fn func(q uint64, postings []posting) bool) error {
	rest, bad := s.rest, false
	next := func() uint64 {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			bad = true
			return 0
		}
		rest = rest[n:]
		return v
	}
	var list []posting
	for q := uint64(0); len(rest) > 0; {
		q += next()
		before, n := uint32(next()), next()
		list = list[:0]
		for at, i := s.first, uint64(0); i < n && !bad; i++ {
			v := next()
			at += v >> 2
			list = append(list, posting{s.first, at, before, v&1 != 0, v&2 != 0})
			if v&1 != 0 {
				before++
			}
		}
		if bad {
			return errIndex
		}
		if !fn(q-1, list) {
			return nil
		}
	}
	return nil
}

// of returns the postings of a customer.
func (s span) of(ord record.Ordinal) (out []posting, err error) {
	want := uint64(ord / indexBuckets)
	err = s.each(func(q uint64, list []posting) bool {
		if q == want {
			out = slices.Clone(list)
		}
		return q < want
	})
	return out, err
}

// lookup returns what the index has of a customer, and how many entries it covers.
func (c *chain) lookup(ctx context.Context, key []byte, ord record.Ordinal, size uint64) (out []posting, covered uint64, err error) {
	type row struct {
		first uint64
		data  []byte
	}
	for {
		var page []row
		err := c.l.db.Rows(ctx, func(r db.Row) error {
			var x row
			err := r.Scan(&x.first, &x.data)
			page = append(page, x)
			return err
		}, sqlReadIndex, int64(c.brand), bucketOf(ord), covered, indexPage)
		if err != nil {
			return nil, 0, fmt.Errorf("reading the index of the log of brand %d: %w", c.brand, err)
		}
		for _, x := range page {
			s, err := c.openSpan(key, bucketOf(ord), x.first, x.data)
			if err == nil && x.first == covered && s.end <= size {
				var list []posting
				if list, err = s.of(ord); err == nil {
					out, covered = append(out, list...), s.end
					continue
				}
			}
			c.mistrust(covered)
			return out, covered, nil
		}
		if len(page) < indexPage {
			return out, covered, nil
		}
	}
}

// before returns how often each customer of an entry had been released when it was
// logged, from the rows of the span that begins at first.
func (c *chain) before(ctx context.Context, key []byte, first, index uint64, ords []record.Ordinal) ([]uint32, error) {
	var buckets [indexBuckets][]byte
	var stmts []db.Stmt
	var asked [indexBuckets]bool
	for _, ord := range ords {
		if b := bucketOf(ord); !asked[b] {
			asked[b] = true
			stmts = append(stmts, db.Stmt{SQL: sqlReadIndexRow, Args: []any{int64(c.brand), b, first}, Scan: func(r db.Row) error { return r.Scan(&buckets[b]) }})
		}
	}
	if err := c.l.db.Batch(ctx, stmts); err != nil {
		return nil, fmt.Errorf("reading the index of the log of brand %d: %w", c.brand, err)
	}
	found := make(map[record.Ordinal]uint32, len(ords))
	for b := range buckets {
		if !asked[b] {
			continue
		}
		s, err := c.openSpan(key, b, first, buckets[b])
		if err == nil {
			err = s.each(func(q uint64, list []posting) bool {
				for _, p := range list {
					if p.index == index {
						found[record.Ordinal(q*indexBuckets+uint64(b))] = p.before
					}
				}
				return true
			})
		}
		if err != nil {
			return nil, err
		}
	}
	out := make([]uint32, len(ords))
	for i, ord := range ords {
		n, ok := found[ord]
		if !ok {
			return nil, errIndex
		}
		out[i] = n
	}
	return out, nil
}

// tally returns how often each customer of a set was released before an entry: from how
// often it was until now, and what the log says of between.
func (c *chain) tally(ctx context.Context, at uint64, set *entry.Set) (map[record.Ordinal]uint32, error) {
	out := make(map[record.Ordinal]uint32, set.Len())
	if at == 0 {
		return out, nil
	}
	all := slices.Collect(set.All())
	totals, known := c.proj.releases(all)
	for i, ord := range all {
		out[ord] = totals[i]
	}
	err := c.l.walk(ctx, c.brand, min(at, known), max(at, known), set, func(it item, e entry.Entry, ords []record.Ordinal) error {
		if !released(e.Kind) || it.index >= max(at, known) {
			return nil
		}
		for _, o := range ords {
			switch {
			case !set.Has(o):
			case known > at:
				out[o]--
			default: // others have logged what this server has not read
				out[o]++
			}
		}
		return nil
	})
	return out, err
}

// Concerning hands fn every entry from an index on that concerns a customer, oldest
// first: those that the log's index names and, of what it does not cover yet, those that
// reading the log finds.
func (l *Ledger) Concerning(ctx context.Context, brand record.BrandID, ord record.Ordinal, from uint64, fn func(d Disclosure) error) error {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return err
	}
	size, err := l.Size(ctx, brand)
	if err != nil {
		return err
	}
	return c.concerning(ctx, ord, from, size, fn)
}

func (c *chain) concerning(ctx context.Context, ord record.Ordinal, from, size uint64, fn func(d Disclosure) error) error {
	key, err := c.indexKey()
	if err != nil {
		return err
	}
	list, covered, err := c.lookup(ctx, key, ord, size)
	if err != nil {
		return err
	}
	r := c.l.rows(ctx, c.brand)
	for _, p := range list {
		if p.index < from {
			continue
		}
		d, err := c.disclosed(ctx, r, key, p, ord)
		if err != nil {
			return err
		}
		if err := fn(d); err != nil {
			return err
		}
	}
	return c.read(ctx, ord, covered, max(from, covered), size, fn)
}

// indexedCommitments is Commitments of what the index covers, and how much that is.
func (c *chain) indexedCommitments(ctx context.Context, ord record.Ordinal, from, size uint64, logKey []byte) (out []Kept, covered uint64, err error) {
	key, err := c.indexKey()
	if err != nil {
		return nil, 0, err
	}
	list, covered, err := c.lookup(ctx, key, ord, size)
	if err != nil {
		return nil, 0, err
	}
	r := c.l.rows(ctx, c.brand)
	for _, p := range list {
		if p.alone || p.index < from {
			continue
		}
		e, _, _, err := r.named(p, ord)
		if err != nil {
			return nil, 0, err
		}
		if proves(&e) {
			out = append(out, Kept{p.index, entry.Commitment(logKey, e.Committed(p.before))})
		}
	}
	return out, covered, nil
}

// named reads an entry that the index names, with its customers and its leaf.
func (r *rows) named(p posting, ord record.Ordinal) (e entry.Entry, it item, ords []record.Ordinal, err error) {
	if it, err = r.item(p.index); err != nil {
		return e, it, nil, err
	}
	if e, ords, err = r.l.prover(r.ctx, r.brand).open(&it); err != nil {
		return e, it, nil, err
	}
	if _, ok := slices.BinarySearch(ords, ord); !ok || p.alone != (len(ords) == 1) || p.released != released(e.Kind) {
		return e, it, nil, fmt.Errorf("entry %d: it is not the one that was logged: %w", p.index, ErrTampered)
	}
	return e, it, ords, nil
}

// disclosed returns what Concerning says of an entry that the index names.
func (c *chain) disclosed(ctx context.Context, r *rows, key []byte, p posting, ord record.Ordinal) (Disclosure, error) {
	e, it, ords, err := r.named(p, ord)
	if err != nil {
		return Disclosure{}, err
	}
	d := Disclosure{Index: p.index, Entry: e, Leaf: bytes.Clone(it.leaf), Ords: ords, values: it.plain}
	if p.alone {
		d.Counters = []uint32{p.before}
		return d, nil
	}
	d.Counters, err = c.before(ctx, key, p.span, p.index, ords)
	if !errors.Is(err, errIndex) {
		return d, err
	}
	c.mistrust(p.span)
	var all entry.Set
	all.Add(ords...)
	n, err := c.tally(ctx, p.index, &all)
	d.Counters = make([]uint32, len(ords))
	for i, o := range ords {
		d.Counters[i] = n[o]
	}
	return d, err
}

// read is Concerning by reading the log from start on: once for those who are in an
// entry together with the customer, and, if there are any, again for how often each of
// them was released before it.
func (c *chain) read(ctx context.Context, ord record.Ordinal, start, from, size uint64, fn func(d Disclosure) error) error {
	var one, all entry.Set
	one.Add(ord)
	err := c.l.walk(ctx, c.brand, start, size, &one, func(it item, _ entry.Entry, ords []record.Ordinal) error {
		if it.index >= from {
			all.Add(ords...)
		}
		return nil
	})
	if err != nil || all.Len() == 0 {
		return err
	}
	before, err := c.tally(ctx, start, &all)
	if err != nil {
		return err
	}
	o := c.l.prover(ctx, c.brand)
	return c.l.walk(ctx, c.brand, start, size, &all, func(it item, e entry.Entry, ords []record.Ordinal) error {
		if _, ok := slices.BinarySearch(ords, ord); ok && it.index >= from {
			if err := o.values(&it, &e); err != nil {
				return err
			}
			d := Disclosure{Index: it.index, Entry: e, Leaf: bytes.Clone(it.leaf), Ords: ords, Counters: make([]uint32, len(ords)), values: it.plain}
			for i, o := range ords {
				d.Counters[i] = before[o]
			}
			if err := fn(d); err != nil {
				return err
			}
		}
		if released(e.Kind) {
			for _, o := range ords {
				if all.Has(o) {
					before[o]++
				}
			}
		}
		return nil
	})
}
