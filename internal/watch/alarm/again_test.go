package alarm

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// links says of each alarm what it is: a page or a repeat, and after which.
func (p place) links(t *testing.T) (out []string) {
	for _, a := range p.all(t) {
		what := "page"
		if a.Repeat {
			what = "repeat"
		}
		out = append(out, fmt.Sprintf("%d %s %s after %d, repeated %d", a.Entry, a.Grade, what, a.Earlier, a.Repeats))
	}
	return out
}

func TestASeverityThatRisesPagesAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		s := NewStore(p.db)
		at := time.Date(2026, 5, 4, 23, 0, 0, 0, time.UTC)
		alarm := func(i uint64, g detect.Grade, at time.Time) detect.Alarm {
			return detect.Alarm{Brand: p.brand, Entry: i, At: at, Rule: detect.Credential, Grade: g, Principal: 7,
				Key: fmt.Sprintf("%d/credential/7/%s/%s", p.brand, g, at.Format(time.DateOnly))}
		}
		closing := func(i, alarm uint64) change {
			return change{entry: i, at: at, by: 9, alarm: Place{alarm, detect.Credential}, closed: true, reason: "mistaken"}
		}
		for _, b := range []*batch{
			{from: 0, to: 5, alarms: []detect.Alarm{alarm(1, detect.Low, at), alarm(2, detect.Low, at), alarm(3, detect.Medium, at), alarm(4, detect.Low, at)}},
			{from: 5, to: 8, alarms: []detect.Alarm{alarm(5, detect.Low, at), alarm(7, detect.Low, at)}, changes: []change{closing(6, 5)}},
			// A second closing of the same alarm changes nothing, also within a batch.
			{from: 8, to: 12, alarms: []detect.Alarm{alarm(9, detect.Low, at), alarm(11, detect.Low, at)}, changes: []change{closing(8, 5), closing(10, 5)}},
			{from: 12, to: 15, alarms: []detect.Alarm{alarm(12, detect.Medium, at), alarm(14, detect.Medium, at.Add(2*time.Hour))}, changes: []change{closing(13, 12)}},
		} {
			if err := p.db.Tx(t.Context(), func(q db.Queryer) error { return s.put(t.Context(), q, p.brand, b) }); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{
			"1 low page after 0, repeated 3", "2 low repeat after 1, repeated 0", "3 medium page after 2, repeated 1", "4 low repeat after 1, repeated 0",
			"5 low repeat after 1, repeated 0", "7 low page after 5, repeated 2", "9 low repeat after 7, repeated 0", "11 low repeat after 7, repeated 0",
			"12 medium repeat after 3, repeated 0",
			"14 medium page after 12, repeated 0", // the next day; the last is named
		}
		if got := p.links(t); !reflect.DeepEqual(got, want) {
			t.Errorf("%q,\nwant %q", got, want)
		}
	})
}

// Who is notified of what follows from the log: in whatever steps the watcher comes to it,
// and where a server changes the table before the watcher has read the entry.
func TestWhoIsNotifiedFollowsFromTheLog(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		s := p.server(t)
		rnd := rand.New(rand.NewPCG(1, 2))
		hits := 0
		for i := range 120 {
			if i%4 != 3 {
				p.disclose(t, s.l, p.agent(uint64(1+rnd.IntN(2))), record.Ordinal(i+1))
				hits++
				continue
			}
			if i%8 == 7 { // otherwise the watcher is somewhere behind
				eventually(t, "all is stored", func() bool { return len(p.all(t)) == hits })
			}
			list := p.all(t)
			if len(list) == 0 {
				continue
			}
			of := list[max(0, len(list)-1-rnd.IntN(4))]
			closes, detail := i%12 != 3, entry.Detail(entry.AlarmClosed{Alarm: of.ID(), Reason: "mistaken"})
			if !closes {
				detail = entry.AlarmAcknowledged{Alarm: of.ID()}
			}
			r, err := s.l.Record(t.Context(), ledger.Event{Kind: entry.KindDetection, Who: p.agent(50), Detail: detail})
			if err != nil {
				t.Fatal(err)
			}
			if err := NewStore(p.db).apply(t.Context(), p.brand, change{r.Entry(), r.At(), 50, Place{of.Entry, of.Rule}, closes, "mistaken", ""}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all is stored", func() bool { return len(p.all(t)) == hits })
		before := p.links(t)
		s.stop()
		for _, table := range []string{`DELETE FROM alarms`, `DELETE FROM alarm_events`, `DELETE FROM alarm_cursors`, `DELETE FROM followers`} {
			if _, err := p.db.Exec(t.Context(), table); err != nil {
				t.Fatal(err)
			}
		}
		p.server(t)
		eventually(t, "all is there again", func() bool { return len(p.all(t)) == hits })
		if after := p.links(t); !reflect.DeepEqual(before, after) {
			t.Errorf("made again from the log, others are notified:\n%q\n%q", before, after)
		}
		pages := 0
		for _, a := range p.all(t) {
			if !a.Repeat {
				pages++
			}
		}
		if pages < 10 || pages > 32 {
			t.Errorf("%d pages of %d alarms, 30 of which were closed", pages, hits)
		}
	})
}

