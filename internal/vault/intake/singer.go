package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrSinger is returned for what is no stream of Singer messages, or for one that does not
// fit the mapping any more.
var ErrSinger = fault.New(fault.Internal, "the tap's output cannot be imported")

const (
	// singerRows is after how many records a STATE has them committed: fewer would cost an
	// entry of the log for a handful of customers.
	singerRows = 100
	// singerHeld is how many purchases wait for a customer whom the tap sends later.
	singerHeld = 20_000
	// singerDepth bounds how deep objects lie in each other.
	singerDepth = 16
	// singerMeta begins the properties that taps and targets add.
	singerMeta = "_sdc_"
)

// SingerInput is the output of a Singer tap.
type SingerInput struct {
	Name    string // for the file of rejects and for errors
	From    io.Reader
	Mapping *Mapping
	Rules   Rules
	Own     *cards.Own
	// State is called with the value of a STATE message once all records before it are
	// committed, refused ones listed. After an error the states not given are lost, and the
	// tap, run again from the last one, sends the same records again.
	State func(value []byte) error
}

// Singer imports what a tap prints: SCHEMA, RECORD and STATE messages, a line each, of the
// streams that the mapping names. Records of one customer are laid over each other in
// their order. A purchase whose customer comes later waits for them; until then no state
// is given. Options name neither inputs nor Refused.
func Singer(ctx context.Context, to Sink, in SingerInput, o Options) (Report, error) {
	if o.ChunkCustomers == 0 {
		o.ChunkCustomers = DefaultChunk
	}
	if direct, is := to.(*Direct); is {
		direct.Rehearse = o.DryRun
	}
	o.Customers, o.Purchases = Input{Name: in.Name}, Input{Name: in.Name}
	im := newImporter(to, o)
	s := &singer{
		SingerInput: in, im: im, streams: map[string]*stream{},
		lines: &lines{r: bufio.NewReaderSize(lineEnds{bufio.NewReaderSize(in.From, 64<<10)}, MaxRow+2)},
		chunk: newChunk(o.ChunkCustomers), buffer: newBuffer(o.ChunkCustomers),
	}
	err := s.run(ctx)
	return im.end(err)
}

// singer is one run.
type singer struct {
	SingerInput
	im      *importer
	lines   *lines
	streams map[string]*stream

	// Records that are read and not yet committed, and those before them.
	chunk     *chunk
	buffer    *buffer
	customers call[CustomerRow]
	purchases call[PurchaseRow]
	rows      int           // read since the last commit
	held      []PurchaseRow // whose customer has not come yet
	state     []byte        // the last STATE; nil: it was given
}

// stream is one stream of the tap.
type stream struct {
	number int // in the order in which the tap declared them
	kind   string
	drop   bool
	table  *table
	check  *checker
	at     map[string]int // by folded path, the column
	head   []cell         // what each column is, where the mapping describes nothing
	plan   *plan
	values []string
	has    []bool // of values
	used   map[string]bool
	fault  *rowFault // of the record that is read
}

// message is a line of a tap.
type message struct {
	Type   string          `json:"type"`
	Stream string          `json:"stream"`
	Schema json.RawMessage `json:"schema"`
	Record json.RawMessage `json:"record"`
	Value  json.RawMessage `json:"value"`
}

