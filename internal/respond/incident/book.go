package incident

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// book knows which entries of one brand's log tell of which incident. It follows from the
// log: it is read when somebody asks, from where it ended before, and can be dropped.
type book struct {
	mu     sync.Mutex
	next   uint64
	opened []*pages            // the n-th is incident n+1
	alarms map[string][]uint64 // entries that name an alarm, by its id
	texts  []uint64            // entries about texts of letters
	// counted are the newest entries of the counts of customers, by the entry with the figures
	// of their scope.
	counted map[uint64]uint64
	claims  []uint64 // answers to claims, of an incident or of none
}

// pages are the entries of one incident.
type pages struct {
	entries []uint64 // the first opened it
	alarm   string
	last    uint64 // version of its scope
	closed  bool
	// evidence are the entries about files of evidence. They are no part of the story that
	// a closing freezes.
	evidence []uint64
}

// read brings a book up to the log as it is now.
func (b *book) read(ctx context.Context, l *ledger.Ledger, brand record.BrandID) error {
	err := l.Scan(ctx, brand, b.next, func(index uint64, e entry.Entry, _ []record.Ordinal) error {
		b.note(index, &e)
		b.next = index + 1
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("reading the incidents: %w", err)
	}
	return nil
}

func (b *book) note(index uint64, e *entry.Entry) {
	alarm := ""
	switch d := e.Detail.(type) {
	case entry.IncidentOpened:
		b.opened = append(b.opened, &pages{entries: []uint64{index}, alarm: d.Alarm})
	case entry.IncidentFact:
		b.add(d.Incident, index)
	case entry.IncidentScoped:
		if p := b.add(d.Incident, index); p != nil {
			p.last = max(p.last, d.Version)
		}
	case entry.IncidentRules:
		b.add(d.Incident, index)
	case entry.ScopeApproved:
		b.add(d.Incident, index)
	case entry.ScopeBroken:
		b.add(d.Incident, index)
	case entry.ScopeOpened:
		if d.What == disclose.CountPlaces {
			b.counted[d.Figures] = index
		}
	case entry.IncidentScored:
		b.add(d.Incident, index)
	case entry.IncidentNotice:
		b.add(d.Incident, index)
	case entry.IncidentNoticeReviewed:
		b.add(d.Incident, index)
	case entry.NoticeText, entry.NoticeTextReviewed:
		b.texts = append(b.texts, index)
	case entry.IncidentClosed:
		if p := b.add(d.Incident, index); p != nil {
			p.closed = true
		}
	case entry.ClaimBegun:
		b.add(d.Incident, index)
	case entry.ClaimJudged:
		b.claims = append(b.claims, index)
		b.add(d.Incident, index)
	case entry.EvidenceBegun:
		b.file(d.Incident, index)
	case entry.EvidenceMade:
		b.file(d.Incident, index)
	case entry.EvidenceHanded:
		b.file(d.Incident, index)
	case entry.AlarmAcknowledged:
		alarm = d.Alarm
	case entry.AlarmClosed:
		alarm = d.Alarm
	case entry.ContainmentBegun:
		alarm = d.Alarm
	}
	if alarm != "" {
		b.alarms[alarm] = append(b.alarms[alarm], index)
	}
}

// file adds an entry about a file of evidence to an incident, open or closed.
func (b *book) file(n, index uint64) {
	if n > 0 && n <= uint64(len(b.opened)) {
		p := b.opened[n-1]
		p.evidence = append(p.evidence, index)
	}
}

// add adds an entry to an incident that is open. What raced with the closing does not
// change the report.
func (b *book) add(n, index uint64) *pages {
	if n == 0 || n > uint64(len(b.opened)) || b.opened[n-1].closed {
		return nil
	}
	p := b.opened[n-1]
	p.entries = append(p.entries, index)
	return p
}

// Claims returns the entries of a brand's log that answer claims, the oldest first.
func (d *Desk) Claims(ctx context.Context, brand record.BrandID) ([]uint64, error) {
	b, err := d.read(ctx, brand)
	if err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	return slices.Clone(b.claims), nil
}
