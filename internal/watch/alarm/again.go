package alarm

import (
	"context"
	"slices"
	"strconv"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

const (
	// Keys and topics are looked up before the insert, because clusters refuse a
	// subquery in one.
	sqlLastOfKey   = `SELECT entry, again, earlier FROM alarms WHERE brand = $1 AND dedup = $2 ORDER BY entry DESC LIMIT 1`
	sqlLastOfTopic = `SELECT entry FROM alarms WHERE brand = $1 AND topic = $2 ORDER BY entry DESC LIMIT 1`
	sqlLastClosed  = `SELECT entry FROM alarms WHERE brand = $1 AND dedup = $2 AND entry >= $3 AND close_entry <> 0 AND close_entry < $4 ORDER BY close_entry DESC LIMIT 1`
	sqlKeyOf       = `SELECT dedup, topic, lineage, grade, customers, close_entry FROM alarms WHERE brand = $1 AND entry = $2 AND rule = $3`
	sqlAcked       = `SELECT entry, dedup, ack_entry, lineage, grade, customers FROM alarms WHERE brand = $1 AND topic = $2 AND ack_entry <> 0 AND ack_entry < $3 AND (close_entry = 0 OR close_entry >= $3)
		ORDER BY entry DESC LIMIT 100`
	sqlPagedSince = `SELECT lineage, grade, customers FROM alarms WHERE brand = $1 AND dedup = $2 AND entry > $3 AND entry < $4 AND again = 0`
)

// link ties an alarm to those before it.
type link struct {
	repeat  bool   // it repeats an open alarm
	earlier uint64 // the alarm that it repeats, or that it comes after
	prior   uint64 // the last one with its key; 0 for none
}

// thread is the alarms with one key since the last that everybody was notified of.
type thread struct {
	head   uint64 // the alarm that everybody was notified of
	last   uint64 // the newest; 0: there is none
	closed uint64 // the last one that somebody closed; 0: all are open
}

// closing is an alarm that a change of the batch acknowledges or closes.
type closing struct {
	key, topic string
	is         extent
	closed     uint64 // the entry that closed it; 0: it is open
}

// extent is how bad an alarm is.
type extent struct {
	lineage   uint64
	grade     int64
	customers int
}

func extentOf(a *detect.Alarm) extent { return extent{a.Lineage, int64(a.Grade), a.Customers} }

// acked is an open alarm that somebody acknowledged. Others about the same thing, on
// whatever day, join it and notify nobody, unless they are worse than it and all that
// everybody was notified of under its key since.
type acked struct {
	entry uint64
	key   string
	at    uint64 // the entry that acknowledged it
	known []extent
}

// newest returns the alarm that others join; nil: none is acknowledged.
func newest(list []*acked) (out *acked) {
	for _, k := range list {
		if out == nil || k.entry > out.entry {
			out = k
		}
	}
	return out
}

// covers reports whether an alarm says nothing that is worse: it is of a credential that is
// known, no graver, and about fewer than twice the customers.
func (k *acked) covers(is extent) bool {
	grade, customers, lineage := int64(0), 1, false
	for _, e := range k.known {
		grade, customers, lineage = max(grade, e.grade), max(customers, e.customers), lineage || e.lineage == is.lineage
	}
	return lineage && is.grade <= grade && is.customers < 2*customers
}

// linksOf says of each alarm of a batch whether it repeats an open one, and how often each
// open one is repeated. Whoever closed an alarm is notified of the next with its key, in
// the order of the log: a server that closes an alarm changes the table before the
// watcher has come to that entry, so closings from the batch on are taken from its changes.
// The cursor's lock keeps other servers from adding alarms.
func linksOf(ctx context.Context, q db.Queryer, brand record.BrandID, b *batch) ([]link, map[Place]int, error) {
	if len(b.alarms) == 0 {
		return nil, nil, nil
	}
	known, err := readThreads(ctx, q, brand, b)
	if err != nil {
		return nil, nil, err
	}
	threads, topics, closings := known.threads, known.topics, known.closings
	links, repeats := make([]link, len(b.alarms)), map[Place]int{}
	changes := b.changes
	for i := range b.alarms {
		a := &b.alarms[i]
		for len(changes) > 0 && changes[0].entry < a.Entry {
			known.take(&changes[0])
			changes = changes[1:]
		}
		topic := a.Topic()
		k, worse := newest(known.acked[topic]), false
		if k != nil && k.covers(extentOf(a)) {
			a.Key = k.key
		} else if k != nil {
			worse = a.Key == k.key
		}
		t := threads[a.Key]
		l := link{repeat: t.last != 0 && t.closed == 0 && !worse, prior: t.last}
		switch {
		case l.repeat:
			l.earlier = t.head
			repeats[Place{t.head, a.Rule}]++
		case worse:
			l.earlier = k.entry
		case t.closed != 0:
			l.earlier = t.closed
		default:
			l.earlier = topics[topic]
		}
		if !l.repeat {
			t.head, t.closed = a.Entry, 0
			for _, k := range known.acked[topic] {
				if k.key == a.Key {
					k.known = append(k.known, extentOf(a))
				}
			}
		}
		t.last, topics[topic], links[i] = a.Entry, a.Entry, l
		if c := closings[Place{a.Entry, a.Rule}]; c != nil {
			c.key, c.topic, c.is = a.Key, topic, extentOf(a)
		}
	}
	return links, repeats, nil
}

// before is what the table and the batch say of alarms before the one that comes next.
type before struct {
	threads  map[string]*thread  // by key
	topics   map[string]uint64   // the entry of the newest alarm
	acked    map[string][]*acked // by topic
	closings map[Place]*closing  // what changes of the batch are about
}

// take takes a change that acknowledges or closes an alarm, unless an earlier one closed it.
func (b *before) take(c *change) {
	of := b.closings[c.alarm]
	if of.closed != 0 && of.closed < c.entry {
		return
	}
	is := func(k *acked) bool { return k.entry == c.alarm.Entry }
	switch list := b.acked[of.topic]; {
	case c.closed:
		of.closed = c.entry
		b.acked[of.topic] = slices.DeleteFunc(list, is)
		if t := b.threads[of.key]; t != nil && c.alarm.Entry >= t.head {
			t.closed = c.alarm.Entry
		}
	case of.topic != "" && !slices.ContainsFunc(list, is):
		b.acked[of.topic] = append(list, &acked{c.alarm.Entry, of.key, c.entry, []extent{of.is}})
	}
}

// readThreads reads what the table has of the keys and topics of a batch's alarms, and of
// the alarms that the batch acknowledges or closes.
func readThreads(ctx context.Context, q db.Queryer, brand record.BrandID, b *batch) (*before, error) {
	out := &before{map[string]*thread{}, map[string]uint64{}, map[string][]*acked{}, map[Place]*closing{}}
	var stmts []db.Stmt
	for i := range b.alarms {
		topic := b.alarms[i].Topic()
		if _, asked := out.topics[topic]; asked {
			continue
		}
		out.topics[topic] = 0
		stmts = append(stmts, db.Stmt{SQL: sqlLastOfTopic, Args: []any{int64(brand), topic}, Scan: func(r db.Row) error {
			var last int64
			err := r.Scan(&last)
			out.topics[topic] = uint64(last)
			return err
		}}, db.Stmt{SQL: sqlAcked, Args: []any{int64(brand), topic, int64(b.from)}, Scan: func(r db.Row) error {
			var entry, at, lineage int64
			k, is := new(acked), extent{}
			err := r.Scan(&entry, &k.key, &at, &lineage, &is.grade, &is.customers)
			is.lineage = uint64(lineage)
			k.entry, k.at, k.known = uint64(entry), uint64(at), []extent{is}
			out.acked[topic] = append(out.acked[topic], k)
			return err
		}})
	}
	for i := range b.changes {
		c := &b.changes[i]
		if out.closings[c.alarm] != nil {
			continue
		}
		of := new(closing)
		out.closings[c.alarm] = of
		stmts = append(stmts, db.Stmt{SQL: sqlKeyOf, Args: []any{int64(brand), int64(c.alarm.Entry), string(c.alarm.Rule)}, Scan: func(r db.Row) error {
			var lineage, closed int64
			err := r.Scan(&of.key, &of.topic, &lineage, &of.is.grade, &of.is.customers, &closed)
			of.is.lineage, of.closed = uint64(lineage), uint64(closed)
			return err
		}})
	}
	if err := inChunks(ctx, q, stmts); err != nil {
		return nil, err
	}
	return out, out.readKeys(ctx, q, brand, b)
}

// readKeys reads the threads of all keys that an alarm of the batch may get.
func (b *before) readKeys(ctx context.Context, q db.Queryer, brand record.BrandID, of *batch) error {
	var stmts []db.Stmt
	ask := func(key string) {
		if b.threads[key] != nil {
			return
		}
		t := new(thread)
		b.threads[key] = t
		stmts = append(stmts, db.Stmt{SQL: sqlLastOfKey, Args: []any{int64(brand), key}, Scan: func(r db.Row) error {
			var last, again, earlier int64
			err := r.Scan(&last, &again, &earlier)
			t.last, t.head = uint64(last), uint64(last)
			if again != 0 {
				t.head = uint64(earlier)
			}
			return err
		}})
	}
	for i := range of.alarms {
		ask(of.alarms[i].Key)
	}
	for _, c := range b.closings {
		if c.key != "" {
			ask(c.key)
		}
	}
	for _, list := range b.acked {
		for _, k := range list {
			ask(k.key)
			stmts = append(stmts, db.Stmt{SQL: sqlPagedSince, Args: []any{int64(brand), k.key, int64(k.at), int64(of.from)}, Scan: func(r db.Row) error {
				var e extent
				var lineage int64
				err := r.Scan(&lineage, &e.grade, &e.customers)
				e.lineage = uint64(lineage)
				k.known = append(k.known, e)
				return err
			}})
		}
	}
	if err := inChunks(ctx, q, stmts); err != nil {
		return err
	}
	stmts = nil
	for key, t := range b.threads {
		if t.last == 0 {
			continue
		}
		stmts = append(stmts, db.Stmt{SQL: sqlLastClosed, Args: []any{int64(brand), key, int64(t.head), int64(of.from)}, Scan: func(r db.Row) error {
			var closed int64
			err := r.Scan(&closed)
			t.closed = uint64(closed)
			return err
		}})
	}
	return inChunks(ctx, q, stmts)
}

// EarlierID is the ID of the alarm that this one repeats or comes after, empty for none.
func (s *Stored) EarlierID() string {
	if s.Earlier == 0 {
		return ""
	}
	return strconv.FormatUint(s.Earlier, 10) + "-" + string(s.Rule)
}