func (s *singer) run(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return interrupted(s.im.Customers, err)
		}
		line, long, err := s.lines.next()
		if err == io.EOF {
			return s.commit(ctx, true)
		}
		if err != nil {
			return s.im.stopped(s.im.Customers, err)
		}
		if long {
			return s.wrong("is longer than 256 KiB")
		}
		if line = trimJSON(line); len(line) == 0 {
			continue
		}
		// What is no message is never shown: taps print records in their errors.
		var m message
		if !utf8.Valid(line) || json.Unmarshal(line, &m) != nil {
			return s.wrong("is no Singer message, in JSON and UTF-8. Does the tap print errors to its standard output?")
		}
		switch m.Type {
		case "SCHEMA":
			err = s.schema(&m)
		case "RECORD":
			err = s.record(ctx, &m)
		case "STATE":
			s.state = bytes.Clone(m.Value)
			if s.rows >= singerRows || s.rows == 0 {
				err = s.commit(ctx, false)
			}
		case "ACTIVATE_VERSION", "BATCH_ACKNOWLEDGED":
			// The rows of older versions are gone at the source. Who they were is not said,
			// and a customer is erased when somebody asks for it, not when a table is reloaded.
		case "BATCH":
			err = s.wrong("is a BATCH message: its records lie in files of their own. Let the tap send RECORD messages")
		default:
			err = s.wrong("has a type that Singer does not know")
		}
		if err != nil {
			return err
		}
	}
}

func (s *singer) wrong(why string) error {
	return fmt.Errorf("%w: line %d %s", ErrSinger, s.lines.n, why)
}

// schema takes in what the records of a stream will hold.
func (s *singer) schema(m *message) error {
	var root struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if m.Stream == "" || json.Unmarshal(m.Schema, &root) != nil {
		return s.wrong("is a SCHEMA without a stream or an object of properties")
	}
	st := s.streams[m.Stream]
	if st == nil {
		st = &stream{number: len(s.streams) + 1}
		switch st.kind = s.Mapping.streamKind(m.Stream); st.kind {
		case kindCustomers:
			st.table = customerTable()
		case kindPurchases:
			st.table = purchaseTable()
		case Drop:
			st.drop = true
		default:
			return s.wrong(fmt.Sprintf("declares stream %d, of which the mapping says nothing: name it under streams: as customers or purchases, or drop it with %q", st.number, Drop))
		}
		s.streams[m.Stream] = st
	}
	if st.drop {
		return nil
	}
	mapped := map[string]bool{}
	if s.Mapping.described() {
		for _, name := range s.Mapping.columns(st.kind) {
			mapped[foldName(name)] = true
		}
	}
	var names []string
	leaves("", root.Properties, 0, func(path string) {
		if !strings.HasPrefix(path, singerMeta) || mapped[foldName(path)] {
			names = append(names, path)
		}
	})
	slices.Sort(names)
	next := *st
	next.at, next.used = map[string]int{}, map[string]bool{}
	var err error
	if s.Mapping.described() {
		next.plan, err = s.Mapping.bind(st.table, names, s.Rules)
	} else {
		next.head, err = st.table.header(names, s.Mapping)
	}
	if err != nil {
		return fmt.Errorf("%w: line %d, the SCHEMA of stream %d: %w", ErrSinger, s.lines.n, st.number, err)
	}
	for i, name := range names {
		next.at[foldName(name)] = i
		if next.plan != nil && next.plan.first[i] >= 0 || next.plan == nil && next.head[i].slot != slotDrop {
			next.used[foldName(name)] = true
		}
	}
	for name := range st.used {
		if !next.used[name] {
			return s.wrong(fmt.Sprintf("is a SCHEMA of stream %d without a property that was mapped before: its values would be missing from here on. Correct the mapping or the tap", st.number))
		}
	}
	next.values, next.has = make([]string, len(names)), make([]bool, len(names))
	next.check = newChecker(st.table, s.Own)
	next.check.Rules, next.check.anonymous = s.Rules, s.Mapping.anonymous()
	*st = next
	return nil
}

// leaves finds the properties of a schema that hold values. Those of an object inside
// another are named as paths, such as address/city.
func leaves(prefix string, properties map[string]json.RawMessage, depth int, found func(path string)) {
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		var inner struct {
			Properties map[string]json.RawMessage `json:"properties"`
		}
		// Of a property that is described in another way, all that matters is its name.
		_ = json.Unmarshal(properties[name], &inner)
		if len(inner.Properties) > 0 && depth < singerDepth {
			leaves(prefix+name+"/", inner.Properties, depth+1, found)
			continue
		}
		found(prefix + name)
	}
}

