package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/codec"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// A snapshot is a projection as it stood at a size of the log, so that a start
// replays what came after it only. It is a shortcut and never evidence: it is signed
// with the log's own key, it starts from a checkpoint of that key, and whatever does
// not fit is passed over for an older one or for the whole log.

const (
	// DefaultSnapshotEvery is how many entries come, at least, between two snapshots:
	// a start replays them in well under a second.
	DefaultSnapshotEvery = 50_000
	// snapshotBytesPerEntry keeps the snapshots of a large projection rarer: they then
	// cost no more bytes than the entries between them.
	snapshotBytesPerEntry = 256
	// snapshotOnClose is how many entries make it worth to write one when stopping.
	snapshotOnClose = 5_000
	// snapshotCloseTimeout bounds that.
	snapshotCloseTimeout = 20 * time.Second
	// snapshotPart is the size of the rows that a snapshot is cut into: each is a
	// transaction of its own, so that commits in between wait for no large one.
	snapshotPart = 256 << 10

	snapshotVersion = "cloakroom log projection 8"
	// Those of earlier releases: the seventh did not know parts of budget rules, the sixth did not know epochs, legal holds and stops that
	// end by themselves, the fifth did not know erasures that cool, the third neither
	// rights nor stops, the second counted a search that found nobody as a
	// customer, the first did not say who was erased either.
	snapshotVersion1 = "cloakroom log projection 1"
	snapshotVersion2 = "cloakroom log projection 2"
	snapshotVersion3 = "cloakroom log projection 3"
	snapshotVersion5 = "cloakroom log projection 5"
	snapshotVersion7 = "cloakroom log projection 7"
	snapshotVersion6 = "cloakroom log projection 6"
)

const (
	sqlListSnapshots      = `SELECT size, data FROM log_snapshots WHERE brand = $1 ORDER BY size DESC LIMIT 2`
	sqlWriteSnapshot      = `INSERT INTO log_snapshots (brand, size, data) VALUES ($1, $2, $3) ON CONFLICT (brand, size) DO UPDATE SET data = excluded.data`
	sqlWriteSnapshotPart  = `INSERT INTO log_snapshot_parts (brand, size, part, data) VALUES ($1, $2, $3, $4) ON CONFLICT (brand, size, part) DO UPDATE SET data = excluded.data`
	sqlReadSnapshotPart   = `SELECT data FROM log_snapshot_parts WHERE brand = $1 AND size = $2 AND part = $3`
	sqlDropSnapshots      = `DELETE FROM log_snapshots WHERE brand = $1 AND size < $2`
	sqlDropSnapshotParts  = `DELETE FROM log_snapshot_parts WHERE brand = $1 AND size < $2`
	sqlNewestSnapshotSize = `SELECT coalesce(max(size), 0) FROM log_snapshots WHERE brand = $1`
)

// snapshotHead is the row that says what a snapshot's parts are. It is written last.
type snapshotHead struct {
	size  uint64
	parts uint32
	bytes uint64
	sum   [sha256.Size]byte
}

func (h *snapshotHead) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, h.parts)
	dst = binary.BigEndian.AppendUint64(dst, h.bytes)
	return append(dst, h.sum[:]...)
}

const snapshotHeadBytes = 4 + 8 + sha256.Size

// text is what the log's key signs. No checkpoint begins like it: the name of a log
// has a slash.
func (h *snapshotHead) text(origin string) []byte {
	return fmt.Appendf(nil, "cloakroom log snapshot 1\n%s\n%d\n%d\n%d\n%x\n", origin, h.size, h.parts, h.bytes, h.sum)
}

func (c *chain) vouch(h *snapshotHead) ([]byte, error) {
	sig, err := c.signer.Sign(h.text(c.signer.Name()))
	if err != nil {
		return nil, fmt.Errorf("signing a snapshot: %w", err)
	}
	return append(h.append(nil), sig...), nil
}

// vouched reads a head, if our key signed it: Ed25519 signatures are deterministic.
func (c *chain) vouched(size uint64, data []byte) (*snapshotHead, bool) {
	if len(data) < snapshotHeadBytes {
		return nil, false
	}
	h := &snapshotHead{size: size, parts: binary.BigEndian.Uint32(data), bytes: binary.BigEndian.Uint64(data[4:]), sum: [sha256.Size]byte(data[12:])}
	want, err := c.vouch(h)
	return h, err == nil && bytes.Equal(want, data)
}