// Who acknowledged an alarm is at it: the next about the same thing, on whatever day, is
// quiet until it is worse: another credential, a higher severity, twice the customers.
func TestAnAcknowledgedAlarmIsQuietUntilItIsWorse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		day := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
		alarm := func(i uint64, g detect.Grade, lineage uint64, customers, days int) detect.Alarm {
			at := day.AddDate(0, 0, days)
			return detect.Alarm{Brand: p.brand, Entry: i, At: at, Rule: detect.Surge, Grade: g, Principal: 7, Lineage: lineage, Customers: customers,
				Key: fmt.Sprintf("%d/surge/7/%s/%s", p.brand, g, at.Format(time.DateOnly))}
		}
		step := func(i, alarm uint64, closed bool) change {
			return change{entry: i, at: day, by: 9, alarm: Place{alarm, detect.Surge}, closed: closed, reason: "mistaken"}
		}
		all := &batch{alarms: []detect.Alarm{
			alarm(1, detect.High, 5, 10, 0),
			alarm(3, detect.High, 5, 12, 0), alarm(4, detect.High, 5, 12, 1), alarm(5, detect.Medium, 5, 3, 2), // it goes on
			alarm(6, detect.High, 5, 20, 0), alarm(7, detect.High, 5, 30, 0), // twice, and less than twice that
			alarm(8, detect.High, 6, 1, 0), alarm(9, detect.High, 6, 2, 3), // another credential, and again
			alarm(10, detect.Critical, 5, 5, 3), // graver
			alarm(12, detect.High, 5, 5, 4),     // after it was closed
		}, changes: []change{step(2, 1, false), step(11, 1, true)}}
		want := []string{
			"1 high page after 0, repeated 3", "3 high repeat after 1, repeated 0", "4 high repeat after 1, repeated 0", "5 medium repeat after 1, repeated 0",
			"6 high page after 1, repeated 1", "7 high repeat after 6, repeated 0",
			"8 high page after 1, repeated 1", "9 high repeat after 8, repeated 0",
			"10 critical page after 9, repeated 0", "12 high page after 10, repeated 0",
		}
		for _, size := range []uint64{13, 1, 3, 5} { // however the watcher comes to them
			if _, err := p.db.Exec(t.Context(), `DELETE FROM alarms`); err != nil {
				t.Fatal(err)
			}
			for from := uint64(0); from < 13; from += size {
				b := &batch{from: from, to: from + size}
				for _, a := range all.alarms {
					if a.Entry >= b.from && a.Entry < b.to {
						b.alarms = append(b.alarms, a)
					}
				}
				for _, c := range all.changes {
					if c.entry >= b.from && c.entry < b.to {
						b.changes = append(b.changes, c)
					}
				}
				if err := p.db.Tx(t.Context(), func(q db.Queryer) error { return NewStore(p.db).put(t.Context(), q, p.brand, b) }); err != nil {
					t.Fatal(err)
				}
			}
			if got := p.links(t); !reflect.DeepEqual(got, want) {
				t.Errorf("in steps of %d:\n%q,\nwant\n%q", size, got, want)
			}
		}
	})
}

// Rules in a log of before keep their meaning: what is a severity now was a grade.
func TestRulesOfOldLogsAreRead(t *testing.T) {
	for text, want := range map[string]detect.Grade{"canary: {grade: low}": detect.Low, "canary: {severity: medium}": detect.Medium, "": detect.Critical} {
		if r, err := detect.ParseRules(text); err != nil || r.Canary.Grade != want || r.Surge.Grade != detect.High {
			t.Errorf("%q: %v", text, err)
		}
	}
}