// record takes in one record.
func (s *singer) record(ctx context.Context, m *message) error {
	st := s.streams[m.Stream]
	if st == nil {
		return s.wrong("is a RECORD of a stream whose SCHEMA did not come before it")
	}
	if st.drop {
		return nil
	}
	in := rowOf(s.lines.n)
	st.read(m.Record, s.Mapping, &in)
	s.rows++
	if st.kind == kindCustomers {
		s.customers.read++
		var row CustomerRow
		row.Customer.Attributes = s.chunk.attributes()
		st.check.customer(&in, &row)
		if row.Reject != nil {
			s.customers.rejects = append(s.customers.rejects, *row.Reject)
		} else {
			s.chunk.add(&row)
		}
	} else {
		s.purchases.read++
		var row PurchaseRow
		st.check.purchase(&in, &row)
		if row.Reject != nil {
			s.purchases.rejects = append(s.purchases.rejects, *row.Reject)
		} else {
			s.buffer.add(&row)
		}
	}
	if s.chunk.full() || s.buffer.full() || s.rows >= bufferRows {
		return s.commit(ctx, false)
	}
	return nil
}

// read makes the cells of a record.
func (st *stream) read(text []byte, m *Mapping, in *row) {
	clear(st.values)
	clear(st.has)
	st.fault = nil
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var object map[string]any
	if dec.Decode(&object) != nil || object == nil {
		in.rej = (&rowFault{CodeBadRow, "is not a JSON object"}).reject(in.line)
		return
	}
	if deleted := object[singerMeta+"deleted_at"]; deleted != nil && deleted != "" {
		in.rej = (&rowFault{CodeDeleted, "was deleted at the source, which erases nobody here: ask for an erasure"}).reject(in.line)
		return
	}
	st.object("", object, m, 0)
	// The decoder puts another character in the place of half a surrogate pair.
	if st.fault == nil && bytes.Contains(text, []byte(`\u`)) && !bytes.ContainsRune(text, utf8.RuneError) {
		if slices.ContainsFunc(st.values, func(v string) bool { return strings.ContainsRune(v, utf8.RuneError) }) {
			st.fault = &rowFault{CodeBadRow, "has half of a surrogate pair in a value"}
		}
	}
	if st.fault != nil {
		in.rej = st.fault.reject(in.line)
		return
	}
	if st.plan != nil {
		st.plan.apply(st.values, in)
		return
	}
	for i, h := range st.head {
		if h.slot != slotDrop && st.has[i] {
			h.text = st.values[i]
			in.cells = append(in.cells, h)
		}
	}
}

// object lays the values of an object, or of one inside another, into their columns.
func (st *stream) object(prefix string, object map[string]any, m *Mapping, depth int) {
	for name, value := range object {
		path := prefix + name
		column, known := st.at[foldName(path)]
		if inner, is := value.(map[string]any); is && !known && depth < singerDepth {
			st.object(path+"/", inner, m, depth+1)
			continue
		}
		if !known {
			if value != nil && !strings.HasPrefix(name, singerMeta) && !m.dropped(path) && st.fault == nil {
				st.fault = &rowFault{CodeUnknownColumn, "has a property that the SCHEMA does not have"}
			}
			continue
		}
		st.has[column] = true
		switch v := value.(type) {
		case nil:
		case string:
			st.values[column] = strings.TrimSpace(v)
		case json.Number:
			st.values[column] = v.String()
		case bool:
			st.values[column] = fmt.Sprint(v)
		default:
			if st.used[foldName(path)] {
				st.fault = &rowFault{CodeBadRow, "has an object or an array as a value"}
			}
		}
	}
}