// encode writes a projection that nobody changes meanwhile.
func (p *projection) encode(w *bufio.Writer) error {
	codec.PutText(w, snapshotVersion)
	codec.Put(w, p.size, uint64(p.at))
	codec.PutText(w, p.checkpoint)
	codec.Put(w, uint64(len(p.edge)))
	for _, x := range slices.Sorted(maps.Keys(p.edge)) {
		h := p.edge[x]
		codec.Put(w, uint64(x))
		w.Write(h[:])
	}
	pages := slices.Sorted(maps.Keys(p.counters))
	codec.Put(w, uint64(len(pages)))
	for _, at := range pages {
		page, n := p.counters[at], 0
		for _, count := range page {
			if count > 0 {
				n++
			}
		}
		codec.Put(w, uint64(at), uint64(n))
		for i, count := range page {
			if count > 0 {
				codec.Put(w, uint64(i), uint64(count))
			}
		}
	}
	for _, s := range []*entry.Set{&p.erased, &p.cooling, &p.back} {
		encodeSet(w, s)
	}
	codec.Put(w, uint64(len(p.epochs)))
	for _, e := range p.epochs {
		codec.PutText(w, e.name)
		codec.Put(w, e.first)
	}
	p.holds.encode(w)
	codec.PutText(w, p.parts.String())
	p.rights.Encode(w)
	p.stops.encode(w)
	return p.book.Encode(w)
}

func encodeSet(w *bufio.Writer, s *entry.Set) {
	codec.Put(w, uint64(s.Len()))
	last := uint64(0)
	for ord := range s.All() {
		codec.Put(w, uint64(ord)-last)
		last = uint64(ord)
	}
}

func decodeSet(in *codec.Reader, s *entry.Set) {
	ord := uint64(0)
	for range in.Number(1 << 32) {
		if ord += in.Number(1<<32 - 1 - ord); in.Err() != nil {
			return
		}
		s.Add(record.Ordinal(ord))
	}
}

// maxSnapshotText bounds the texts of a projection.
const maxSnapshotText = 1 << 16

var errSnapshot = errors.New("not a snapshot of a log")

// decodeProjection reads what encode wrote.
func decodeProjection(r *bufio.Reader) (*projection, error) {
	p := newProjection()
	in := codec.NewReader(r, errSnapshot)
	version := string(in.Text(maxSnapshotText))
	decode := budget.DecodeBook
	switch version {
	case snapshotVersion, snapshotVersion7, snapshotVersion6, snapshotVersion5, snapshotVersion3:
	case snapshotVersion1, snapshotVersion2:
		decode = budget.DecodeOlderBook
	default:
		in.Fail(errSnapshot) // of another release
	}
	p.size, p.at = in.Number(1<<62), int64(in.Number(1<<62))
	p.checkpoint = in.Text(maxSnapshotText)
	for range in.Number(1 << 8) {
		x := int64(in.Number(1 << 62))
		var h tlog.Hash
		in.Fill(h[:])
		p.edge[x] = h
	}
	for range in.Number(1<<32/pageSize + 1) {
		at := uint32(in.Number(1<<32/pageSize - 1))
		page := new([pageSize]uint32)
		for range in.Number(pageSize) {
			page[in.Number(pageSize-1)] = uint32(in.Number(1<<32 - 1))
		}
		if in.Err() != nil {
			break
		}
		p.counters[at] = page
	}
	sets := []*entry.Set{&p.erased, &p.cooling, &p.back}
	switch version {
	case snapshotVersion1:
		sets = nil
	case snapshotVersion2, snapshotVersion3, snapshotVersion5:
		sets = sets[:1]
	}
	for _, s := range sets {
		decodeSet(in, s)
	}
	if version == snapshotVersion || version == snapshotVersion7 {
		for range in.Number(1 << 20) {
			e := epoch{string(in.Text(maxSnapshotText)), in.Number(1 << 62)}
			if in.Err() != nil {
				break
			}
			p.epochs = append(p.epochs, e)
		}
		p.holds.decode(in)
	}
	if version == snapshotVersion {
		var err error
		p.parts, err = budget.ParseParts(string(in.Text(budget.MaxText + maxSnapshotText)))
		in.Fail(err)
	}
	failed := in.Err()
	if failed == nil && slices.Contains([]string{snapshotVersion, snapshotVersion7, snapshotVersion6, snapshotVersion5}, version) {
		if p.rights, failed = rights.Decode(r); failed == nil {
			p.stops, failed = decodeStops(r, version != snapshotVersion && version != snapshotVersion7)
		}
	}
	if failed == nil {
		p.book, failed = decode(r)
	}
	if failed == nil {
		if _, err := r.ReadByte(); err != io.EOF {
			failed = errSnapshot
		}
	}
	p.known = p.size
	return p, failed
}

// parts writes a snapshot's rows, or reads them.
type parts struct {
	ctx  context.Context
	c    *chain
	head snapshotHead // of a snapshot being written, as far as it is
	sum  hash.Hash
	next uint32 // the part to read
	left []byte // read and not yet handed on
}

// Write implements io.Writer; each call is one part.
func (p *parts) Write(b []byte) (int, error) {
	if _, err := p.c.l.db.Exec(p.ctx, sqlWriteSnapshotPart, int64(p.c.brand), p.head.size, p.head.parts, b); err != nil {
		return 0, err
	}
	p.sum.Write(b)
	p.head.parts++
	p.head.bytes += uint64(len(b))
	return len(b), nil
}

