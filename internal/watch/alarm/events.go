package alarm

import (
	"cmp"
	"context"
	"fmt"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// What is what an event says. It stands in the place of a rule where alarms and events
// are put in order, and no rule has its name.
type What string

// The events.
const (
	WhatAcknowledged What = "acknowledged" // an alarm: somebody looks into it
	WhatClosed       What = "closed"       // an alarm, for a reason
	WhatContained    What = "contained"    // somebody or something was stopped
	WhatUndone       What = "undone"       // and goes on again
)

// Event is what people did: about an alarm, or to contain. It follows from an entry of
// the log.
type Event struct {
	Brand       record.BrandID
	Entry       uint64
	What        What
	At          time.Time
	Grade       detect.Grade // of the alarm; what is contained is critical
	Repeat      bool         // of the alarm: only receivers added since the open one were notified
	prior       uint64       // of the alarm: the entry of the one with its key before it
	Alarm       Place        // what it is about; zero for a containment
	Principal   uint64       // who did it
	Containment int64        // its number
	Took, Since time.Duration
	Reason      string
	Ticket      string
}

// Notice is what those who are told of a brand hear next: a new alarm or an event.
type Notice struct {
	Place
	Alarm *Stored // the one that is new, or that the event is about; nil where the event is about none
	Event *Event  // nil: the alarm is new
	// Earlier is the alarm that a new one repeats or comes after; nil for none.
	Earlier *Stored
}

const (
	eventColumns = `entry, what, at, grade, again, alarm_entry, alarm_rule, principal, containment, took, since, reason, ticket`

	sqlInsertEvent = `INSERT INTO alarm_events (brand, entry, what, at, grade, again, alarm_entry, alarm_rule, principal, containment, took, since, reason, ticket, prior)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING`
	sqlAfterEvent = `SELECT ` + eventColumns + ` FROM alarm_events WHERE brand = $1 AND (entry > $2 OR entry = $2 AND what > $3) AND grade >= $4
		AND (again <= $5 OR prior < $6 AND alarm_entry >= $6) ORDER BY entry, what LIMIT $7`
	sqlStanding = `SELECT entry, rule, grade, again, prior, ack_entry, close_entry FROM alarms WHERE brand = $1 AND entry = $2 AND rule = $3`
)

// containmentOf reads from an entry that something was contained, or goes on again.
func containmentOf(brand record.BrandID, index uint64, e *entry.Entry) (Event, bool) {
	ev := Event{Brand: brand, Entry: index, At: e.At, Grade: detect.Critical, Principal: e.Principal, Ticket: e.Ticket}
	switch d := e.Detail.(type) {
	case entry.Contained: // when it holds
		ev.What, ev.Containment, ev.Took, ev.Since = WhatContained, d.ID, d.Took, d.Since
	case entry.ContainmentUndone: // when it is decided: an undoing that then fails is told all the same
		ev.What, ev.Containment = WhatUndone, d.ID
	}
	return ev, ev.Containment != 0
}

// standing is where an alarm stands that steps are about to change.
type standing struct {
	grade       int64
	again       int64
	prior       int64
	ack, closed int64
}

// stepsOf makes events of steps of alarms' lives, inside the transaction that takes the
// steps and after it stored the alarms. As in the table, the first step of a kind holds:
// one that changes nothing is no event, and none is one that is about no alarm.
func stepsOf(ctx context.Context, q db.Queryer, brand record.BrandID, changes []change) ([]Event, error) {
	known := map[Place]*standing{}
	var stmts []db.Stmt
	for i := range changes {
		p := changes[i].alarm
		if _, asked := known[p]; asked {
			continue
		}
		known[p] = nil
		stmts = append(stmts, db.Stmt{SQL: sqlStanding, Args: []any{int64(brand), int64(p.Entry), string(p.Rule)}, Scan: func(r db.Row) error {
			var index int64
			var rule string
			s := new(standing)
			err := r.Scan(&index, &rule, &s.grade, &s.again, &s.prior, &s.ack, &s.closed)
			known[Place{uint64(index), detect.Rule(rule)}] = s
			return err
		}})
	}
	if err := inChunks(ctx, q, stmts); err != nil {
		return nil, err
	}
	var out []Event
	for i := range changes {
		c := &changes[i]
		s, index := known[c.alarm], int64(c.entry)
		if s == nil || s.closed != 0 && s.closed < index {
			continue
		}
		ev := Event{Brand: brand, Entry: c.entry, What: WhatAcknowledged, At: c.at, Grade: detect.Grade(s.grade), Repeat: s.again != 0, prior: uint64(s.prior), Alarm: c.alarm, Principal: c.by}
		at := &s.ack
		if c.closed {
			ev.What, ev.Reason, ev.Ticket, at = WhatClosed, c.reason, c.ticket, &s.closed
		}
		if *at != 0 && *at < index {
			continue
		}
		*at = index
		out = append(out, ev)
	}
	return out, nil
}

func (e *Event) stmt() db.Stmt {
	again := 0
	if e.Repeat {
		again = 1
	}
	return db.Stmt{SQL: sqlInsertEvent, Args: []any{
		int64(e.Brand), int64(e.Entry), string(e.What), e.At.UnixMicro(), int64(e.Grade), again, int64(e.Alarm.Entry), string(e.Alarm.Rule), int64(e.Principal),
		e.Containment, e.Took.Milliseconds(), e.Since.Milliseconds(), e.Reason, e.Ticket, int64(e.prior),
	}}
}

// Audience is which alarms and events somebody is notified of.
type Audience struct {
	Least   detect.Grade // the lowest severity
	Repeats bool         // also of alarms that repeat an open one
	Since   uint64       // of repeats of alarms before this entry, the first; 0 for none
}

// args are the last arguments of the statements that read for an audience.
func (a Audience) args(limit int) []any {
	most := 0
	if a.Repeats {
		most = 1
	}
	return []any{int64(a.Least), most, int64(a.Since), limit}
}

// events returns the events of a brand after a place for an audience, oldest first.
func (s *Store) events(ctx context.Context, brand record.BrandID, p Place, to Audience, limit int) ([]Event, error) {
	var out []Event
	err := s.db.Rows(ctx, func(r db.Row) error {
		e := Event{Brand: brand}
		var index, at, grade, again, alarm, principal, took, since int64
		err := r.Scan(&index, (*string)(&e.What), &at, &grade, &again, &alarm, (*string)(&e.Alarm.Rule), &principal, &e.Containment, &took, &since, &e.Reason, &e.Ticket)
		e.Entry, e.At, e.Grade, e.Repeat = uint64(index), time.UnixMicro(at).UTC(), detect.Grade(grade), again != 0
		e.Alarm.Entry, e.Principal = uint64(alarm), uint64(principal)
		e.Took, e.Since = time.Duration(took)*time.Millisecond, time.Duration(since)*time.Millisecond
		out = append(out, e)
		return err
	}, sqlAfterEvent, append([]any{int64(brand), int64(p.Entry), string(p.Rule)}, to.args(limit)...)...)
	if err != nil {
		return nil, fmt.Errorf("reading the events of brand %d: %w", brand, err)
	}
	return out, nil
}

// Notices returns the alarms and events of a brand after a place for an audience, oldest
// first. The watched part of the log bounds them: everything before that is stored, so
// nothing can appear behind a position already delivered.
func (s *Store) Notices(ctx context.Context, brand record.BrandID, p Place, to Audience, limit int) ([]Notice, error) {
	reached, err := s.Reached(ctx, brand) // first: the two reads below are not of one moment
	if err != nil {
		return nil, err
	}
	alarms, err := s.read(ctx, brand, sqlAfterAlarm, append([]any{int64(brand), int64(p.Entry), string(p.Rule)}, to.args(limit)...)...)
	if err != nil {
		return nil, err
	}
	events, err := s.events(ctx, brand, p, to, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Notice, 0, len(alarms)+len(events))
	for i := range alarms {
		out = append(out, Notice{Place: Place{alarms[i].Entry, alarms[i].Rule}, Alarm: &alarms[i]})
	}
	for i := range events {
		out = append(out, Notice{Place: Place{events[i].Entry, detect.Rule(events[i].What)}, Event: &events[i]})
	}
	out = slices.DeleteFunc(out, func(n Notice) bool { return n.Entry >= reached })
	slices.SortFunc(out, func(a, b Notice) int {
		return cmp.Or(cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Rule, b.Rule))
	})
	out = out[:min(len(out), limit)]
	for i := range out {
		n := &out[i]
		if e := n.Event; e != nil && e.Alarm != (Place{}) {
			a, err := s.Get(ctx, brand, e.Alarm)
			if err != nil {
				return nil, err
			}
			n.Alarm = &a
		}
		if n.Event == nil && n.Alarm.Earlier != 0 {
			a, err := s.Get(ctx, brand, Place{n.Alarm.Earlier, n.Alarm.Rule})
			if err != nil {
				return nil, err
			}
			n.Earlier = &a
		}
	}
	return out, nil
}