// commit brings in what was read, and gives the state then. At the end, purchases without
// a customer are refused.
func (s *singer) commit(ctx context.Context, end bool) error {
	c := joined{memory: &space{}, customers: s.customers}
	s.chunk.flush(func(rows []CustomerRow, lost []loser) bool {
		c.customers.rows, c.customers.lost = rows, lost
		return true
	})
	s.customers = call[CustomerRow]{}
	if err := s.land(ctx, &c, end); err != nil {
		return err
	}
	for i := range s.held {
		s.purchases.read++
		s.buffer.add(&s.held[i])
	}
	s.held = nil
	read := s.purchases
	s.purchases = call[PurchaseRow]{}
	var err error
	s.buffer.flush(func(rows []PurchaseRow, lost []loser) bool {
		read.rows, read.lost = rows, lost
		c := purchasesAlone(&read)
		read = call[PurchaseRow]{}
		err = s.land(ctx, &c, end)
		return err == nil
	})
	if err == nil && (read.read > 0 || len(read.rejects) > 0) {
		c := purchasesAlone(&read)
		err = s.land(ctx, &c, end)
	}
	if err != nil {
		return err
	}
	s.rows = 0
	if s.state == nil || len(s.held) > 0 || s.im.DryRun || s.State == nil {
		return nil
	}
	// All records before the state are committed, and a crash before it is given has the
	// tap send them again: they are unchanged then.
	state := s.state
	s.state = nil
	return s.State(state)
}

func (s *singer) land(ctx context.Context, c *joined, end bool) error {
	if len(c.customers.rows)+len(c.purchases.rows) == 0 {
		return s.im.land(ctx, s.im.Customers, c, nil)
	}
	var l landing
	if s.im.to != nil {
		var err error
		if l, err = s.im.to.begin(ctx, c); err != nil {
			return interrupted(s.im.Customers, err)
		}
		if !end && len(c.customers.rows) == 0 {
			l = &holding{l, s, c}
		}
	}
	return s.im.land(ctx, s.im.Customers, c, l)
}

// holding is a landing of purchases that keeps those whose customer has not come yet.
type holding struct {
	landing
	s *singer
	c *joined
}

// finish implements landing.
func (h *holding) finish(ctx context.Context) (customers, purchases []Result, err error) {
	customers, purchases, err = h.landing.finish(ctx)
	c := h.c
	if len(purchases) != len(c.purchases.rows) {
		return customers, purchases, err
	}
	var results []Result
	var rows []record.Purchase
	var lines []int64
	var groups []group
	moved := make([]int, len(purchases))
	for _, g := range c.groups {
		kept := group{g.customer, len(rows), len(rows)}
		for i := g.from; i < g.to; i++ {
			r := purchases[i]
			known := r.Outcome != Rejected || r.Reject == nil || r.Reject.Code != CodeNoCustomer
			if !known && !h.s.im.fresh[hashed(c.external(g))] && len(h.s.held) < singerHeld {
				x := c.extra[c.lines[i]]
				h.s.held = append(h.s.held, PurchaseRow{Line: c.lines[i], ExternalID: c.external(g), Purchase: c.purchases.rows[i], Dropped: x.dropped, Again: x.again, raw: x.raw})
				h.s.im.report.Purchases.Read-- // it is read again
				moved[i] = -1
				continue
			}
			moved[i] = len(rows)
			results, rows, lines = append(results, r), append(rows, c.purchases.rows[i]), append(lines, c.lines[i])
			kept.to++
		}
		if kept.to > kept.from {
			groups = append(groups, kept)
		}
	}
	var lost []loser
	for _, l := range c.purchases.lost {
		if moved[l.to] < 0 {
			// The row that took its place waits, and says all that it said.
			if l.differs {
				h.s.im.report.Purchases.Superseded++
			} else {
				h.s.im.report.Purchases.Unchanged++
			}
			continue
		}
		l.to = moved[l.to]
		lost = append(lost, l)
	}
	c.purchases.rows, c.purchases.lost, c.lines, c.groups = rows, lost, lines, groups
	return customers, results, err
}
