// Package alarm keeps what detection says: it stores every alarm of a brand's log once,
// shows alarms to those who may see them, and takes their decisions.
//
// [Watch] makes the alarms a follower of the logs, so that each is stored once, however
// many servers run. [Desk] shows, acknowledges and closes them. Who did so is an entry of
// the log, so that also an alarm's life follows from the log. What is unusual is package
// detect's to say, which knows no database and no clock.
package alarm

import (
	"bufio"
	"context"
	"github.com/cloakroom/cloakroom/internal/watch/detect"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// follower names the watch over the logs among the followers.
const follower = "alarms"

// Watch makes alarms a follower of the logs: what a [Detector] says of an entry is
// stored in the transaction that moves the follower's cursor past it. stored, if set, is
// told of brands that have new alarms or events, and must not block.
func Watch(r *follow.Runner, s *Store, c detect.Canaries, stored func(record.BrandID)) {
	f := &follow.Follower[found]{
		Name:    follower,
		Version: detect.StateVersion,
		Begin: func(brand record.BrandID) (follow.State[found], error) {
			rules, err := detect.DefaultRules()
			if err != nil {
				return nil, err
			}
			return &watch{brand, detect.New(brand, rules, c)}, nil
		},
		Store: func(ctx context.Context, q db.Queryer, b follow.Batch[found]) error {
			return s.put(ctx, q, b.Brand, batchOf(b))
		},
		Stored: stored,
	}
	if c != nil {
		// Who is a canary is durable before anybody can be shown the canary: what is known
		// after the log's size covers every entry below it.
		f.Refresh = c.Refresh
	}
	follow.Add(r, f)
}

// found is what one entry gave.
type found struct {
	alarms []detect.Alarm
	change *change
	event  *Event // a containment; what became of alarms is made of the changes
	rules  uint64 // the entry, if it has new rules
}

// watch is a detector as a follower.
type watch struct {
	brand record.BrandID
	d     *detect.Detector
}

// Observe implements follow.State.
func (w *watch) Observe(e follow.Entry) []found {
	f := found{alarms: w.d.Observe(e.Index, e.Entry, e.Ords)}
	switch e.Kind {
	case entry.KindDetection:
		if c, ok := changeOf(e.Index, e.Entry); ok {
			f.change = &c
		} else if _, ok := e.Detail.(entry.DetectionRules); ok {
			f.rules = e.Index
		}
	case entry.KindContainment:
		if ev, ok := containmentOf(w.brand, e.Index, e.Entry); ok {
			f.event = &ev
		}
	}
	if len(f.alarms) == 0 && f.change == nil && f.event == nil && f.rules == 0 {
		return nil
	}
	return []found{f}
}

// Encode implements follow.State.
func (w *watch) Encode(out *bufio.Writer) error { return w.d.Encode(out) }

// Decode implements follow.State.
func (w *watch) Decode(in *bufio.Reader) error { return w.d.Decode(in) }

// batchOf puts together what entries gave.
func batchOf(b follow.Batch[found]) *batch {
	out := &batch{from: b.From, to: b.To}
	for i := range b.Outputs {
		f := &b.Outputs[i]
		out.alarms = append(out.alarms, f.alarms...)
		if f.change != nil {
			out.changes = append(out.changes, *f.change)
		}
		if f.event != nil {
			out.events = append(out.events, *f.event)
		}
		if f.rules != 0 {
			out.rules = f.rules
		}
	}
	return out
}

// changeOf reads a step of an alarm's life from its entry.
func changeOf(index uint64, e *entry.Entry) (change, bool) {
	c := change{entry: index, at: e.At, by: e.Principal, ticket: e.Ticket}
	id := ""
	switch d := e.Detail.(type) {
	case entry.AlarmAcknowledged:
		id = d.Alarm
	case entry.AlarmClosed:
		id, c.closed, c.reason = d.Alarm, true, d.Reason
	default:
		return c, false
	}
	var err error
	c.alarm, err = ParseID(id)
	return c, err == nil
}