// Read implements io.Reader.
func (p *parts) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		if p.next == p.head.parts {
			return 0, io.EOF
		}
		if err := p.c.l.db.Row(p.ctx, sqlReadSnapshotPart, int64(p.c.brand), p.head.size, p.next).Scan(&p.left); err != nil {
			return 0, err
		}
		p.next++
		p.sum.Write(p.left)
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// save writes a snapshot of a projection that nobody changes meanwhile, and drops all
// but the newest two.
func (c *chain) save(ctx context.Context, p *projection) (*snapshotHead, error) {
	out := &parts{ctx: ctx, c: c, head: snapshotHead{size: p.size}, sum: sha256.New()}
	if err := p.encode(bufio.NewWriterSize(out, snapshotPart)); err != nil {
		return nil, fmt.Errorf("writing a snapshot: %w", err)
	}
	out.head.sum = [sha256.Size]byte(out.sum.Sum(nil))
	data, err := c.vouch(&out.head)
	if err != nil {
		return nil, err
	}
	brand := int64(c.brand)
	if _, err := c.l.db.Exec(ctx, sqlWriteSnapshot, brand, p.size, data); err != nil {
		return nil, fmt.Errorf("writing a snapshot: %w", err)
	}
	oldest := p.size
	err = c.l.db.Rows(ctx, func(r db.Row) error { return r.Scan(&oldest, new([]byte)) }, sqlListSnapshots, brand)
	if err == nil {
		err = c.l.db.Batch(ctx, []db.Stmt{
			{SQL: sqlDropSnapshots, Args: []any{brand, oldest}},
			{SQL: sqlDropSnapshotParts, Args: []any{brand, oldest}},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("dropping old snapshots: %w", err)
	}
	return &out.head, nil
}

// restore returns the newest projection that a snapshot gives, or an empty one. What
// it returns was signed by our key, and its tree is that of a checkpoint of our key.
func (c *chain) restore(ctx context.Context) (*projection, uint64, error) {
	type row struct {
		size uint64
		data []byte
	}
	var list []row
	err := c.l.db.Rows(ctx, func(r db.Row) error {
		var s row
		err := r.Scan(&s.size, &s.data)
		list = append(list, s)
		return err
	}, sqlListSnapshots, int64(c.brand))
	if err != nil {
		return nil, 0, err
	}
	for _, s := range list {
		h, ok := c.vouched(s.size, s.data)
		if !ok {
			continue
		}
		in := &parts{ctx: ctx, c: c, head: *h, sum: sha256.New()}
		p, err := decodeProjection(bufio.NewReaderSize(in, snapshotPart))
		switch {
		case err == nil && [sha256.Size]byte(in.sum.Sum(nil)) == h.sum && c.founded(p, h.size):
			return p, h.bytes, nil
		case ctx.Err() != nil:
			return nil, 0, ctx.Err()
		}
	}
	return newProjection(), 0, nil
}

// founded reports whether a projection's tree is what our key signed at its size.
func (c *chain) founded(p *projection, size uint64) bool {
	root, err := p.grow().root()
	if err != nil || p.size != size {
		return false
	}
	cp, err := c.sign(p.epochOf(), size, root)
	return err == nil && bytes.Equal(cp, p.checkpoint)
}

// due reports whether so many entries came since the last snapshot that it is time
// for another.
func (c *chain) due(size uint64) bool {
	return size >= c.snapped.Load()+max(c.l.opts.SnapshotEvery, c.snapBytes.Load()/snapshotBytesPerEntry)
}

// snapshot brings a second projection up to the log's head, starting from the last
// snapshot, and writes it. The committer goes on meanwhile. Where another server has
// written one lately it is left at that.
func (c *chain) snapshot(ctx context.Context) error {
	var newest uint64
	if err := c.l.db.Row(ctx, sqlNewestSnapshotSize, int64(c.brand)).Scan(&newest); err != nil {
		return err
	}
	size, _, err := c.l.head(ctx, c.brand)
	if err != nil {
		return err
	}
	if newest > c.snapped.Load() {
		c.snapped.Store(min(newest, size))
		if !c.due(size) {
			return nil
		}
	}
	p, err := c.replay(ctx)
	if err != nil {
		return err
	}
	h, err := c.save(ctx, p)
	if err != nil {
		return err
	}
	c.snapped.Store(h.size)
	c.snapBytes.Store(h.bytes)
	return nil
}

// snapshotSoon starts a snapshot beside the committer if one is due. One that fails
// is tried again after as many entries: it costs a later start time, and nothing else.
func (c *chain) snapshotSoon(ctx context.Context) {
	size := c.proj.size
	if !c.due(size) || !c.snapping.CompareAndSwap(false, true) {
		return
	}
	c.snaps.Go(func() {
		defer c.snapping.Store(false)
		if c.snapshot(ctx) != nil && ctx.Err() == nil {
			c.snapped.Store(max(c.snapped.Load(), size))
		}
	})
}

// snapshotLast writes the committer's own projection when it stops.
func (c *chain) snapshotLast() {
	c.snaps.Wait() // its context has ended
	if c.tampered != nil || c.l.stopped(c.brand) != nil || c.proj.size < c.snapped.Load()+min(snapshotOnClose, c.l.opts.SnapshotEvery) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), snapshotCloseTimeout)
	defer cancel()
	c.save(ctx, c.proj) // a start without it replays more
}
