package alarm

import (
	"context"
	"strconv"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// Keys and topics are looked up before the insert, because clusters refuse a
	// subquery in one.
	sqlLastOfKey   = `SELECT entry, again, earlier FROM alarms WHERE brand = $1 AND dedup = $2 ORDER BY entry DESC LIMIT 1`
	sqlLastOfTopic = `SELECT entry FROM alarms WHERE brand = $1 AND topic = $2 ORDER BY entry DESC LIMIT 1`
	sqlLastClosed  = `SELECT entry FROM alarms WHERE brand = $1 AND dedup = $2 AND entry >= $3 AND close_entry <> 0 AND close_entry < $4 ORDER BY close_entry DESC LIMIT 1`
	sqlKeyOf       = `SELECT dedup, close_entry FROM alarms WHERE brand = $1 AND entry = $2 AND rule = $3`
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

// closing is an alarm that a change of the batch closes.
type closing struct {
	key    string
	closed uint64 // the entry that closed it; 0: it is open
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
	threads, topics, closings := map[string]*thread{}, map[string]uint64{}, map[Place]*closing{}
	if err := readThreads(ctx, q, brand, b, threads, topics, closings); err != nil {
		return nil, nil, err
	}
	links, repeats := make([]link, len(b.alarms)), map[Place]int{}
	changes := b.changes
	for i := range b.alarms {
		a := &b.alarms[i]
		for len(changes) > 0 && changes[0].entry < a.Entry {
			closeThread(&changes[0], threads, closings)
			changes = changes[1:]
		}
		t, topic := threads[a.Key], a.Topic()
		l := link{repeat: t.last != 0 && t.closed == 0, prior: t.last}
		switch {
		case l.repeat:
			l.earlier = t.head
			repeats[Place{t.head, a.Rule}]++
		case t.closed != 0:
			l.earlier = t.closed
		default:
			l.earlier = topics[topic]
		}
		if !l.repeat {
			t.head, t.closed = a.Entry, 0
		}
		t.last, topics[topic], links[i] = a.Entry, a.Entry, l
		if c := closings[Place{a.Entry, a.Rule}]; c != nil {
			c.key = a.Key
		}
	}
	return links, repeats, nil
}

// closeThread takes a change that closes an alarm, unless an earlier one did.
func closeThread(c *change, threads map[string]*thread, closings map[Place]*closing) {
	if !c.closed {
		return
	}
	of := closings[c.alarm]
	if of.closed != 0 && of.closed < c.entry {
		return
	}
	of.closed = c.entry
	if t := threads[of.key]; t != nil && c.alarm.Entry >= t.head {
		t.closed = c.alarm.Entry
	}
}

// readThreads reads what the table has of the keys and topics of a batch's alarms, and of
// the alarms that the batch closes.
func readThreads(ctx context.Context, q db.Queryer, brand record.BrandID, b *batch, threads map[string]*thread, topics map[string]uint64, closings map[Place]*closing) error {
	var stmts []db.Stmt
	for i := range b.alarms {
		a := &b.alarms[i]
		if threads[a.Key] != nil {
			continue
		}
		t, topic := new(thread), a.Topic()
		threads[a.Key] = t
		stmts = append(stmts, db.Stmt{SQL: sqlLastOfKey, Args: []any{int64(brand), a.Key}, Scan: func(r db.Row) error {
			var last, again, earlier int64
			err := r.Scan(&last, &again, &earlier)
			t.last, t.head = uint64(last), uint64(last)
			if again != 0 {
				t.head = uint64(earlier)
			}
			return err
		}})
		if _, asked := topics[topic]; asked {
			continue
		}
		topics[topic] = 0
		stmts = append(stmts, db.Stmt{SQL: sqlLastOfTopic, Args: []any{int64(brand), topic}, Scan: func(r db.Row) error {
			var last int64
			err := r.Scan(&last)
			topics[topic] = uint64(last)
			return err
		}})
	}
	for i := range b.changes {
		c := &b.changes[i]
		if closings[c.alarm] != nil {
			continue
		}
		of := new(closing)
		closings[c.alarm] = of
		stmts = append(stmts, db.Stmt{SQL: sqlKeyOf, Args: []any{int64(brand), int64(c.alarm.Entry), string(c.alarm.Rule)}, Scan: func(r db.Row) error {
			var closed int64
			err := r.Scan(&of.key, &closed)
			of.closed = uint64(closed)
			return err
		}})
	}
	if err := inChunks(ctx, q, stmts); err != nil {
		return err
	}
	stmts = nil
	for key, t := range threads {
		if t.last == 0 {
			continue
		}
		stmts = append(stmts, db.Stmt{SQL: sqlLastClosed, Args: []any{int64(brand), key, int64(t.head), int64(b.from)}, Scan: func(r db.Row) error {
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
